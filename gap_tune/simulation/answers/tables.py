"""Tables of simulated studies: for the terminal, and as CSV files."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gap_tune.files import write_text
from gap_tune.formatting import duration, plain
from gap_tune.panel.measures.standing import percent
from gap_tune.simulation.answers.answer import Answer
from gap_tune.simulation.answers.reached import AXES, TIME, TRIALS, Reached
from gap_tune.simulation.answers.stopping import MEASURES

METHODS_FILE = "simulated-methods.csv"
CURVES_FILE = "simulated-curves.csv"
SETTINGS_FILE = "simulated-settings.csv"
PAIRS_FILE = "simulated-pairs.csv"
STOPPING_FILE = "simulated-stopping.csv"
WASTE_FILE = "simulated-waste.csv"
# Moments of a curve over time that a file keeps of those that are looked at.
_EVERY = 4

CAPTION = (
    "end: expected test loss of the trial kept when all have ended, against the setting's best "
    "fixed momentum and learning rate in hindsight: geometric mean over settings in per cent, ± "
    "half its 95 % interval, a bootstrap of settings and their recorded seeds; + is worse. cost: "
    "training, in whole trials; time: cluster time. match, match in: trials and cluster time to be "
    "as good as all trials of {rival}. * where the 95 % interval says more or less than that takes "
    "itself."
)


def methods_table(answer: Answer) -> pd.DataFrame:
    """Return a row per method: where it ends, what it costs, and when it matches the rival."""
    curves, studies = answer.curves, answer.studies
    rival = answer.rival
    rows = []
    for name in studies.methods:
        curve = curves.curve(name, TRIALS)
        row: dict[str, Any] = {
            "method": name,
            "ratio": curve.ratios[-1],
            "low": curve.low[-1],
            "high": curve.high[-1],
            "cost_trials": studies.cost(name),
            "seconds": studies.seconds(name),
        }
        for axis in AXES:
            row |= _columns(f"match_{axis}", curves.to_match(name, rival, axis, studies.trials))
            row[f"match_{axis}_kind"] = curves.speed(name, rival, axis).kind
        rows.append(row)
    return pd.DataFrame(rows)


def curves_table(answer: Answer) -> pd.DataFrame:
    """Return a row per method, axis and place of the curves over all settings."""
    found = []
    for name, axis, places, chosen in _curves(answer):
        curve = answer.curves.curve(name, axis)
        values = {"ratio": curve.ratios, "low": curve.low, "high": curve.high}
        found.append(_rows({"method": name, "axis": axis}, places, values, chosen))
    return pd.concat(found, ignore_index=True)


def settings_table(answer: Answer) -> pd.DataFrame:
    """Return a row per setting, method, axis and place of the curves on each setting."""
    found = []
    for setting in answer.studies.settings:
        reference = float(answer.studies.hindsight[setting].reference.mean())
        for name, axis, places, chosen in _curves(answer):
            curve = answer.curves.on(setting, name, axis)
            head = {"setting": setting, "method": name, "axis": axis, "hindsight": reference}
            values = {
                "test_loss": curve.expected,
                **{key: getattr(curve, key) for key in ("low", "high", "lucky", "unlucky")},
            }
            found.append(_rows(head, places, values, chosen))
    return pd.concat(found, ignore_index=True)


def pairs_table(answer: Answer) -> pd.DataFrame:
    """Return a row per comparison of GAP with the same searcher and scheduler without."""
    return pd.DataFrame(
        [
            {
                "method": pair.method,
                "rival": pair.rival,
                "kind": pair.kind,
                "ratio": pair.end.ratio,
                "low": pair.end.low,
                "high": pair.end.high,
                "end": pair.end.kind,
                **_columns("trials", pair.trials),
                **_columns("seconds", pair.time),
                **_of_speed("trials", pair.by_trials),
                **_of_speed("time", pair.by_time),
            }
            for pair in answer.pairs
        ]
    )


def stopping_table(answer: Answer) -> pd.DataFrame:
    """Return a row per comparison of what is stopped early, and measure."""
    return pd.DataFrame(
        [
            {
                "method": each.method,
                "rival": each.rival,
                "measure": name,
                "with_gap": each.measures[name].own,
                "without": each.measures[name].other,
                "low": each.measures[name].low,
                "high": each.measures[name].high,
                "kind": each.measures[name].kind,
            }
            for each in answer.stopping
            for name in MEASURES
        ]
    )


def waste_table(answer: Answer) -> pd.DataFrame:
    """Return a row per sweep and setting: the share of its training at worse momenta."""
    return pd.DataFrame(
        [
            {
                "method": waste.method,
                "setting": setting,
                "share": share,
                "worse_momenta": " ".join(f"{each:g}" for each in answer.worse(setting)),
            }
            for waste in answer.waste
            for setting, share in waste.by_setting.items()
        ]
    )


def write_tables(answer: Answer, folder: Path) -> list[Path]:
    """Write all tables and return the files' paths.

    Raises:
        InvalidValueError: When the folder cannot be written.
    """
    tables = {
        METHODS_FILE: methods_table(answer),
        CURVES_FILE: curves_table(answer),
        SETTINGS_FILE: settings_table(answer),
        PAIRS_FILE: pairs_table(answer),
        STOPPING_FILE: stopping_table(answer),
        WASTE_FILE: waste_table(answer),
    }
    return [write_text(folder / name, table.to_csv(index=False)) for name, table in tables.items()]


def shown(answer: Answer) -> RenderableType:
    """Return the terminal's table, a row per method, 80 columns wide."""
    table = Table("", "end", "cost", "time", "match", "match in", box=None, padding=(0, 1, 0, 0))
    for column in table.columns[1:]:
        column.justify, column.no_wrap = "right", True
    table.columns[0].overflow = "fold"
    for row in methods_table(answer).to_dict("records"):
        table.add_row(
            Text(plain(row["method"])),
            end(row["ratio"], row["low"], row["high"]),
            f"{row['cost_trials']:.1f}",
            duration(row["seconds"]),
            *(_marked(row, axis, answer.studies.trials) for axis in AXES),
        )
    return Group(table, Text(CAPTION.format(rival=answer.rival), style="dim"))


