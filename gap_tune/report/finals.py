"""Final metrics per arm and seed: what summaries, verdicts and figures are computed from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from gap_tune.records.studies import Records
from gap_tune.tune.spelling import is_fixed_name

_COMPARED = ("validation_", "test_")


def arm_names(records: Records) -> list[str]:
    """Return the arms in study order; arms that only trials name come last."""
    seen = records.trials.get("arm", ())
    return list(dict.fromkeys(str(arm) for arm in (*records.study["arms"], *seen)))


def fixed_arms(records: Records) -> list[str]:
    """Return the arms of fixed momenta, one or a grid of them, in study order."""
    return [arm for arm in arm_names(records) if is_fixed_name(arm)]


def unit(records: Records) -> str:
    """Return what an arm has several of: "seed", or "trial" where arms share no seeds."""
    return "seed" if records.study.get("paired", True) else "trial"


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


def trials_with(records: Records, status: str, arms: Sequence[str] | None = None) -> pd.DataFrame:
    """Return the trials of a status, "finished", "failed" or "unfinished", of these arms or all."""
    trials = records.trials
    if trials.empty:
        return trials
    chosen = trials["status"] == status
    return trials[chosen if arms is None else chosen & trials["arm"].isin(list(arms))]


def final_metrics(records: Records) -> pd.DataFrame:
    """Return the metrics at the last report of ended trials, one row per arm and seed.

    Where an arm spent several trials on a seed, the best by the study's metric stands for it, as
    it would for a user of that arm. Trials that their arm stopped early count only where none was
    trained to its end: they lack test metrics. Trials whose metric is missing or not finite are
    left out.

    Returns:
        A table indexed by ``(arm, seed)`` with one column of floats per metric; NaN where a trial
        did not report that metric or it was not finite.
    """
    whole, stopped = (
        _best_of(records, trials_with(records, status)) for status in ("finished", "stopped")
    )
    return pd.concat([whole, stopped[~stopped.index.isin(whole.index)]]).sort_index()


def _best_of(records: Records, trials: pd.DataFrame) -> pd.DataFrame:
    """Return the metrics of the best of the trials of each arm and seed."""
    metrics = metric_names(records)
    pairs = zip(trials.get("arm", ()), trials.get("seed", ()), strict=True)
    table = pd.DataFrame(
        {name: _numbers(trials[name]).to_numpy() for name in metrics if name in trials},
        index=pd.MultiIndex.from_tuples(list(pairs), names=["arm", "seed"]),
        columns=metrics,
        dtype=float,
    ).dropna(subset=[records.metric])
    table = table.sort_values(records.metric, ascending=records.mode == "min", kind="stable")
    return table[~table.index.duplicated()]


def lost_seeds(records: Records, finals: pd.DataFrame, arm: str) -> set[int]:
    """Return the seeds on which an arm has failed trials and no result."""
    failed = trials_with(records, "failed", [arm]).get("seed", ())
    return set(failed) - set(values_by_seed(finals, arm, records.metric).index)


def values_by_seed(finals: pd.DataFrame, arm: str, metric: str) -> pd.Series:
    """Return an arm's values of a metric, indexed by seed, without missing ones."""
    rows = finals[finals.index.get_level_values("arm") == arm]
    return rows.droplevel("arm")[metric].dropna()


def best_fixed_arm(records: Records, finals: pd.DataFrame) -> str | None:
    """Return the fixed arm with the best mean of the study's metric; None when none finished.

    Only arms that failed on the fewest seeds compete, over the seeds that all of them finished: an
    arm that survived one easy seed must not win by it.
    """
    values = {arm: values_by_seed(finals, arm, records.metric) for arm in fixed_arms(records)}
    values = {arm: series for arm, series in values.items() if len(series)}
    failures = {arm: len(lost_seeds(records, finals, arm)) for arm in values}
    values = {arm: s for arm, s in values.items() if failures[arm] == min(failures.values())}
    if not values:
        return None
    common = set.intersection(*(set(series.index) for series in values.values()))
    means = {
        arm: float((series[sorted(common)] if common else series).mean())
        for arm, series in values.items()
    }
    choose = min if records.mode == "min" else max
    return choose(means, key=means.__getitem__)


def _numbers(column: Any) -> Any:
    return pd.to_numeric(column, errors="coerce").astype(float).replace([np.inf, -np.inf], np.nan)
