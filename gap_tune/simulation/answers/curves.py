"""Curves: what studies are expected to end with, by trials and by cluster time, over all settings.

Repeats of a simulated study are many, since they cost little, and no independent evidence: they
draw from the same recorded runs. So repeats are averaged within a recorded seed, and intervals over
settings are a bootstrap of settings, and of the seeds within each, as the panel's are. What repeats
of one setting vary by has an interval of its own, and says nothing about other tasks.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from gap_tune.panel.measures.search import clipped_log_ratios, log_ratios
from gap_tune.panel.measures.standing import Standing, clipped
from gap_tune.report.evidence.bootstrap import Resamples, interval
from gap_tune.report.search_curve import trials_to_reach
from gap_tune.simulation.answers.outcome import Floats
from gap_tune.simulation.answers.reached import TIME, TRIALS, Reached, Speed
from gap_tune.simulation.answers.studies import Studies

# Moments at which curves over time are looked at, evenly spaced in the logarithm.
_MOMENTS = 160


@dataclass(frozen=True, eq=False)
class Curve:
    """One method's curve over all settings.

    Attributes:
        ratios: Geometric mean over settings, clipped as the panel's are, of the expected test loss
            over that of the setting's best fixed momentum and learning rate in hindsight.
        low: Lower ends of their 95 % intervals: a bootstrap of settings, and seeds within each.
        high: Upper ends. NaN with one setting, which says nothing about others.
    """

    ratios: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True, eq=False)
class SettingCurve:
    """One method's curve on one setting.

    Attributes:
        expected: Mean test loss over repeats.
        low: Lower ends of the 95 % intervals of that mean: a bootstrap of seeds and their repeats.
        high: Upper ends.
        lucky: What the best tenth of the repeats ends with at most.
        unlucky: What the worst tenth ends with at least.
    """

    expected: Floats
    low: Floats
    high: Floats
    lucky: Floats
    unlucky: Floats


class Curves:
    """Search curves of simulated studies.

    Args:
        studies: The studies.

    Attributes:
        studies: The same.
        moments: Moments of cluster time at which curves are known, in seconds.
    """

    def __init__(self, studies: Studies) -> None:
        self.studies = studies
        self.moments = _moments(studies)
        self._drawn = cache(self._draw)
        self._repeats = cache(self._values)

    def places(self, axis: str) -> Floats:
        """Return where curves are known: numbers of trials, or seconds."""
        return self.moments if axis == TIME else np.arange(1.0, self.studies.trials + 1)

    def curve(self, method: str, axis: str) -> Curve:
        """Return a method's curve over all settings.

        Args:
            method: Its name.
            axis: "trials" or "time".
        """
        logs, drawn = self._drawn(method, axis)
        mean = np.exp(clipped(logs).mean(axis=0))
        if len(self.studies.settings) < 2:
            nothing = np.full_like(mean, np.nan)
            return Curve(mean, nothing, nothing)
        return Curve(mean, *interval(np.exp(drawn)))

    def on(self, setting: str, method: str, axis: str) -> SettingCurve:
        """Return a method's curve on a setting."""
        by_seed = self._repeats(setting, method, axis)
        every = np.concatenate(by_seed)
        # Seeds may differ in their number of repeats by one.
        several = np.stack([each[: min(map(len, by_seed))] for each in by_seed])
        drawn = Resamples.of(*several.shape[:2]).means(several)
        lucky, unlucky = np.quantile(every, [0.1, 0.9], axis=0)
        return SettingCurve(every.mean(axis=0), *interval(drawn), lucky, unlucky)

    def standing(self, method: str, rival: str) -> Standing:
        """Return where a method is at its end against another at its own, over all settings."""
        own, other = (self.expected(name, TRIALS)[..., -1] for name in (method, rival))
        return standing_of(own, other)

    def to_match(self, method: str, rival: str, axis: str, target: int) -> Reached:
        """Return what a method takes to be as good as so many trials of another.

        Args:
            method: The method.
            rival: The other.
            axis: "trials", or "time" for seconds of cluster time.
            target: How many trials of the other; all there are, if fewer.
        """
        return Reached.of(axis, self._reaching(method, rival, axis, target), self.places(axis)[-1])

    def _reaching(self, method: str, rival: str, axis: str, target: int | None = None) -> Floats:
        """Return what is taken to be as good as so many trials of another, then resamples of it.

        There are none with one setting.
        """
        at = min(target or self.studies.trials, self.studies.trials) - 1
        (logs, drawn), (goal, drawn_goal) = self._drawn(method, axis), self._drawn(rival, TRIALS)
        curves, goals = clipped(logs).mean(axis=0)[None], clipped(goal).mean(axis=0)[None, at]
        if len(self.studies.settings) > 1:
            curves = np.concatenate([curves, drawn])
            goals = np.concatenate([goals, drawn_goal[:, at]])
        found = trials_to_reach(curves, goals)
        # Between two places by a straight line; nothing is known beyond the last.
        places = self.places(axis)
        known = np.arange(1.0, len(places) + 1)
        return np.where(np.isfinite(found), np.interp(found, known, places), np.inf)

    def speed(self, method: str, rival: str, axis: str) -> Speed:
        """Return how much sooner a method is as good as another's whole studies than that is."""
        return Speed.of(
            *(self._reaching(name, rival, axis) for name in (method, rival)),
        )

    def expected(self, method: str, axis: str) -> Floats:
        """Return expected test losses: settings by seeds by places, the mean over repeats."""
        return np.stack(
            [
                [repeats.mean(axis=0) for repeats in self._repeats(setting, method, axis)]
                for setting in self.studies.settings
            ]
        )

    def _values(self, setting: str, method: str, axis: str) -> list[Floats]:
        outcomes = self.studies.outcomes[setting, method]
        values = [
            each.at(self.moments) if axis == TIME else _padded(each.after_trials, self.studies)
            for each in outcomes
        ]
        return self.studies.by_seed(setting, values)

    def _draw(self, method: str, axis: str) -> tuple[Floats, Floats]:
        """Return a method's log ratios by setting, and resamples of their mean."""
        studies = self.studies
        best = np.stack(
            [studies.hindsight[name].reference[: studies.seeds] for name in studies.settings]
        )
        values = np.concatenate([self.expected(method, axis), best[..., None]], axis=-1)
        resamples = Resamples.of(len(studies.settings), studies.seeds)
        return log_ratios(values.mean(axis=1)), resamples.means(values, clipped_log_ratios)


def standing_of(own: Floats, other: Floats) -> Standing:
    """Return where something is against something else.

    Args:
        own: Losses, settings by seeds.
        other: The other's.
    """
    return Standing.of(np.stack([own, other], axis=-1), log_ratio=_ratio)


def _ratio(means: Floats) -> Floats:
    found: Floats = log_ratios(means)[..., 0]
    return found


def _padded(values: Floats, studies: Studies) -> Floats:
    """Return a curve of as many trials as all have: a study that ended early has its last value."""
    missing = studies.trials - len(values)
    return np.concatenate([values, np.full(missing, values[-1])]) if missing else values


def _moments(studies: Studies) -> Floats:
    """Return moments from the first report of any study to the end of the last."""
    every = [each for repeats in studies.outcomes.values() for each in repeats]
    first = min((each.moments[0] for each in every if len(each.moments)), default=1.0)
    last = max(each.seconds for each in every)
    return np.geomspace(max(first, last * 1e-4, 1e-9), max(last, 1e-9), _MOMENTS)
