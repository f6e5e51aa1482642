"""How close the hyperparameters of two trials are, on the scales of the space they come from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from optuna.distributions import FloatDistribution, IntDistribution
from ray.tune.search.sample import Float, Integer, LogUniform, Normal, Quantized

from gap_tune.tune.nested import leaves

# A trial's hyperparameters by path: 0 to 1 along an axis, or text that is equal or not.
Point = dict[str, float | str]

# Trials a quarter of every range apart weigh exp(-1/2): near enough to tell, too far to decide.
_WIDTH = 0.25
_LONGEST_LABEL = 200


@dataclass(frozen=True)
class Axis:
    """The range of one numeric hyperparameter, on a linear or logarithmic scale."""

    low: float
    high: float
    log: bool = False

    def coordinate(self, value: float) -> float:
        """Return where a value lies in the range, from 0 to 1.

        >>> Axis(1e-4, 1.0, log=True).coordinate(0.01)
        0.5
        """
        ends = (self.low, self.high, min(max(float(value), self.low), self.high))
        low, high, x = map(math.log, ends) if self.log else ends
        return (x - low) / (high - low)


def axis_of(domain: Any) -> Axis | None:
    """Return the axis of a Ray Tune domain or Optuna distribution; None where there is no order."""
    if isinstance(domain, (Float, Integer)):
        sampler = domain.get_sampler()
        sampler = sampler.sampler if isinstance(sampler, Quantized) else sampler
        low, high, log = domain.lower, domain.upper, isinstance(sampler, LogUniform)
        if isinstance(sampler, Normal):
            # 95 % of what it draws.
            low, high = sampler.mean - 2 * sampler.sd, sampler.mean + 2 * sampler.sd
    elif isinstance(domain, (FloatDistribution, IntDistribution)):
        low, high, log = domain.low, domain.high, domain.log
    else:
        return None
    usable = math.isfinite(low) and math.isfinite(high) and low < high
    return Axis(float(low), float(high), log) if usable else None


def point_of(config: Mapping[str, Any], axes: Mapping[str, Axis | None]) -> Point:
    """Return a configuration's point.

    Args:
        config: Hyperparameters, nested ones included.
        axes: Axis by path ("optimizer/lr"); None for hyperparameters that are equal or not.
            Numbers without an entry, such as the seeds of planned trials, do not count: nothing
            says what a difference between them means.
    """
    point: Point = {}
    for path, value in leaves(config):
        axis, number = axes.get(path), _is_number(value)
        if axis is not None and number:
            point[path] = axis.coordinate(value)
        elif path in axes or not number:
            point[path] = repr(value)[:_LONGEST_LABEL]
    return point


def closeness(a: Point, b: Point) -> float:
    """Return the weight in (0, 1] that one trial's gradients have for a trial elsewhere.

    ``exp(-d^2 / (2 * 0.25^2))`` with ``d^2`` the mean over hyperparameters of squared differences.
    The mean, not the sum: else no trial would be close to any other in a space of ten.

    >>> closeness({"lr": 0.5, "act": "relu"}, {"lr": 0.5, "act": "relu"})
    1.0
    """
    # Often: seeds of one configuration, studies with nothing to search.
    if a == b:
        return 1.0
    paths = a.keys() | b.keys()
    total = sum(_difference(a.get(path), b.get(path)) ** 2 for path in paths)
    return math.exp(-total / len(paths) / (2 * _WIDTH**2))


def _difference(a: float | str | None, b: float | str | None) -> float:
    if isinstance(a, float) and isinstance(b, float):
        return a - b
    return 0.0 if a == b else 1.0


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
