"""Final metrics per arm and seed: what comparisons are computed from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from gap_tune.records.records import Records

_COMPARED = ("validation_", "test_")


def metric_names(records: Records) -> list[str]:
    """Return the study's metric, then every other ``validation_*`` and ``test_*`` metric.

    A study that names its metrics has those.
    """
    if "metrics" in records.study:
        return list(records.study["metrics"])
    columns = [
        name
        for prefix in _COMPARED
        for name in map(str, records.trials.columns)
        if name.startswith(prefix) and _numbers(records.trials[name]).notna().any()
    ]
    return list(dict.fromkeys([records.metric, *columns]))


def is_fraction(metric: str) -> bool:
    """Tell whether a metric is a share of all samples, as its name says.

    >>> is_fraction("test_accuracy"), is_fraction("test_loss")
    (True, False)
    """
    return metric.endswith("accuracy")


def final_metrics(records: Records, by: Sequence[str] = ("arm", "seed")) -> pd.DataFrame:
    """Return the metrics at the last report of ended trials, one row per arm and seed.

    Where an arm spent several trials on a seed, the best by the study's metric stands for it, as
    it would for a user of that arm. Trials that their arm stopped early count only where none was
    trained to its end: they lack test metrics. In an experiment that is no study of ours they do
    not count at all: what stopped them, after how many reports, is no part of their arm. Trials
    whose metric is missing or not finite are left out.

    Args:
        records: The trials.
        by: Columns of theirs to have one row for each of.

    Returns:
        A table indexed by ``(arm, seed)``, or what ``by`` says, with one column of floats per
        metric; NaN where a trial did not report that metric or it was not finite.
    """
    whole = _best_of(records, records.trials_with("finished"), by)
    if "experiment" in records.study:
        return whole.sort_index()
    stopped = _best_of(records, records.trials_with("stopped"), by)
    return pd.concat([whole, stopped[~stopped.index.isin(whole.index)]]).sort_index()


def _best_of(records: Records, trials: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Return the metrics of the best of the trials that ``by`` does not tell apart."""
    metrics = metric_names(records)
    names = zip(*(trials.get(name, ()) for name in by), strict=True)
    table = pd.DataFrame(
        {name: _numbers(trials[name]).to_numpy() for name in metrics if name in trials},
        index=pd.MultiIndex.from_tuples(list(names), names=list(by)),
        columns=metrics,
        dtype=float,
    ).dropna(subset=[records.metric])
    table = table.sort_values(records.metric, ascending=records.mode == "min", kind="stable")
    return table[~table.index.duplicated()]


def _numbers(column: Any) -> Any:
    return pd.to_numeric(column, errors="coerce").astype(float).replace([np.inf, -np.inf], np.nan)
