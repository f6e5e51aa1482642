"""summarise and write_csv: a study's tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from gap_tune.files import write_text
from gap_tune.records.records import Records
from gap_tune.report.comparison import Comparison

# How a cell begins that a spreadsheet takes for a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def summarise(study: Records | Comparison) -> pd.DataFrame:
    """Return one row per arm, in study order.

    Metrics are those of the last report of an arm's trial on a seed, of the best by the study's
    metric where it has several, averaged over seeds. Regret is the study's metric against the best
    fixed arm, paired over the seeds that both finished; positive is worse whether the metric is
    minimised or maximised. The best fixed arm is known only in hindsight, so its own regret is 0
    by construction.

    Args:
        study: The study's records, or their comparison where there is one already.

    Returns:
        A table with the columns ``arm``; ``seeds`` (finished); of a study that sweeps learning
        rates ``lr``, that of the best mean, and ``at_edge`` (whether it is the smallest or largest
        tried), NaN and False for arms that search theirs; ``<metric>_mean`` and
        ``<metric>_se`` (standard error over seeds, NaN with fewer than two) for the study's metric
        and every ``validation_*`` and ``test_*`` metric; ``regret``, ``regret_se`` (of the paired
        difference) and ``regret_seeds`` (pairs); ``trials`` (all that were started), ``failed`` and
        ``steps`` (optimizer steps of all trials).
    """
    return pd.DataFrame(list(Comparison.of(study).summary))


def write_csv(study: Records | Comparison, folder: Path | str) -> list[Path]:
    """Write ``results.csv``, ``trials.csv`` and ``summary.csv`` and return their paths.

    Of a study that sweeps learning rates there is ``search.csv`` as well, and of an experiment in
    which ``GapSearch`` compared several configurations.

    Args:
        study: What to write: a row per report, a row per trial, a row per arm, and of searches a
            row per method and number of trials.
        folder: Where to; made when absent.

    Raises:
        InvalidValueError: When the folder cannot be written.
    """
    comparison = Comparison.of(study)
    tables = {
        "results.csv": comparison.records.results,
        "trials.csv": comparison.records.trials,
        "summary.csv": summarise(comparison),
    }
    if comparison.searches is not None:
        tables["search.csv"] = comparison.searches.table()
    elif comparison.ended_with is not None:
        tables["search.csv"] = comparison.ended_with.table(comparison.metric)
    return [
        write_text(Path(folder) / name, harmless(table).to_csv(index=False))
        for name, table in tables.items()
    ]


def harmless(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table whose texts a spreadsheet does not take for formulas, which could do anything.

    Names and errors may be anybody's; one that begins as a formula does gets an apostrophe before
    it, as spreadsheets themselves write texts.

    >>> harmless(pd.DataFrame({"arm": ["gap", "=1+1"], "loss": [-0.5, 1.0]})).values.tolist()
    [['gap', -0.5], ["'=1+1", 1.0]]
    """
    columns = {
        name: table[name].map(_harmless)
        for name in table
        if not pd.api.types.is_numeric_dtype(table[name])
    }
    return table.assign(**columns).rename(columns=_harmless)


def _harmless(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
