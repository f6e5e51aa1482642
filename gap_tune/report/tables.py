"""summarise: one row per arm with means over seeds, regret and cost."""

from __future__ import annotations

from typing import Any

import pandas as pd

from gap_tune.records.records import Records
from gap_tune.report.finals import (
    arm_names,
    best_fixed_arm,
    final_metrics,
    metric_names,
    trials_with,
    values_by_seed,
)
from gap_tune.report.paired import PairedDifference


def summarise(records: Records) -> pd.DataFrame:
    """Return one row per arm, in study order.

    Metrics are those of the last report of an arm's trial on a seed, of the best by the study's
    metric where it has several, averaged over seeds. Regret is the study's metric against the best
    fixed arm, paired over the seeds that both finished; positive is worse whether the metric is
    minimised or maximised. The best fixed arm is known only in hindsight, so its own regret is 0
    by construction.

    Returns:
        A table with the columns ``arm``; ``seeds`` (finished); ``<metric>_mean`` and
        ``<metric>_se`` (standard error over seeds, NaN with fewer than two) for the study's metric
        and every ``validation_*`` and ``test_*`` metric; ``regret``, ``regret_se`` (of the paired
        difference) and ``regret_seeds`` (pairs); ``trials`` (all that were started), ``failed`` and
        ``steps`` (optimizer steps of all trials).
    """
    finals = final_metrics(records)
    best = best_fixed_arm(records, finals)
    return pd.DataFrame([_row(records, finals, best, arm) for arm in arm_names(records)])


def _row(records: Records, finals: pd.DataFrame, best: str | None, arm: str) -> dict[str, Any]:
    own = values_by_seed(finals, arm, records.metric)
    row: dict[str, Any] = {"arm": arm, "seeds": len(own)}
    for metric in metric_names(records):
        values = values_by_seed(finals, arm, metric)
        row[f"{metric}_mean"] = float(values.mean())
        row[f"{metric}_se"] = float(values.sem())
    baseline = own[:0] if best is None else values_by_seed(finals, best, records.metric)
    regret = PairedDifference.between(own, baseline, records.mode)
    trials, steps = spent(records, [arm])
    return row | {
        "regret": regret.mean,
        "regret_se": regret.standard_error,
        "regret_seeds": len(regret.by_seed),
        "trials": trials,
        "failed": len(trials_with(records, "failed", [arm])),
        "steps": steps,
    }


def spent(records: Records, arms: list[str]) -> tuple[int, int]:
    """Return the trials that arms started and the optimizer steps that these took."""
    trials = records.trials
    if trials.empty:
        return 0, 0
    own = trials[trials["arm"].isin(arms)]
    # A run that failed before it had a trial has a row, but no trial's name.
    return int((own["trial_id"] != "").sum()), int(own["steps"].sum())
