"""Searches: what n random trials of each arm of a study that sweeps are expected to end with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from gap_tune.report.evidence.bootstrap import Resamples, interval
from gap_tune.report.search_curve import (
    MOST_TRIALS,
    SWEEP,
    Floats,
    Trials,
    expected_best,
    method_title,
)
from gap_tune.report.sweep import Sweep
from gap_tune.tune.spelling import is_fixed_name


@dataclass(frozen=True, eq=False)
class Search:
    """One method's search.

    Attributes:
        expected: Expected result of the best of 1, 2, ... trials, mean over seeds.
        low: Lower ends of their 95 % intervals, by a bootstrap of seeds; NaN with one seed.
        high: Upper ends.
        worth: As how many trials of the sweep one trial is as good.
        match: How many trials end as well as 30 of the sweep.
    """

    expected: Floats
    low: Floats
    high: Floats
    worth: Trials
    match: Trials


@dataclass(frozen=True, eq=False)
class Searches:
    """The searches of a study: of learning rate and momentum, and of the learning rate per arm.

    A search has one seed, draws trials at random, and keeps the one that is best by the study's
    metric; what it ends with is that trial's metric on test data, where trials report it. A trial
    that failed counts as the worst of all.

    Attributes:
        shown: The metric that results are of.
        seeds: How many seeds there are of which every trial has ended.
        curves: By method: the sweep, which draws from all fixed arms, and every swept arm.
    """

    shown: str
    seeds: int
    curves: Mapping[str, Search]

    @classmethod
    def of(cls, sweep: Sweep) -> Searches | None:
        """Return a sweep's searches; None without fixed arms, or a seed that has ended."""
        fixed = [arm for arm in sweep.rates if is_fixed_name(arm)]
        judged = {arm: _by_seed(sweep, sweep.values, arm) for arm in sweep.rates}
        tests = {arm: _by_seed(sweep, sweep.tests, arm) for arm in sweep.rates}
        seeds = _ended([*judged.values(), *tests.values()])
        if not fixed or not seeds:
            return None
        validation, test = (_filled(tables, seeds) for tables in (judged, tests))
        methods = {SWEEP: fixed, **{arm: [arm] for arm in sweep.rates}}
        found = {}
        for method, arms in methods.items():
            cells, tested = (
                np.concatenate([of[arm] for arm in arms], axis=1) for of in (validation, test)
            )
            found[method] = _Expected.of(expected_best(cells, tested))
        sign = 1.0 if sweep.mode == "min" else -1.0
        curves = {method: own.against(found[SWEEP], sign) for method, own in found.items()}
        return cls(sweep.shown, len(seeds), curves)

    def table(self) -> pd.DataFrame:
        """Return a row per method and number of trials.

        Returns:
            A table with the columns ``method``, ``trials``, the metric, ``low, high``, and of the
            method, the same in all its rows, ``worth, worth_low, worth_high, match, match_low,
            match_high``.
        """
        return pd.concat(
            [
                pd.DataFrame(
                    {
                        "method": method,
                        "trials": range(1, MOST_TRIALS + 1),
                        self.shown: curve.expected,
                        "low": curve.low,
                        "high": curve.high,
                        **curve.worth.columns("worth"),
                        **curve.match.columns("match"),
                    }
                )
                for method, curve in self.curves.items()
            ],
            ignore_index=True,
        )

    def titled(self) -> list[tuple[str, str, Search]]:
        """Return names, what they draw in words, and searches, in order."""
        return [(name, method_title(name), curve) for name, curve in self.curves.items()]


@dataclass(frozen=True, eq=False)
class _Expected:
    """Expected results of 1, 2, ... trials, lower better: mean over seeds, and resamples of it."""

    mean: Floats
    drawn: Floats | None

    @classmethod
    def of(cls, by_seed: Floats) -> _Expected:
        several = len(by_seed) > 1
        drawn = Resamples.of(1, len(by_seed)).means(by_seed[None]) if several else None
        return cls(by_seed.mean(axis=0), drawn)

    def against(self, sweep: _Expected, sign: float) -> Search:
        """Return the search, its results times a sign."""
        nothing = np.full_like(self.mean, np.nan)
        low, high = (nothing, nothing) if self.drawn is None else interval(sign * self.drawn)
        worth, match = sweep.to_reach(self, 1), self.to_reach(sweep, MOST_TRIALS)
        return Search(sign * self.mean, low, high, worth, match)

    def to_reach(self, other: _Expected, of_other: int) -> Trials:
        """Return how many trials are as good as so many of another search."""
        at, drawn = of_other - 1, None
        if self.drawn is not None and other.drawn is not None:
            drawn = self.drawn, other.drawn[:, at]
        return Trials.to_reach(self.mean, other.mean[at], drawn)


def _by_seed(sweep: Sweep, values: Mapping[str, pd.Series], arm: str) -> pd.DataFrame:
    """Return an arm's values, lower better, by seed and place; infinity where a trial failed."""
    sign = 1.0 if sweep.mode == "min" else -1.0
    table = (sign * values[arm].dropna()).unstack("place")
    table = table.reindex(columns=range(len(sweep.rates[arm])))
    for place, seed in sweep.lost[arm]:
        table.loc[seed, place] = np.inf
    return table


def _ended(tables: list[pd.DataFrame]) -> list[int]:
    """Return the seeds of which no table lacks anything."""
    whole = [set(table.dropna().index) for table in tables]
    return sorted(set.intersection(*whole))


def _filled(tables: Mapping[str, pd.DataFrame], seeds: list[int]) -> dict[str, Floats]:
    """Return the tables of some seeds as arrays, failed trials as the worst that did not fail."""
    arrays = {arm: table.loc[seeds].to_numpy(float) for arm, table in tables.items()}
    every = np.concatenate([values.ravel() for values in arrays.values()])
    known = every[np.isfinite(every)]
    worst = known.max() if len(known) else 0.0
    return {arm: np.where(np.isfinite(values), values, worst) for arm, values in arrays.items()}
