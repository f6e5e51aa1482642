"""Curves: how losses fall at any learning rate and momentum, between those that were recorded."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from gap_tune.simulation.recorded.recordings import Recordings
from gap_tune.simulation.recorded.rounding import Floats
from gap_tune.tune.spelling import fixed_parts

# A loss of zero has no logarithm.
_LEAST = 1e-30

# Neighbours with their shares, one or two of them.
Shares = list[tuple[int, float]]
# Logarithms of a learning rate and of a momentum's horizon.
Point = tuple[float, float]
# Validation and test losses from before training to its end, one more than there are reports.
Course = tuple[list[float], list[float]]


@lru_cache(maxsize=1024)
def horizon(momentum: float) -> float:
    """Return the logarithm of a momentum's horizon, ``1 / (1 - momentum)``.

    >>> horizon(0.0) == 0.0, round(horizon(0.9), 6)
    (True, 2.302585)
    """
    return -math.log1p(-momentum)


def point(lr: float, momentum: float) -> Point:
    """Return where a learning rate and a momentum lie."""
    return math.log(lr), horizon(momentum)


class Curves:
    """How losses fall at any learning rate and momentum.

    Between recorded learning rates, the logarithm of the loss is a straight line over the logarithm
    of the learning rate; between recorded momenta, over ``log 1/(1 - momentum)``. Outside of what
    was recorded it is that of the nearest. Where a neighbour diverged, what is between diverges
    too, from the same moment on: NaN.

    Args:
        recordings: The runs.
    """

    def __init__(self, recordings: Recordings) -> None:
        fixed = {
            float(fixed_parts(name)[0]): place
            for place, name in enumerate(recordings.arms)
            if len(fixed_parts(name)) == 1
        }
        self.momenta = sorted(fixed)
        self._fixed = [fixed[momentum] for momentum in self.momenta]
        self._rates = [math.log(lr) for lr in recordings.learning_rates]
        self._horizons = [horizon(momentum) for momentum in self.momenta]
        self._losses = _losses(recordings)
        self._logs = np.log(np.maximum(self._losses, _LEAST))
        # Single numbers are faster to find in lists.
        self._listed: list[list[list[Course]]] = self._logs.transpose(1, 2, 3, 0, 4).tolist()

    def of_arm(self, arm: int, log_lr: float, seed: int) -> tuple[Course, Course]:
        """Return the losses of an arm's runs, and their logarithms.

        Args:
            arm: Its place.
            log_lr: Logarithm of the learning rate.
            seed: The seed's place.
        """
        return self._courses([(arm, 1.0)], shares(self._rates, log_lr), seed)

    def at(self, where: Point, seed: int) -> tuple[Course, Course]:
        """Return the losses of a constant momentum, and their logarithms."""
        return self._courses(self._arms(where[1]), shares(self._rates, where[0]), seed)

    def logs(self, where: Point, seed: int, moment: int) -> Point:
        """Return the logarithms of one moment's validation and test losses, as of ``at``."""
        validation = test = 0.0
        rates = shares(self._rates, where[0])
        for arm, arm_share in self._arms(where[1]):
            for rate, rate_share in rates:
                course, share = self._listed[arm][rate][seed], arm_share * rate_share
                validation += share * course[0][moment]
                test += share * course[1][moment]
        return validation, test

    def nearest_rate(self, log_lr: float) -> int:
        """Return the place of the recorded learning rate that is nearest to one."""
        return _nearest(shares(self._rates, log_lr))

    def nearest_arm(self, log_horizon: float) -> int:
        """Return the place of the arm whose fixed momentum is nearest to that of a horizon."""
        return _nearest(self._arms(log_horizon))

    def _arms(self, log_horizon: float) -> Shares:
        found = shares(self._horizons, log_horizon)
        return [(self._fixed[place], share) for place, share in found]

    def _courses(self, arms: Shares, rates: Shares, seed: int) -> tuple[Course, Course]:
        corners = [(arm, rate, a * r) for arm, a in arms for rate, r in rates]
        if len(corners) == 1:
            # As recorded, to the last digit.
            (arm, rate, _), *_ = corners
            return _course(self._losses[:, arm, rate, seed]), self._listed[arm][rate][seed]
        logs = np.zeros(self._logs.shape[:1] + self._logs.shape[4:])
        for arm, rate, share in corners:
            logs += share * self._logs[:, arm, rate, seed]
        return _course(np.exp(logs)), _course(logs)


def shares(grid: Sequence[float], value: float) -> Shares:
    """Return the neighbours of a value in an increasing grid, and how much each counts.

    >>> shares([0.0, 1.0, 3.0], 1.5), shares([0.0, 1.0], 1.0), shares([0.0, 1.0], 9.0)
    ([(1, 0.75), (2, 0.25)], [(1, 1.0)], [(1, 1.0)])
    """
    place = bisect_left(grid, value)
    if place == len(grid):
        return [(place - 1, 1.0)]
    if place == 0 or grid[place] == value:
        return [(place, 1.0)]
    upper = (value - grid[place - 1]) / (grid[place] - grid[place - 1])
    return [(place - 1, 1.0 - upper), (place, upper)]


def _course(both: Floats) -> Course:
    return both[0].tolist(), both[1].tolist()


def _nearest(found: Shares) -> int:
    return max(found, key=lambda each: each[1])[0]


def _losses(recordings: Recordings) -> Floats:
    """Return validation and test losses with those before training: one more moment."""
    kinds = (
        (recordings.initial_validation, recordings.columns["validation_loss"]),
        (recordings.initial_test, recordings.columns["test_loss"]),
    )
    whole: list[NDArray[np.float64]] = []
    for initial, recorded in kinds:
        first = np.broadcast_to(np.asarray(initial), recorded.shape[:3])[..., None]
        whole.append(np.concatenate([first, recorded], axis=-1))
    return np.stack(whole)
