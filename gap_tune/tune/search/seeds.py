"""Seeder: the momentum that a new trial starts with, and why."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from gap_tune.errors import UnsupportedError, check_range
from gap_tune.gradients.statistics import AlignmentStatistics
from gap_tune.rules import Decision, MomentumRule
from gap_tune.tune.complaints import Complaints
from gap_tune.tune.search.closeness import Point
from gap_tune.tune.search.first_reports import FirstReports
from gap_tune.tune.statistics_json import ByBeta2, read

# torch's default, for trials that start before anything is known.
REFERENCE_BETA2 = 0.999
# Observed steps, weighted by closeness, that first reports need: two trials of the monitor's
# default memory (five steps each) with the same hyperparameters, or more trials further away.
ENOUGH = 10.0

Given = AlignmentStatistics | Mapping[float, AlignmentStatistics] | str | os.PathLike[str] | None


@dataclass(frozen=True)
class Seed:
    """What a trial starts with.

    Attributes:
        momentum: In [0, 1).
        beta2: In [0, 1); the reference where it is not searched.
        reason: Why, one sentence.
    """

    momentum: float
    beta2: float
    reason: str


class Seeder:
    """Chooses seeds from given statistics, else from first reports, else takes the reference.

    Args:
        rule: Chooses momentum from statistics.
        reference: Momentum in [0, 1) until something is known.
        given: Statistics of an earlier run, by beta2; empty where there are none.
        complain: Told when the rule fails.
    """

    def __init__(
        self, rule: MomentumRule, reference: float, given: ByBeta2, complain: Complaints
    ) -> None:
        self._rule = rule
        self._reference = reference
        self._given = given
        self._complain = complain
        self.reports = FirstReports()

    def seed(self, point: Point) -> Seed:
        """Return the seed of a trial with these hyperparameters; never raises."""
        why = "nothing is known yet"
        try:
            if self._given:
                return self._choose("given statistics", self._given)
            by_beta2, weight, trials = self.reports.near(point)
            if weight >= ENOUGH:
                return self._choose(f"first reports of {trials} trials", by_beta2)
            if trials:
                why = f"first reports weigh {weight:.1f} steps near here, less than {ENOUGH:g}"
        # A user's rule that raises would end the whole study.
        except Exception as error:
            why = f"no seed could be chosen ({error!r:.300})"
            self._complain(f"trials start with the reference momentum: {why}")
        return Seed(self._reference, REFERENCE_BETA2, f"reference momentum: {why}.")

    def _choose(self, source: str, by_beta2: ByBeta2) -> Seed:
        """Return the pair of momentum and beta2 with the largest gain."""
        decisions = {b: self._rule.decide(s, self._reference) for b, s in by_beta2.items()}
        gains = {b: _gain(decision, by_beta2[b]) for b, decision in decisions.items()}
        best = max(gains, key=lambda b: gains[b])
        momentum = check_range("momentum", decisions[best].momentum, 0.0, 1.0, high_open=True)
        reason = f"{source}: {decisions[best].explanation}"
        if len(by_beta2) > 1:
            reason += f" Of {len(by_beta2)} beta2, {best:g} has the largest gain."
        return Seed(momentum, REFERENCE_BETA2 if best is None else best, reason)


def read_given(given: Given, *, several: bool) -> ByBeta2:
    """Return the statistics that a user gave, by beta2.

    Args:
        given: Statistics, a mapping of beta2 to statistics, or the file of a probe.
        several: Whether beta2 is searched; otherwise the one nearest to 0.999 is taken.

    Raises:
        InvalidValueError: When the file cannot be read, or a beta2 is out of range.
        StateError: When the file holds something else.
        UnsupportedError: When it is something else.
    """
    by_beta2: ByBeta2 = {}
    if isinstance(given, (str, os.PathLike)):
        by_beta2 = read(given)
    elif isinstance(given, AlignmentStatistics):
        by_beta2 = {None: given}
    elif isinstance(given, Mapping) and given:
        by_beta2 = {check_range("beta2", b, 0.0, 1.0, high_open=True): s for b, s in given.items()}
    elif given is not None:
        raise _unsupported(given)
    if not all(isinstance(s, AlignmentStatistics) for s in by_beta2.values()):
        raise _unsupported(given)
    if several or len(by_beta2) < 2:
        return by_beta2
    nearest = min(by_beta2, key=lambda b: abs((b or 0.0) - REFERENCE_BETA2))
    return {nearest: by_beta2[nearest]}


def _unsupported(given: object) -> UnsupportedError:
    return UnsupportedError(
        "statistics must be AlignmentStatistics, a mapping of beta2 to them, or the path of a "
        f"probe's file, but got {type(given).__name__}."
    )


def _gain(decision: Decision, statistics: AlignmentStatistics) -> float:
    if decision.gains:
        return float(np.interp(decision.momentum, decision.candidates, decision.gains))
    return float(np.interp(decision.momentum, statistics.candidates, statistics.gain()))
