"""summary_table: the verdict and the summary for a terminal of 80 columns."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from gap_tune.formatting import count, mean_and_error, plain
from gap_tune.records.records import Records
from gap_tune.report import sentences
from gap_tune.report.answer import Verdict, verdict
from gap_tune.report.comparison import Comparison
from gap_tune.report.take_home.best import Best

# Arm, seeds, regret, trials and steps leave room for four metrics in 80 columns, or for three
# where an arm has a long name.
_MOST_METRICS = 4
_SHORT_NAME, _LONG_NAME = 10, 20
_STYLES = {
    "gain": "bold green",
    "as good": "bold green",
    "not worse": "bold green",
    "loss": "bold red",
    "no gain": "bold",
    "undecided": "bold yellow",
}


def summary_table(study: Records | Comparison) -> RenderableType:
    """Return the verdict and one row per arm, for ``rich.print``.

    Of an experiment that is no study of ours there is what to take home after the answer.

    Each number has its standard error over seeds below it. At most four metrics are shown, the
    study's first; the page and the CSV files have all. Nothing is said by colour alone.

    Args:
        study: The study's records, or their comparison where there is one already.
    """
    comparison = Comparison.of(study)
    answer = verdict(comparison)
    return Group(
        Text(plain(answer.headline), style=_STYLES[answer.kind]),
        *_take_home(comparison),
        Padding(_table(comparison, answer), (1, 0)),
        Text(plain(" ".join((*answer.sentences, answer.cost)))),
    )


def _take_home(comparison: Comparison) -> list[RenderableType]:
    """Return the best trial as it was trained; nothing of a comparison, which is for its answer."""
    found = Best.of(comparison) if "experiment" in comparison.records.study else None
    if found is None:
        return []
    text = "\n".join(plain(line) for line in found.text.splitlines())
    return [Text(""), Text(text)]


def _table(comparison: Comparison, answer: Verdict) -> Table:
    long = any(len(arm) > _SHORT_NAME for arm in comparison.arms)
    swept = comparison.sweep is not None
    metrics = comparison.metrics[: _MOST_METRICS - long - swept]
    table = Table(
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=0,
        caption=_caption(comparison, answer),
        caption_justify="left",
        caption_style="",
    )
    table.add_column("arm", overflow="ellipsis", max_width=_LONG_NAME, no_wrap=True)
    ended = "seeds" if comparison.records.unit == "seed" else "ended"
    for name in (ended, *(["lr"] if swept else []), *metrics, "regret", "trials", "steps"):
        table.add_column(Text(_header(name)), justify="right", overflow="ellipsis")
    for row in comparison.summary:
        table.add_row(
            Text(plain(row["arm"])),
            count(row["seeds"]),
            *([_rate(row)] if swept else []),
            *(_cell(row[f"{name}_mean"], row[f"{name}_se"]) for name in metrics),
            _regret(row, answer.best_fixed),
            count(row["trials"]),
            count(row["steps"]),
        )
    return table


def _header(name: str) -> str:
    return plain(name).replace("_", "\n", 1)


def _cell(mean: float, error: float, *, signed: bool = False) -> str:
    return "\n".join(filter(None, mean_and_error(mean, error, signed=signed)))


def _rate(row: Mapping[str, Any]) -> str:
    """Return an arm's tuned learning rate; nothing for arms that the sweep is none of."""
    if not math.isfinite(row["lr"]):
        return ""
    return f"{row['lr']:.3g}\nat edge" if row["at_edge"] else f"{row['lr']:.3g}"


def _regret(row: Mapping[str, Any], best: str | None) -> str:
    if row["arm"] == best:
        return "best\nfixed"
    return _cell(row["regret"], row["regret_se"], signed=math.isfinite(row["regret"]))


def _caption(comparison: Comparison, answer: Verdict) -> Text:
    text = f"Mean over {comparison.records.unit}s, ± standard error."
    if answer.best_fixed is not None:
        text += f" Regret: {comparison.metric} against {answer.best_fixed}, + is worse."
    if any(row.get("at_edge") for row in comparison.summary):
        text += " At edge: the smallest or largest learning rate tried."
    return Text(plain(" ".join(filter(None, (text, sentences.conditions(comparison))))))
