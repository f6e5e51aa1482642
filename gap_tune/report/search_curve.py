"""Search curves: what the best of n random trials is expected to be, and what that saves.

A user pays n trials, keeps the one of best validation loss, and gets its test loss. Trials are
drawn from a finite grid with replacement, so that the expectation needs no simulation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gap_tune.report.evidence.bootstrap import interval
from gap_tune.report.evidence.paired import ROUNDING

Floats = NDArray[np.float64]

MOST_TRIALS = 30
# What tables have columns for.
SHOWN_TRIALS = (1, 2, 3, 5, 8, 12, 20, MOST_TRIALS)
# Learning rate and momentum at random; every other method is an arm, its learning rate at random.
SWEEP = "sweep"


def expected_best(validation: Any, test: Any, most: int = MOST_TRIALS) -> Floats:
    """Return the expected test loss of the validation-best of 1, 2, ... random trials.

    With K cells of which a have a lower and e an equal validation loss, the best of n draws is one
    of those e with probability ``((K - a) / K)^n - ((K - a - e) / K)^n``, each equally likely.

    Args:
        validation: Validation losses of all cells of the grid, in the last axis; finite.
        test: Their test losses, of the same shape.
        most: Up to how many trials.

    Returns:
        The losses, of the shape of the other axes and ``most``.

    >>> expected_best([0.1, 0.2], [1.0, 3.0], 3)
    array([2.  , 1.5 , 1.25])
    """
    judged, losses = np.asarray(validation, float), np.asarray(test, float)
    cells = judged.shape[-1]
    # Rows are cells, columns what each is compared with.
    lower = (judged[..., None, :] < judged[..., :, None]).sum(axis=-1)
    equal = (judged[..., None, :] == judged[..., :, None]).sum(axis=-1)
    trials = np.arange(1, most + 1)
    left, beyond = ((cells - count)[..., None] / cells for count in (lower, lower + equal))
    chance = (left**trials - beyond**trials) / equal[..., None]
    found: Floats = (chance * losses[..., None]).sum(axis=-2)
    return found


def trials_to_reach(curve: Any, target: Any) -> Floats:
    """Return how many trials a curve takes to come down to a value, between two by a straight line.

    Args:
        curve: Expected losses of the best of 1, 2, ... trials, in the last axis.
        target: The value, one for each curve.

    Returns:
        Real numbers from 1 on; infinity where the whole curve lies above the value.

    >>> [float(trials_to_reach([0.5, 0.3, 0.2], value)) for value in (0.6, 0.25, 0.1)]
    [1.0, 2.5, inf]
    """
    losses, value = np.asarray(curve, float), np.asarray(target, float)[..., None]
    reached = losses <= value + ROUNDING * (1.0 + np.abs(value))
    at = reached.argmax(axis=-1)[..., None]
    here = np.take_along_axis(losses, at, axis=-1)
    before = np.take_along_axis(losses, np.maximum(at - 1, 0), axis=-1)
    step = np.where(at > 0, before - here, 1.0)
    back = np.where(at > 0, np.maximum(value - here, 0.0) / np.where(step > 0, step, 1.0), 0.0)
    found = np.where(reached.any(axis=-1), (1 + at - back)[..., 0], np.inf)
    return found


@dataclass(frozen=True)
class Trials:
    """A number of trials; infinite where it is more than were looked at.

    Attributes:
        count: How many, a real number from 1 on.
        low: Lower end of the 95 % interval; NaN where there is none.
        high: Upper end.
    """

    count: float
    low: float
    high: float

    @classmethod
    def to_reach(
        cls, curve: Floats, target: Any, drawn: tuple[Floats, Floats] | None = None
    ) -> Trials:
        """Return how many trials a curve takes to come down to a value.

        Args:
            curve: Expected losses of the best of 1, 2, ... trials.
            target: The value.
            drawn: Curves and values of resamples; None where there is no interval.
        """
        ends = (math.nan, math.nan) if drawn is None else interval(trials_to_reach(*drawn))
        return cls(float(trials_to_reach(curve, target)), *map(float, ends))

    @property
    def has_interval(self) -> bool:
        """Whether there is an interval that says more: not where even its lower end is infinite."""
        return math.isfinite(self.low)

    def columns(self, name: str) -> dict[str, float]:
        """Return number and ends as columns of a table."""
        return {name: self.count, f"{name}_low": self.low, f"{name}_high": self.high}

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


def method_title(method: str) -> str:
    """Return what a search method draws at random.

    >>> method_title("sweep"), method_title("gap")
    ('learning rate x momentum', 'learning rate, gap')
    """
    return "learning rate x momentum" if method == SWEEP else f"learning rate, {method}"
