"""Where a training has been: the mean of its learning rates and momenta."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import accumulate

from gap_tune.simulation.recorded.curves import Point, horizon
from gap_tune.simulation.recorded.hyperparameters import REFERENCE
from gap_tune.simulation.recorded.rows import Row
from gap_tune.theory.momentum import coupling_factor


def shares_of(learning_rates: Sequence[float]) -> list[float]:
    """Return how much each moment counts in the mean of all up to it.

    It is as long as the steps that were made: a moment counts as much as its learning rate, as
    scheduled.

    Args:
        learning_rates: Those in use at each moment, on any scale.

    >>> shares_of([1.0, 1.0, 0.0])
    [1.0, 0.5, 0.2]
    """
    before = (learning_rates[0], *learning_rates[:-1])
    weights = [(a + b) / 2 for a, b in zip(before, learning_rates, strict=True)]
    sums = accumulate(weights)
    return [weight / total if total else 1.0 for weight, total in zip(weights, sums, strict=True)]


def joined(mean: Point, where: Point, share: float) -> Point:
    """Return the mean of where a training has been, once it has trained somewhere up to a report.

    Args:
        mean: The mean before.
        where: Where it has trained since.
        share: How much that counts, as of ``shares_of``.

    >>> joined((0.0, 2.0), (1.0, 0.0), 0.5)
    (0.5, 1.0)
    """
    return mean[0] + share * (where[0] - mean[0]), mean[1] + share * (where[1] - mean[1])


def trained_at(log_lr: float, momentum: float, scale: float, *, couples: bool) -> Point:
    """Return which constant learning rate and momentum make the same steps.

    Args:
        log_lr: Logarithm of the learning rate that belongs to the reference momentum.
        momentum: The momentum in use.
        scale: The trust region's.
        couples: Whether the learning rate follows momentum.
    """
    coupled = _log_coupling(momentum) if couples else 0.0
    return log_lr + coupled + math.log(scale), horizon(momentum)


def means(rows: Iterable[Row | None], shares: Iterable[float], *, couples: bool) -> list[Point]:
    """Return the mean of where a recorded run has been, before it and at each moment.

    Args:
        rows: The run's; where it had diverged they add nothing.
        shares: As of ``shares_of``.
        couples: Whether learning rates follow momentum.
    """
    found: list[Point] = [(0.0, 0.0)]
    for row, share in zip(rows, shares, strict=True):
        where = found[-1]
        if row is not None:
            where = trained_at(0.0, row.momentum, row.scale, couples=couples)
        found.append(joined(found[-1], where, share))
    return found


@lru_cache(maxsize=1024)
def _log_coupling(momentum: float) -> float:
    return math.log(coupling_factor(momentum, REFERENCE))