def end(ratio: float, low: float, high: float) -> str:
    """Return a ratio in per cent with half its interval.

    >>> end(1.034, 1.01, 1.05), end(0.98, float("nan"), float("nan"))
    ('+3.4 ±2.0', '-2.0')
    """
    text = percent(ratio).removesuffix(" %")
    half = 100 * (high - low) / 2
    return f"{text} ±{half:.1f}" if math.isfinite(half) else text


def _marked(row: dict[str, Any], axis: str, trials: int) -> str:
    value = row[f"match_{axis}"]
    if not math.isfinite(value):
        return f">{trials}" if axis == TRIALS else "-"
    mark = "" if row[f"match_{axis}_kind"] in ("level", "undecided") else "*"
    return (duration(value) if axis == TIME else f"{value:.1f}") + mark


def _curves(answer: Answer) -> Iterator[tuple[str, str, np.ndarray[Any, Any], slice]]:
    """Yield methods, axes, places of the curves, and which of them files keep."""
    for name in answer.studies.methods:
        for axis in AXES:
            step = _EVERY if axis == TIME else 1
            yield name, axis, answer.curves.places(axis), slice(step - 1, None, step)


def _rows(head: dict[str, Any], places: Any, values: dict[str, Any], chosen: slice) -> pd.DataFrame:
    kept = {name: each[chosen] for name, each in values.items()}
    return pd.DataFrame({**head, "at": places[chosen], **kept})


def _columns(name: str, found: Reached) -> dict[str, float]:
    return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}


def _of_speed(name: str, speed: Any) -> dict[str, Any]:
    return {
        f"{name}_ratio": speed.ratio,
        f"{name}_ratio_low": speed.low,
        f"{name}_ratio_high": speed.high,
        f"{name}_kind": speed.kind,
    }
