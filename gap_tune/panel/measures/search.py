"""SearchCurves: what n random trials of each method are expected to end with, over all settings."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from gap_tune.panel.measures.compared import SMALLEST
from gap_tune.panel.measures.losses import Floats, Losses
from gap_tune.panel.measures.standing import clipped
from gap_tune.report.evidence.bootstrap import Resamples, interval
from gap_tune.report.search_curve import MOST_TRIALS, expected_best, trials_to_reach

# Learning rate and momentum at random; every other method is an arm, its learning rate at random.
SWEEP = "sweep"


@dataclass(frozen=True)
class Trials:
    """A number of trials; infinite where it is more than were looked at.

    Attributes:
        count: How many, a real number from 1 on.
        low: Lower end of the 95 % interval; NaN with one setting.
        high: Upper end.
    """

    count: float
    low: float
    high: float

    @property
    def has_interval(self) -> bool:
        """Whether there is an interval that says more: not where even its lower end is infinite."""
        return math.isfinite(self.low)

    @property
    def text(self) -> str:
        """The number with its interval.

        >>> Trials(3.25, 1.0, math.inf).text
        '3.2 (95 % interval 1.0 to more than 30)'
        """
        if not self.has_interval:
            return amount(self.count)
        return f"{amount(self.count)} (95 % interval {amount(self.low)} to {amount(self.high)})"


def amount(trials: float) -> str:
    """Return a number of trials in words.

    >>> amount(12.34), amount(math.inf)
    ('12.3', 'more than 30')
    """
    return f"{trials:.1f}" if math.isfinite(trials) else f"more than {MOST_TRIALS}"


@dataclass(frozen=True, eq=False)
class Curve:
    """One method's curve.

    Attributes:
        ratios: Geometric mean over settings (clipped as all means over settings are) of the
            expected test loss of the best of 1, 2, ... trials, over the test loss of the setting's
            best cell of the fixed grid in hindsight.
        low: Lower ends of their 95 % intervals, by a bootstrap of settings and seeds.
        high: Upper ends.
        medians: Of the settings, not clipped.
        worth: As how many trials of the sweep one trial is as good.
        match: How many trials end as well as the last one of the sweep's curve.
    """

    ratios: Floats
    low: Floats
    high: Floats
    medians: Floats
    worth: Trials
    match: Trials


def search_curves(losses: Losses) -> Mapping[str, Curve]:
    """Return the curves of the sweep and of every arm; none without fixed arms.

    A search has one seed: trials differ in learning rate, and in the sweep in momentum, and the one
    of best validation loss is kept. Expected losses are averaged over seeds.
    """
    if not losses.fixed:
        return {}
    arms = {SWEEP: losses.fixed} | {arm: [place] for place, arm in enumerate(losses.arms)}
    resamples = Resamples.of(len(losses.settings), losses.seeds)
    parts = {name: _with_best(losses, places) for name, places in arms.items()}
    by_setting = {name: _log_ratios(own.mean(axis=1)) for name, own in parts.items()}
    curves = {
        name: (clipped(by_setting[name]).mean(axis=0), resamples.means(own, _clipped_ratios))
        for name, own in parts.items()
    }
    # One setting says nothing about others.
    ends = interval if len(losses.settings) > 1 else _no_interval
    sweep, drawn_sweep = curves[SWEEP]
    found = {}
    for name, (curve, drawn) in curves.items():
        worth = trials_to_reach(drawn_sweep, drawn[:, 0])
        match = trials_to_reach(drawn, drawn_sweep[:, -1])
        found[name] = Curve(
            np.exp(curve),
            *ends(np.exp(drawn)),
            np.exp(np.median(by_setting[name], axis=0)),
            Trials(float(trials_to_reach(sweep, curve[0])), *map(float, ends(worth))),
            Trials(float(trials_to_reach(curve, sweep[-1])), *map(float, ends(match))),
        )
    return found


def _with_best(losses: Losses, arms: list[int]) -> Floats:
    """Return expected losses, settings by seeds by trials; in the end that of the best cell."""
    # Settings by arms by rates by seeds: a cell is an arm at a rate.
    validation, test = (
        np.moveaxis(each[:, arms], -1, 1).reshape(len(losses.settings), losses.seeds, -1)
        for each in (losses.validation, losses.test)
    )
    return np.concatenate([expected_best(validation, test), _best_cell(losses)], axis=-1)


def _best_cell(losses: Losses) -> Floats:
    """Return test losses of the cell of fixed arms with the best mean validation loss."""
    validation, test = (
        each[:, losses.fixed].reshape(len(losses.settings), -1, losses.seeds)
        for each in (losses.validation, losses.test)
    )
    best = validation.mean(axis=-1).argmin(axis=-1)
    return np.take_along_axis(test, best[:, None, None], axis=1)[:, 0, :, None]


def _log_ratios(means: Floats) -> Floats:
    logs: Floats = np.log(means.clip(min=SMALLEST))
    return logs[..., :-1] - logs[..., -1:]


def _clipped_ratios(means: Floats) -> Floats:
    return clipped(_log_ratios(means))


def _no_interval(samples: Floats) -> tuple[Floats, Floats]:
    nothing = np.full_like(samples[0], np.nan)
    return nothing, nothing
