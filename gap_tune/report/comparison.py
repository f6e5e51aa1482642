"""Comparison: everything that a report says is computed from, computed once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from gap_tune.records.decisions import TunedTrial, tuned_trials
from gap_tune.records.records import Records
from gap_tune.report.choosing import TunedRate, best_of, by_unit
from gap_tune.report.cost import Cost
from gap_tune.report.evidence.ended_with import EndedWith
from gap_tune.report.evidence.equivalence import Equivalence
from gap_tune.report.evidence.left_out import LeftOut
from gap_tune.report.evidence.paired import PairedDifference
from gap_tune.report.finals import final_metrics, is_fraction, metric_names
from gap_tune.report.searches import Searches
from gap_tune.report.sweep import Sweep
from gap_tune.tune.spelling import GAP_NAME


@dataclass(frozen=True, eq=False)
class Comparison:
    """A study's arms against the best fixed one, over paired seeds.

    Verdict, tables, figures and page all take one, so that none computes what another has.

    Where the study sweeps learning rates, each swept arm is compared at the best of its own: all
    but ``costs`` and ``sweep`` is of the trials at that one.

    Where ``GapSearch`` compared several configurations, each on several seeds, these are averaged
    within a configuration first: two seeds of one configuration tell less than one of each of two.

    Attributes:
        records: What the trials reported.
        compared: The records of the trials that are compared; ``records`` itself without a sweep,
            or trials that nothing is compared with.
        sweep: What the sweep of learning rates shows; None without.
        metrics: Metrics to show, the study's own first.
        finals: Final metrics by arm and seed, see ``final_metrics``.
        arms: The arms in study order.
        fixed_arms: Those of fixed momenta.
        best_fixed: The fixed arm with the best mean of the study's metric, known in hindsight
            only; None when none finished.
        lost_seeds: By arm, the seeds on which it has failed trials and no result.
        differences: By arm, the study's metric against ``best_fixed``; without pairs where there
            is none.
        costs: By arm, what it spent, in all of its trials.
        units: By seed, the configuration that it is averaged within; empty where seeds are units.

    >>> trials = pd.DataFrame(
    ...     [("gap", 0, 0.2), ("fixed:0.9", 0, 0.3)], columns=["arm", "seed", "loss"]
    ... ).assign(trial_id="x", status="finished", steps=10, seconds=1.0)
    >>> study = {"metric": "loss", "mode": "min", "arms": ["gap", "fixed:0.9"]}
    >>> found = Comparison.of(Records(study, pd.DataFrame(), trials))
    >>> found.best_fixed, round(found.differences["gap"].mean, 3)
    ('fixed:0.9', -0.1)
    """

    records: Records
    compared: Records
    sweep: Sweep | None
    metrics: tuple[str, ...]
    finals: pd.DataFrame
    arms: tuple[str, ...]
    fixed_arms: tuple[str, ...]
    best_fixed: str | None
    lost_seeds: Mapping[str, frozenset[int]]
    differences: Mapping[str, PairedDifference]
    costs: Mapping[str, Cost]
    units: Mapping[int, int]

    @classmethod
    def of(cls, study: Records | Comparison) -> Comparison:
        """Return the comparison of a study's records; one that is made already stays as it is."""
        if isinstance(study, Comparison):
            return study
        sweep = Sweep.of(study)
        compared = _with_partners(study) if sweep is None else sweep.compared(study)
        units = _units(compared)
        finals = final_metrics(compared)
        values = {arm: _values(finals, arm, study.metric) for arm in study.arms}
        lost = {arm: _lost_seeds(compared, arm, own) for arm, own in values.items()}
        fixed = study.fixed_arms
        best = best_of({arm: values[arm] for arm in fixed}, study.mode, lost, units)
        baseline = _values(finals, best, study.metric)
        return cls(
            records=study,
            compared=compared,
            sweep=sweep,
            metrics=tuple(metric_names(study)),
            finals=finals,
            arms=tuple(values),
            fixed_arms=tuple(fixed),
            best_fixed=best,
            lost_seeds=lost,
            differences={
                arm: PairedDifference.between(*_paired(own, baseline, units), study.mode)
                for arm, own in values.items()
            },
            costs={arm: Cost.of(study, [arm]) for arm in values},
            units=units,
        )

    @property
    def metric(self) -> str:
        """The metric that arms are compared by."""
        return self.records.metric

    @cached_property
    def tuned(self) -> list[TunedTrial]:
        """The compared trials whose momentum gap_tune may change, with their decisions."""
        return tuned_trials(self.compared)

    @cached_property
    def searches(self) -> Searches | None:
        """What random searches are expected to end with; None without a sweep to draw from."""
        return None if self.sweep is None else Searches.of(self.sweep)

    @cached_property
    def ended_with(self) -> EndedWith | None:
        """What the best of n configurations ended with; None where ``GapSearch`` compared none."""
        if self.records.unit != "configuration":
            return None
        trials = self.compared.trials
        fixed = [arm for arm in self.fixed_arms if len(self.values(arm))]
        shown = trials[trials["arm"].isin([GAP_NAME, *fixed])]
        return EndedWith.of(shown, self.finals[self.metric].dropna(), self.records.mode)

    @cached_property
    def summary(self) -> tuple[Mapping[str, Any], ...]:
        """One row per arm in study order, see ``summarise``."""
        return tuple(self._row(arm) for arm in self.arms)

    def values(self, arm: str | None, metric: str | None = None) -> pd.Series:
        """Return an arm's final values of a metric, indexed by seed, without missing ones.

        Where seeds are averaged within configurations, they are indexed by configuration.

        Args:
            arm: The arm; None has no values.
            metric: The metric; None takes the study's.
        """
        return by_unit(_values(self.finals, arm, metric or self.metric), self.units)

    def pairs(
        self, arm: str, other: str | None, metric: str | None = None
    ) -> tuple[pd.Series, pd.Series]:
        """Return the values of two arms over what both finished, indexed as ``values``.

        Args:
            arm: The one.
            other: The other.
            metric: The metric; None takes the study's.
        """
        name = metric or self.metric
        return _paired(
            _values(self.finals, arm, name), _values(self.finals, other, name), self.units
        )

    def difference(self, arm: str, metric: str) -> PairedDifference:
        """Return an arm's difference from the best fixed one in any of the metrics."""
        return PairedDifference.between(
            *self.pairs(arm, self.best_fixed, metric), self.records.mode
        )

    def equivalence(self, arm: str, other: str | None = None) -> Equivalence | None:
        """Return whether an arm is as good as another, or not worse, in the study's metric.

        None where that cannot be tested, see ``Equivalence.between``.

        Args:
            arm: The arm.
            other: What it is compared with; None takes the best fixed one.
        """
        return Equivalence.between(
            *self.pairs(arm, self.best_fixed if other is None else other),
            self.records.mode,
            self.records.margin,
            is_fraction=is_fraction(self.metric),
        )

    def lost(self, arm: str, other: str | None) -> frozenset[int]:
        """Return the seeds that an arm lost and another finished."""
        return self.lost_seeds[arm] & frozenset(_values(self.finals, other, self.metric).index)

    def left_out(self, arm: str, other: str) -> LeftOut:
        """Return which pairs of two arms their comparison leaves out, and why."""
        values = {name: _values(self.finals, name, self.metric) for name in (arm, other)}
        return LeftOut.of(self.compared, values)

    def _row(self, arm: str) -> dict[str, Any]:
        row: dict[str, Any] = {"arm": arm, "seeds": len(self.values(arm))}
        if self.sweep is not None:
            tuned = self.sweep.tuned.get(arm, TunedRate(math.nan))
            row |= {"lr": tuned.lr, "at_edge": tuned.at_edge}
        for metric in self.metrics:
            values = self.values(arm, metric)
            row[f"{metric}_mean"] = float(values.mean())
            row[f"{metric}_se"] = float(values.sem())
        regret, cost = self.differences[arm], self.costs[arm]
        return row | {
            "regret": regret.mean,
            "regret_se": regret.standard_error,
            "regret_seeds": len(regret.by_seed),
            "trials": cost.trials,
            "failed": cost.ended["failed"],
            "steps": cost.steps,
        }


