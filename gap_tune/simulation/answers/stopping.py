"""What early stopping ends: whether the trials that were stopped would have been the best.

A simulated trial that was stopped can be trained to its end afterwards. So it is known what each
would have become, and which trials a scheduler that stops early was wrong about.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from gap_tune.simulation.answers.difference import Difference
from gap_tune.simulation.answers.outcome import Floats

# Of 32 trials these are the four best.
_TOP = 0.1
_NAMES = {"asha": "ASHA", "median": "The median rule"}
_SAID = {
    "more": "stops the trial that would have been the best more often with GAP",
    "less": "stops the trial that would have been the best less often with GAP",
    "no difference shown": "is not shown to stop the trial that would have been the best more "
    "often with GAP, or less",
    "undecided": "may stop the trial that would have been the best more often with GAP, or less; "
    "one setting cannot tell",
}


@dataclass(frozen=True, eq=False)
class RunOn:
    """A study's trials as if none had been stopped.

    Attributes:
        early: Validation losses when the scheduler could first stop a trial; infinite where none
            was reported.
        validation: Those of their ends; infinite where a trial failed.
        test: Test losses of their ends.
        stopped: Which of them the scheduler ended early.
        kept: The test loss that the user got; NaN where none.
    """

    early: Floats
    validation: Floats
    test: Floats
    stopped: NDArray[np.bool_]
    kept: float


@dataclass(frozen=True)
class Judged:
    """How one study's early stopping did.

    Attributes:
        stopped: Share of the trials that was stopped.
        best: 1 where the trial that would have been the best was stopped, else 0.
        top: Share of the best tenth of the trials that was stopped.
        regret: Logarithm of the test loss that the user got over that of the trial that would have
            been chosen had all run on.
        rank: Mean final rank of the stopped trials, from 0, the best of all, to 1, the worst; a
            scheduler that stops at random has 0.5. NaN where none was stopped.
        foresight: Rank correlation of trials' first chance to be stopped with their ends.
    """

    stopped: float
    best: float
    top: float
    regret: float
    rank: float
    foresight: float

    @classmethod
    def of(cls, study: RunOn) -> Judged:
        """Judge a study of two trials at least.

        >>> ended = np.array([0.1, 0.2, 0.3])
        >>> study = RunOn(ended[::-1], ended, ended, np.array([True, False, False]), 0.2)
        >>> found = Judged.of(study)
        >>> found.best, found.top, found.rank, round(found.foresight, 3), round(found.regret, 3)
        (1.0, 1.0, 0.0, -1.0, 0.693)
        """
        ranks = stats.rankdata(study.validation) - 1
        order = np.argsort(study.validation, kind="stable")
        top = order[: max(1, int(np.ceil(_TOP * len(order))))]
        best = order[0]
        finite = np.isfinite(study.validation[best]) and study.kept > 0 and study.test[best] > 0
        return cls(
            float(study.stopped.mean()),
            float(study.stopped[best]),
            float(study.stopped[top].mean()),
            float(np.log(study.kept / study.test[best])) if finite else np.nan,
            float(ranks[study.stopped].mean() / (len(ranks) - 1))
            if study.stopped.any()
            else np.nan,
            _correlation(study.early, study.validation),
        )


MEASURES = ("stopped", "best", "top", "regret", "rank", "foresight")


@dataclass(frozen=True, eq=False)
class EarlyStopping:
    """A stopping scheduler with a searcher: what it stops with GAP, and without.

    Attributes:
        method: With GAP.
        rival: The same with the momentum searched, or fixed.
        measures: By name of a ``Judged`` measure, with GAP (own) and without (other).
    """

    method: str
    rival: str
    measures: dict[str, Difference]

    @classmethod
    def of(
        cls,
        names: tuple[str, str],
        own: Sequence[Sequence[Judged]],
        other: Sequence[Sequence[Judged]],
        seeds: int,
    ) -> EarlyStopping:
        """Compare two methods.

        Args:
            names: Their names.
            own: By setting, what was found of the repeats.
            other: The rival's.
            seeds: How many seeds repeats have, one after the other.
        """
        found = {
            name: Difference.between(_by_seed(own, name, seeds), _by_seed(other, name, seeds))
            for name in MEASURES
        }
        return cls(*names, found)

    @property
    def sentence(self) -> str:
        """Whether it stops the wrong trials more often where momentum changes, or less, or not."""
        best, top, every = (self.measures[name] for name in ("best", "top", "stopped"))
        return (
            f"{_NAMES[self.method.rpartition('+')[2]]} {_SAID[best.kind]}: in {_share(best.own)} "
            f"of the studies with {self.method} and {_share(best.other)} with {self.rival}"
            f"{_interval(best)}; of the best tenth of the trials it stops {_share(top.own)} and "
            f"{_share(top.other)}, of all {_share(every.own)} and {_share(every.other)}."
        )


def _by_seed(judged: Sequence[Sequence[Judged]], name: str, seeds: int) -> Floats:
    """Return the mean over repeats, settings by seeds; what cannot be said counts as no regret."""
    values = [np.array([getattr(each, name) for each in repeats]) for repeats in judged]
    neutral = {"rank": 0.5}.get(name, 0.0)
    filled = [np.where(np.isfinite(each), each, neutral) for each in values]
    return np.array([[each[seed::seeds].mean() for seed in range(seeds)] for each in filled])


def _correlation(early: Floats, late: Floats) -> float:
    """Return Spearman's rank correlation; 0 where one of both has no order."""
    first, last = stats.rankdata(early), stats.rankdata(late)
    if np.ptp(first) == 0 or np.ptp(last) == 0:
        return 0.0
    return float(np.corrcoef(first, last)[0, 1])


def _share(value: float) -> str:
    return f"{100 * value:.0f} %"


def _interval(found: Difference) -> str:
    if np.isnan(found.low):
        return ""
    return f" (difference {100 * found.low:+.0f} to {100 * found.high:+.0f} points, 95 % interval)"
