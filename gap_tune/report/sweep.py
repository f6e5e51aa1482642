"""Sweep: what a study that sweeps learning rates says of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import pandas as pd

from gap_tune.records.records import Records
from gap_tune.report.choosing import TunedRate, best_of, tuned_rate
from gap_tune.report.evidence.paired import PairedDifference
from gap_tune.report.finals import final_metrics
from gap_tune.tune.spelling import is_fixed_name


@dataclass(frozen=True, eq=False)
class AcrossRates:
    """GAP, or another arm, against the best fixed one, both averaged over learning rates.

    Attributes:
        best_fixed: The fixed arm of the best mean over seeds and learning rates.
        others_failed_more: Whether another fixed arm was no candidate, as it failed more often.
        difference: The arm minus that one, seed by seed.
        pairs: How many pairs of trials, of the same seed and place in the range, it is the mean of.
        lost: Trials that failed, of the arm and of the fixed one; their pairs are left out.
    """

    best_fixed: str
    others_failed_more: bool
    difference: PairedDifference
    pairs: int
    lost: tuple[int, int]


@dataclass(frozen=True, eq=False)
class Sweep:
    """The arms that a study trains at several learning rates, each at all of them.

    Attributes:
        rates: By arm, its learning rates, increasing. The first one of an arm is paired with the
            first one of another, and so on: families have ranges of their own.
        values: The study's metric, by arm, place of the learning rate and seed.
        lost: By arm, the places and seeds at which it has failed trials and no result.
        mode: Whether the metric is better low ("min") or high ("max").
        tests: As ``values``, of the metric on test data.
        shown: What ``tests`` are of: the metric itself where trials report no other.
    """

    rates: Mapping[str, tuple[float, ...]]
    values: Mapping[str, pd.Series]
    lost: Mapping[str, frozenset[tuple[int, int]]]
    mode: str
    tests: Mapping[str, pd.Series] = field(default_factory=dict)
    shown: str = ""

    @classmethod
    def of(cls, records: Records) -> Sweep | None:
        """Return the sweep of a study; None of one that has none."""
        rates = {arm: tuple(lrs) for arm, lrs in records.study.get("swept", {}).items()}
        if not rates:
            return None
        swept = records.where(lambda rows: rows["arm"].isin(list(rates)))
        finals = final_metrics(swept, ("arm", "lr", "seed"))
        twin = records.metric.replace("validation_", "test_", 1)
        shown = twin if twin in finals else records.metric
        failed = swept.trials_with("failed")
        values, tests = (
            {arm: _placed(finals[metric], arm, lrs) for arm, lrs in rates.items()}
            for metric in (records.metric, shown)
        )
        lost = {
            arm: frozenset(_places(failed, arm, lrs)) - frozenset(values[arm].index)
            for arm, lrs in rates.items()
        }
        return cls(rates, values, lost, records.mode, tests, shown)

    @property
    def count(self) -> int:
        """How many learning rates each arm was trained at."""
        return max(map(len, self.rates.values()))

    @cached_property
    def tuned(self) -> Mapping[str, TunedRate]:
        """By arm, the learning rate it does best at; without arms of which no trial finished."""
        found = {arm: self._tuned(arm) for arm in self.rates}
        return {arm: best for arm, best in found.items() if best is not None}

    def means(self, arm: str) -> pd.Series:
        """Return an arm's mean over seeds at each learning rate; NaN where a seed was lost."""
        lost = {place for place, _ in self.lost[arm]}
        means = self.values[arm].groupby(level="place").mean().drop(list(lost), errors="ignore")
        return means.reindex(range(len(self.rates[arm]))).set_axis(list(self.rates[arm]))

    def across(self, arm: str) -> AcrossRates | None:
        """Return an arm against the best fixed one over all learning rates; None without pairs.

        The fixed arm is chosen among those that failed in the fewest trials, over the learning
        rates and seeds that all of them finished.
        """
        fixed = {name: own for name, own in self.values.items() if is_fixed_name(name)}
        best = best_of(fixed, self.mode, self.lost)
        if best is None or arm not in self.values:
            return None
        own, other = self.values[arm], self.values[best]
        common = own.index.intersection(other.index)
        if common.empty:
            return None
        mine, theirs = (each.loc[common].groupby(level="seed").mean() for each in (own, other))
        difference = PairedDifference.between(mine, theirs, self.mode)
        lost = len(self.lost[arm]), len(self.lost[best])
        failed_more = any(len(self.lost[name]) > lost[1] for name in fixed)
        return AcrossRates(best, failed_more, difference, len(common), lost)

    def compared(self, records: Records) -> Records:
        """Return the records of what is compared: of each arm its trials at its tuned rate.

        Arms that the sweep is none of, and those that have no tuned rate, keep all of theirs.
        """
        tuned = {arm: best.lr for arm, best in self.tuned.items()}
        return records.where(
            lambda rows: ~rows["arm"].isin(list(tuned)) | (rows["lr"] == rows["arm"].map(tuned))
        )

    def _tuned(self, arm: str) -> TunedRate | None:
        rates = self.rates[arm]
        by_lr = {lr: _at(self.values[arm], place) for place, lr in enumerate(rates)}
        lost = {
            lr: {seed for at, seed in self.lost[arm] if at == place}
            for place, lr in enumerate(rates)
        }
        return tuned_rate(by_lr, self.mode, lost)


def _placed(finals: pd.Series, arm: str, rates: Sequence[float]) -> pd.Series:
    """Return an arm's values by the place of their learning rate and their seed."""
    own = finals[finals.index.get_level_values("arm") == arm].droplevel("arm")
    places = own.index.get_level_values("lr").map(rates.index)
    seeds = own.index.get_level_values("seed")
    return own.set_axis(pd.MultiIndex.from_arrays([places, seeds], names=["place", "seed"]))


def _places(trials: pd.DataFrame, arm: str, rates: Sequence[float]) -> list[tuple[int, int]]:
    """Return the places and seeds of an arm's trials; those of no learning rate had none."""
    own = trials[trials["arm"] == arm] if len(trials) else trials
    pairs = zip(own.get("lr", ()), own.get("seed", ()), strict=True)
    return [(rates.index(lr), seed) for lr, seed in pairs if lr in rates]


def _at(values: pd.Series, place: int) -> pd.Series:
    return values[values.index.get_level_values("place") == place].droplevel("place")
