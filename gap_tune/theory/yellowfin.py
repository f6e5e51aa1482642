"""YellowFin's formulas: learning rate and momentum that minimise one step's expected distance."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from gap_tune.errors import check_range

# Published constants: factor of the averages, squared norms in the window, and the growth per step
# that the upper envelope is allowed.
DECAY = 0.999
WINDOW = 20
_GROWTH = 100.0
# Steps over which the learning rate rises to the rule's.
_SLOW_START = 10 * WINDOW


class MomentumAndRate(NamedTuple):
    """Momentum in [0, 1], and learning rate in the convention of ``torch.optim.SGD``."""

    momentum: float
    lr: float


@dataclass(frozen=True)
class YellowFinMeasurements:
    """What the rule needs to know of the objective around the present weights.

    Attributes:
        h_min: Smallest curvature, > 0, in units of loss / weight^2.
        h_max: Largest curvature, at least ``h_min``.
        variance: Variance of the minibatch gradient, summed over coordinates, >= 0.
        distance: Distance to the optimum, > 0.

    Raises:
        InvalidValueError: When a value is out of range.
    """

    h_min: float
    h_max: float
    variance: float
    distance: float

    def __post_init__(self) -> None:
        check_range("h_min", self.h_min, 0.0, math.inf, low_open=True)
        check_range("h_max", self.h_max, self.h_min, math.inf)
        check_range("variance", self.variance, 0.0, math.inf)
        check_range("distance", self.distance, 0.0, math.inf, low_open=True)


def single_step(measured: YellowFinMeasurements) -> MomentumAndRate:
    r"""Return YellowFin's momentum and learning rate.

    They minimise the expected squared distance to the optimum of a noisy quadratic one step on,
    ``momentum D^2 + lr^2 C`` (distance D, variance C), over the settings at which every curvature
    in ``[h_min, h_max]`` contracts at the same rate, ``sqrt(momentum)``::

        sqrt(momentum) >= (sqrt(h_max / h_min) - 1) / (sqrt(h_max / h_min) + 1)
        lr              = (1 - sqrt(momentum))^2 / h_min

    With ``y = 1 - sqrt(momentum)`` the free minimum solves ``y^3 + p y - p = 0``, where
    ``p = (D h_min)^2 / (2 C)``. Its one real root lies in (0, 1] and is a hyperbolic sine, which
    cancels no digits. The objective is convex in ``sqrt(momentum)``, so the bound is the minimum
    wherever it lies above the free one.

    Source: SingleStep of Algorithm 1 of arXiv 1706.03471, and its appendix on the cubic.

    >>> quiet = YellowFinMeasurements(h_min=1.0, h_max=9.0, variance=0.0, distance=1.0)
    >>> single_step(quiet)
    MomentumAndRate(momentum=0.25, lr=0.25)
    """
    ratio = math.sqrt(measured.h_max / measured.h_min)
    root = max(_free_root(measured), (ratio - 1) / (ratio + 1))
    return MomentumAndRate(root**2, (1 - root) ** 2 / measured.h_min)


def _free_root(measured: YellowFinMeasurements) -> float:
    """Return the square root of the momentum that minimises the objective without the bound."""
    if measured.variance == 0:
        return 0.0
    p = (measured.distance * measured.h_min) ** 2 / (2 * measured.variance)
    if p == 0:
        return 1.0
    return 1 - 2 * math.sqrt(p / 3) * math.sinh(math.asinh(1.5 * math.sqrt(3 / p)) / 3)


@dataclass(frozen=True)
class YellowFinAverages:
    """YellowFin's running averages: from the gradients' norms to measurements. Plain numbers.

    Every average decays by 0.999 per step and is divided by ``1 - 0.999^steps``. Curvatures are
    squared gradient norms ``h_t = |g_t|^2``, as for a negative log-likelihood; their extremes over
    the last 20 steps are averaged in the logarithm. At each step the largest enters with at most
    100 times the present average, so that one exploding gradient does not end the training.

    Attributes:
        steps: Gradients that were taken in.
        window: The last squared norms.
        log_max: Average of the logarithm of the largest one.
        log_min: Average of the logarithm of the smallest one.
        norm: Average norm.
        squared_norm: Average squared norm.
        distance: Average of ``norm / squared_norm``, the distance that they imply.
        observed: Average squared norm over the coordinates that the variance is taken from.
        mean: Squared norm of the average gradient over them.

    Source: Algorithms 2 to 4 of arXiv 1706.03471, and its remarks on stability.

    >>> averages = YellowFinAverages()
    >>> for _ in range(3):
    ...     averages = averages.take_in(squared_norm=4.0, observed=4.0, mean=0.0)
    >>> round(averages.measurements().distance, 6)
    0.5
    """

    steps: int = 0
    window: tuple[float, ...] = ()
    log_max: float = 0.0
    log_min: float = 0.0
    norm: float = 0.0
    squared_norm: float = 0.0
    distance: float = 0.0
    observed: float = 0.0
    mean: float = 0.0

    def take_in(self, squared_norm: float, observed: float, mean: float) -> YellowFinAverages:
        """Return the averages with one more gradient.

        Args:
            squared_norm: Its squared norm, > 0.
            observed: The same over the coordinates that the variance is taken from.
            mean: Squared norm over them of the gradients' average (from zero, decay 0.999), this
                gradient included.
        """
        window = (*self.window, squared_norm)[-WINDOW:]
        high = math.log(max(window))
        if self.steps:
            high = min(high, self.log_max / self.weight + math.log(_GROWTH))
        norm = _average(self.norm, math.sqrt(squared_norm))
        mean_square = _average(self.squared_norm, squared_norm)
        return YellowFinAverages(
            steps=self.steps + 1,
            window=window,
            log_max=_average(self.log_max, high),
            log_min=_average(self.log_min, math.log(min(window))),
            norm=norm,
            squared_norm=mean_square,
            distance=_average(self.distance, norm / mean_square),
            observed=_average(self.observed, observed),
            mean=mean,
        )

    @property
    def weight(self) -> float:
        """What the averages are divided by, for their start at zero."""
        return 1 - DECAY**self.steps

    @property
    def slow_start(self) -> float:
        """Share of the rule's learning rate that is used by now: the first averages know little."""
        return min(1.0, self.steps / _SLOW_START)

    def measurements(self) -> YellowFinMeasurements:
        """Return what the averages say; at least one gradient must have been taken in."""
        weight = self.weight
        h_min = math.exp(self.log_min / weight)
        return YellowFinMeasurements(
            h_min,
            # The limit on growth can leave the upper average behind the lower one.
            h_max=max(h_min, math.exp(self.log_max / weight)),
            # Rounding can leave the variance of equal gradients below zero.
            variance=max(0.0, self.observed / weight - self.mean / weight**2),
            distance=self.distance / weight,
        )


def squared_mean(before: float, across: float, squared_norm: float) -> float:
    """Return the squared norm of the gradients' average once it has taken in one more.

    ``|0.999 a + 0.001 g|^2`` from inner products that are known before: what is not finite need
    never get into the average.

    Args:
        before: ``|a|^2``, of the average before.
        across: ``<a, g>``, with the gradient.
        squared_norm: ``|g|^2``, of the gradient.

    >>> round(squared_mean(before=1.0, across=1.0, squared_norm=1.0), 12)
    1.0
    """
    new = 1 - DECAY
    return DECAY**2 * before + 2 * DECAY * new * across + new**2 * squared_norm


def _average(average: float, value: float) -> float:
    return DECAY * average + (1 - DECAY) * value
