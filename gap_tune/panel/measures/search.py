"""Searches: what n random trials of each method are expected to end with, over all settings."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from gap_tune.panel.measures.compared import SMALLEST
from gap_tune.panel.measures.losses import Floats, Losses
from gap_tune.panel.measures.standing import clipped
from gap_tune.report.evidence.bootstrap import Resamples, interval
from gap_tune.report.search_curve import MOST_TRIALS, SWEEP, Trials, expected_best


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


class Searches:
    """Searches by every method, over the same settings and seeds.

    A search has one seed: trials differ in learning rate, and in the sweep in momentum, and the one
    of best validation loss is kept. Expected losses are averaged over seeds.

    Args:
        losses: The panel's losses, of at least one fixed arm.
    """

    def __init__(self, losses: Losses) -> None:
        self._losses = losses
        self._drawn = cache(self._draw)

    def expected(self, method: str) -> Floats:
        """Return what 1, 2, ... trials of a method end with: settings by seeds by trials."""
        losses = self._losses
        arms = losses.fixed if method == SWEEP else [losses.arms.index(method)]
        # Settings by arms by rates by seeds: a cell is an arm at a rate.
        validation, test = (
            np.moveaxis(each[:, arms], -1, 1).reshape(len(losses.settings), losses.seeds, -1)
            for each in (losses.validation, losses.test)
        )
        return expected_best(validation, test)

    def curve(self, method: str) -> Curve:
        """Return a method's curve."""
        logs, drawn = self._drawn(method)
        return Curve(
            np.exp(clipped(logs).mean(axis=0)),
            *self._ends(np.exp(drawn)),
            np.exp(np.median(logs, axis=0)),
            self.trials(SWEEP, method, 1),
            self.trials(method, SWEEP, MOST_TRIALS),
        )

    def trials(self, method: str, other: str, of_other: int) -> Trials:
        """Return how many trials of a method are as good as so many of another."""
        (logs, drawn), (target, drawn_target) = self._drawn(method), self._drawn(other)
        at, several = of_other - 1, len(self._losses.settings) > 1
        return Trials.to_reach(
            clipped(logs).mean(axis=0),
            clipped(target).mean(axis=0)[at],
            (drawn, drawn_target[:, at]) if several else None,
        )

    def _draw(self, method: str) -> tuple[Floats, Floats]:
        """Return a method's log ratios to the best cell by setting, and resamples of their mean."""
        values = np.concatenate([self.expected(method), _best_cell(self._losses)], axis=-1)
        resamples = Resamples.of(len(self._losses.settings), self._losses.seeds)
        return log_ratios(values.mean(axis=1)), resamples.means(values, clipped_log_ratios)

    def _ends(self, samples: Floats) -> tuple[Floats, Floats]:
        if len(self._losses.settings) > 1:
            return interval(samples)
        # One setting says nothing about others.
        nothing = np.full_like(samples[0], np.nan)
        return nothing, nothing


def _best_cell(losses: Losses) -> Floats:
    """Return test losses of the cell of fixed arms with the best mean validation loss."""
    validation, test = (
        each[:, losses.fixed].reshape(len(losses.settings), -1, losses.seeds)
        for each in (losses.validation, losses.test)
    )
    best = validation.mean(axis=-1).argmin(axis=-1)
    return np.take_along_axis(test, best[:, None, None], axis=1)[:, 0, :, None]


def log_ratios(means: Floats) -> Floats:
    """Return the logarithms of losses over the last one, in the last axis; without that."""
    logs: Floats = np.log(means.clip(min=SMALLEST))
    return logs[..., :-1] - logs[..., -1:]


def clipped_log_ratios(means: Floats) -> Floats:
    """Return the same, clipped as all means over settings are."""
    return clipped(log_ratios(means))
