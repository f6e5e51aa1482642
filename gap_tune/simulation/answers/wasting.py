"""What a sweep of momentum wastes, and what it takes to be as good as GAP."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gap_tune.report.evidence.bootstrap import Resamples, interval
from gap_tune.simulation.answers.curves import Curves
from gap_tune.simulation.answers.outcome import Floats
from gap_tune.simulation.answers.reached import TRIALS, Reached
from gap_tune.simulation.answers.studies import Studies

# GAP's trials that a sweep is asked to equal: a small search, and one of several rounds.
FEW_TRIALS = (1, 4, 8, 16)


@dataclass(frozen=True, eq=False)
class Waste:
    """A sweep's.

    Attributes:
        method: The sweep.
        rival: The same searcher and scheduler with GAP; empty without.
        by_setting: By setting, the share of its training at momenta that are significantly worse
            than the best, each at its best learning rate (``Hindsight.worse``).
        share: Mean over settings.
        low: Lower end of its 95 % interval, a bootstrap of settings; NaN with one.
        high: Upper end.
        to_equal: By a number of GAP's trials, how many of the sweep are as good.
    """

    method: str
    rival: str
    by_setting: dict[str, float]
    share: float
    low: float
    high: float
    to_equal: dict[int, Reached]

    @classmethod
    def of(cls, curves: Curves, method: str, rival: str) -> Waste:
        """Return what a sweep wastes.

        Args:
            curves: Of all studies.
            method: The sweep.
            rival: The method with GAP to compare with; empty for none.
        """
        studies = curves.studies
        shares = np.array([_share(studies, name, method) for name in studies.settings])
        low, high = np.nan, np.nan
        if len(shares) > 1:
            ends = interval(Resamples.of(len(shares), 1).means(shares[:, None]))
            low, high = map(float, ends)
        counts = [count for count in FEW_TRIALS if rival and count <= studies.trials]
        return cls(
            method,
            rival,
            dict(zip(studies.settings, shares.tolist(), strict=True)),
            float(shares.mean()),
            low,
            high,
            {count: curves.to_match(method, rival, TRIALS, count) for count in counts},
        )

    @property
    def sentence(self) -> str:
        """What it wastes, and how many trials more it takes, or none."""
        ends = (
            ""
            if np.isnan(self.low)
            else (f" (95 % interval {100 * self.low:.0f} to {100 * self.high:.0f} %)")
        )
        said = (
            f"{self.method} spends {100 * self.share:.0f} %{ends} of its training at momenta that "
            "are significantly worse than the setting's best"
        )
        told = [
            f"{count} {'' if place else 'of its trials '}it takes {_more(count, found)}"
            for place, (count, found) in enumerate(self.to_equal.items())
        ]
        return f"{said}." + (f" To equal {self.rival}: for {'; for '.join(told)}." if told else "")


def _more(count: int, found: Reached) -> str:
    """Return how many trials it takes, and how many more that is, or none."""
    if not found.is_reached:
        return found.text
    more = found.value - count
    return f"{found.text}, {f'{more:.1f}' if more >= 0.05 else 'none'} more"


def _share(studies: Studies, setting: str, method: str) -> float:
    """Return the share of a setting's training at momenta that are worse."""
    worse = np.array(studies.momenta[setting])[studies.hindsight[setting].worse]
    outcomes = studies.outcomes[setting, method]
    spent = sum(float(each.reports.sum()) for each in outcomes)
    at_worse = sum(float(_at(each.momenta, worse) @ each.reports) for each in outcomes)
    return at_worse / spent


def _at(momenta: Floats, worse: Floats) -> Floats:
    found: Floats = np.isin(momenta.round(9), worse.round(9)).astype(float)
    return found