def _values(finals: pd.DataFrame, arm: str | None, metric: str) -> pd.Series:
    rows = finals[finals.index.get_level_values("arm") == arm]
    return rows.droplevel("arm")[metric].dropna()


def _lost_seeds(records: Records, arm: str, values: pd.Series) -> frozenset[int]:
    """Return the seeds on which an arm's trials have ended and none has a result."""
    if records.trials.empty:
        return frozenset()
    own = records.trials[records.trials["arm"] == arm]
    return frozenset(own["seed"][own["status"] != "unfinished"]) - frozenset(values.index)


def _with_partners(records: Records) -> Records:
    """Return the trials that ``GapSearch`` compared; all where it compared none."""
    if "configuration" not in records.trials:
        return records
    return records.where(lambda rows: rows["configuration"].notna())


def _units(records: Records) -> dict[int, int]:
    """Return by seed the configuration that it is averaged within; empty where seeds are units."""
    if records.unit != "configuration":
        return {}
    trials = records.trials
    return dict(zip(trials["seed"], trials["configuration"].astype(int), strict=True))


def _paired(
    own: pd.Series, other: pd.Series, units: Mapping[int, int]
) -> tuple[pd.Series, pd.Series]:
    """Return two arms' values over the seeds of both, averaged within units."""
    common = own.index.intersection(other.index)
    return by_unit(own.loc[common], units), by_unit(other.loc[common], units)
