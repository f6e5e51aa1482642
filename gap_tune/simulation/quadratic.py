"""QuadraticTask: a noisy quadratic whose expected loss is known exactly, for first steps."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from gap_tune.errors import InvalidValueError, check_count, check_range
from gap_tune.gradients.statistics import DEFAULT_CANDIDATES, AlignmentStatistics
from gap_tune.rules import Decision
from gap_tune.simulation.task import Report
from gap_tune.theory.momentum import coupling_factor
from gap_tune.tune import keys

# The decayed number of steps that statistics are told to be of.
_WEIGHT = 10.0


class QuadraticTask:
    """``f(w) = sum_j h_j w_j^2 / 2`` by SGD with momentum on gradients with white noise.

    What trials report is no sample but the expectation over all noise, which follows from an exact
    recursion of second moments: the same configuration and changes of momentum always give the same
    losses. Statistics are the expectations at the step of the report. The learning rate is coupled
    to the momentum as a session couples it, where the scheduler decides.

    Args:
        reports: How many reports a full training makes.
        steps: Optimizer steps between two reports.
        curvatures: The h, each positive.
        noise: Standard deviation of the noise of each coordinate's gradient.
        seconds: How long a trial trains between two reports.

    Raises:
        InvalidValueError: When an argument is out of range.

    >>> training = QuadraticTask(reports=2).begin({"lr": 0.1, "momentum": 0.9})
    >>> first, second = training.advance(), training.advance()
    >>> training.done, first.metrics["validation_loss"] > second.metrics["validation_loss"]
    (True, True)
    """

    name = "quadratic"
    metric = "validation_loss"
    mode = "min"

    def __init__(
        self,
        *,
        reports: int = 20,
        steps: int = 16,
        curvatures: tuple[float, ...] = (1.0, 0.1, 0.01),
        noise: float = 0.1,
        seconds: float = 30.0,
    ) -> None:
        self.reports = check_count("reports", reports)
        self.steps = check_count("steps", steps)
        self.noise = check_range("noise", noise, 0.0, math.inf, high_open=True)
        self.seconds = check_range("seconds", seconds, 0.0, math.inf, high_open=True)
        if not curvatures or any(each <= 0.0 for each in curvatures):
            raise InvalidValueError(f"curvatures must be positive numbers, but got {curvatures!r}.")
        self.curvatures = tuple(map(float, curvatures))

    def begin(self, config: Mapping[str, Any]) -> QuadraticTraining:
        """Return the training of a configuration with ``lr`` and ``momentum``.

        Raises:
            InvalidValueError: When one of them is missing or out of range.
        """
        return QuadraticTraining(self, config)


class QuadraticTraining:
    """A training of ``QuadraticTask``.

    The state of a coordinate is its weight, the optimizer's buffer, the last gradient, and the
    output of the filter of each candidate; of each coordinate it keeps the matrix of second
    moments. A step multiplies the state by a matrix and adds noise.

    Attributes:
        lr: The learning rate in use.
    """

    def __init__(self, task: QuadraticTask, config: Mapping[str, Any]) -> None:
        self._task = task
        self._report, self._seq, self._since = 0, 0, 0
        self._mode = str(keys.section(config).get("mode", keys.MODE_FIXED))
        self._momentum, self._lr = _checked(config)
        self._trained = self._momentum
        self._reference = keys.section(config).get("reference_momentum", self._momentum)
        self.lr = self._coupled()
        size = 3 + len(DEFAULT_CANDIDATES)
        self._moments = np.zeros((len(task.curvatures), size, size))
        self._moments[:, 0, 0] = 1.0
        self._map: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None

    @property
    def done(self) -> bool:
        """Whether it has made all its reports."""
        return self._report >= self._task.reports

    def advance(self) -> Report:
        """Train up to the next report."""
        with np.errstate(over="ignore", invalid="ignore"):
            if self._map is None:
                self._map = self._steps()
            matrix, added = self._map
            self._moments = matrix @ self._moments @ matrix.transpose(0, 2, 1) + added
            self._report += 1
            self._since += self._task.steps
            self._trained = self._momentum
            return Report(self._metrics(), self._task.seconds)

    def follow(self, decision: Decision) -> None:
        """Take a momentum that the scheduler has sent."""
        if decision.momentum != self._momentum:
            self._momentum, self._map, self._since = float(decision.momentum), None, 0
            self.lr = self._coupled()
        self._seq += 1

    def change(self, config: Mapping[str, Any]) -> None:
        """Go on with another learning rate and momentum."""
        self._momentum, self._lr = _checked(config)
        self._map, self._since = None, 0
        self.lr = self._coupled()

    def copy(self) -> Self:
        """Return a copy; arrays are never written to, so both may hold them."""
        return copy.copy(self)

    def _coupled(self) -> float:
        """Return the learning rate in use."""
        if self._mode != keys.MODE_SCHEDULER:
            return self._lr
        return self._lr * float(coupling_factor(self._momentum, self._reference))

    def _steps(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the matrix of a report's steps, and the moments of the noise that they add."""
        curvatures = np.asarray(self._task.curvatures)
        # How much of its old output the buffer, the last gradient and each filter keep.
        kept = np.array([self._momentum, 0.0, *DEFAULT_CANDIDATES])
        size = 1 + len(kept)
        matrix = np.zeros((len(curvatures), size, size))
        matrix[:, 1:, 0] = curvatures[:, None]
        matrix[:, range(1, size), range(1, size)] = kept
        matrix[:, 0, 0] = 1.0 - self.lr * curvatures
        matrix[:, 0, 1] = -self.lr * self._momentum
        noise = np.array([-self.lr, *([1.0] * len(kept))]) * self._task.noise
        added = np.broadcast_to(np.outer(noise, noise), matrix.shape)
        whole, whole_added, left = np.eye(size), np.zeros_like(matrix), self._task.steps
        whole = np.broadcast_to(whole, matrix.shape)
        # A power by repeated squaring.
        while left:
            if left % 2:
                whole_added = matrix @ whole_added @ matrix.transpose(0, 2, 1) + added
                whole = matrix @ whole
            added = matrix @ added @ matrix.transpose(0, 2, 1) + added
            matrix, left = matrix @ matrix, left // 2
        return whole, whole_added

    def _metrics(self) -> dict[str, Any]:
        curvatures = np.asarray(self._task.curvatures)
        loss = float(curvatures @ self._moments[:, 0, 0]) / 2
        steps = self._report * self._task.steps
        own = {
            keys.MOMENTUM: self._trained,
            keys.MODE: self._mode,
            keys.SEQ: self._seq,
            keys.STEPS: steps,
            keys.STEPS_SINCE_CHANGE: self._since,
            keys.LR: self.lr,
        }
        metrics = {"validation_loss": loss, "test_loss": loss, **own}
        # A fresh gradient is the curvature times the weight, and noise that knows of nothing.
        aligned = curvatures @ self._moments[:, 0, 2:]
        power = float(curvatures**2 @ self._moments[:, 0, 0])
        power += len(curvatures) * self._task.noise**2
        if not (math.isfinite(power) and np.isfinite(aligned).all()):
            return metrics
        statistics = AlignmentStatistics(
            candidates=DEFAULT_CANDIDATES,
            alignment=tuple((_WEIGHT * aligned[1:]).tolist()),
            validation_alignment=(0.0,) * len(DEFAULT_CANDIDATES),
            autocorrelation=(_WEIGHT * power, _WEIGHT * float(aligned[0])),
            whitening=None,
            weight=_WEIGHT,
            validation_weight=0.0,
            steps=steps,
            skipped_steps=0,
            dimension=len(curvatures),
            sampled=len(curvatures),
        )
        gain = float(np.interp(self._trained, statistics.candidates, statistics.gain()))
        told = json.dumps(statistics.to_dict(), separators=(",", ":"))
        return {**metrics, keys.POWER: power, keys.GAIN: gain, keys.STATISTICS: told}


def _checked(config: Mapping[str, Any]) -> tuple[float, float]:
    """Return momentum and learning rate of a configuration."""
    missing = [name for name in ("lr", "momentum") if name not in config]
    if missing:
        raise InvalidValueError(
            f"a configuration must hold lr and momentum, but got none of {missing}."
        )
    momentum = check_range("momentum", config["momentum"], 0.0, 1.0, high_open=True)
    return momentum, check_range("lr", config["lr"], 0.0, math.inf, low_open=True, high_open=True)
