"""RecordedTraining: a training that is looked up instead of trained."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

from gap_tune.errors import StateError
from gap_tune.rules import Decision, Reason
from gap_tune.simulation.recorded.curves import Course, Point, horizon
from gap_tune.simulation.recorded.hyperparameters import Hyperparameters, seed_of
from gap_tune.simulation.recorded.rows import Row
from gap_tune.simulation.recorded.wandering import joined, trained_at
from gap_tune.simulation.task import Report
from gap_tune.theory.momentum import coupling_factor
from gap_tune.tune import keys

if TYPE_CHECKING:
    from gap_tune.simulation.recorded.task import RecordedTask


class RecordedTraining:
    """A trial's training on a ``RecordedTask``, which says what it does and cannot do.

    Args:
        task: What to train.
        config: The trial's configuration.
    """

    def __init__(self, task: RecordedTask, config: Mapping[str, Any]) -> None:
        self._task = task
        self._seed = seed_of(config, task.seeds)
        self._moment = 0
        self._seq = 0
        self._steps = self._changed_at = 0
        # Where it has trained so far, on average; and whether any of that was not as recorded.
        self._mean: Point = (0.0, 0.0)
        self._strayed = False
        # How much of it was as recorded.
        self._kept = 1.0
        # Logarithms of its losses at its last report.
        self._logs: Point = (math.nan, math.nan)
        self._diverged = False
        self._enter(Hyperparameters.of(config, sums=task.sums_gradients))
        self._momentum = self._own.momentum
        self._courses = self._recorded()

    @property
    def done(self) -> bool:
        """Whether it has made its last report."""
        return self._moment >= self._task.reports

    def advance(self) -> Report:
        """Train up to the next report.

        Raises:
            StateError: When it is done.
        """
        moment = self._moment
        if moment >= self._task.reports:
            raise StateError(
                f"a training must not be done to advance, but got one after {moment} reports."
            )
        arm = self._observed_arm()
        row = self._task.row(arm, self._rate, self._seed, moment)
        where = self._train(row)
        self._mean = joined(self._mean, where, self._task.shares[moment])
        self._moment = moment + 1
        validation, test = self._losses(where)
        if not math.isfinite(validation):
            self._diverged = True
        metrics: dict[str, Any] = {"validation_loss": validation, "test_loss": test}
        if self._own.mode is not None:
            metrics |= self._own_metrics(row)
        return Report(metrics, self._task.seconds(arm, moment))

    def follow(self, decision: Decision) -> None:
        """Take a momentum that the scheduler has sent; what is not tuned keeps its own."""
        tuned = self._arm is not None
        if tuned and decision.reason != Reason.FIXED and decision.momentum != self._momentum:
            self._momentum = decision.momentum
            self._seq += 1
            self._changed_at = self._steps

    def change(self, config: Mapping[str, Any]) -> None:
        """Go on with another learning rate, and another momentum unless that is tuned.

        The seed stays.

        Raises:
            InvalidValueError: As of ``RecordedTask.begin``.
        """
        before = self._arm, self._own.base_lr, self._momentum
        self._enter(Hyperparameters.of(config, sums=self._task.sums_gradients))
        if self._arm is None:
            self._momentum = self._own.momentum
        if (self._arm, self._own.base_lr, self._momentum) != before:
            self._strayed = self._moment > 0
            self._courses = self._recorded()

    def copy(self) -> Self:
        """Return a copy that advances by itself."""
        other = object.__new__(type(self))
        # Nothing of it is ever changed in place.
        other.__dict__.update(self.__dict__)
        return other

    def _enter(self, own: Hyperparameters) -> None:
        self._own = own
        self._arm = None if own.arm is None else self._task.place_of(own.arm)
        self._log_lr = math.log(own.base_lr)
        self._rate = self._task.curves.nearest_rate(self._log_lr)

    def _recorded(self) -> tuple[Course, Course]:
        """Return the losses that were recorded of it, and their logarithms."""
        curves = self._task.curves
        if self._arm is None:
            return curves.at((self._log_lr, horizon(self._momentum)), self._seed)
        return curves.of_arm(self._arm, self._log_lr, self._seed)

    def _observed_arm(self) -> int:
        """Return the arm whose statistics and times it has."""
        if self._arm is not None:
            return self._arm
        return self._task.curves.nearest_arm(horizon(self._momentum))

    def _train(self, row: Row | None) -> Point:
        """Return where it trains up to the next report, which tuned runs have a row of."""
        scale = 1.0
        if self._arm is not None:
            # What it would have decided where it diverged was never recorded.
            ended = math.isnan(self._courses[0][0][self._moment + 1])
            kept = ended or (row is not None and row.momentum == self._momentum)
            recorded = 1.0 if row is None else row.scale
            scale = self._own.bounded(recorded)
            self._strayed = self._strayed or not kept or (scale != recorded and not ended)
            self._kept += self._task.shares[self._moment] * (kept - self._kept)
        return trained_at(self._log_lr, self._momentum, scale, couples=self._own.couples)

    def _losses(self, where: Point) -> Point:
        """Return validation and test loss of this moment, NaN from a divergence on.

        Args:
            where: Where it has trained since the moment before.
        """
        if self._diverged:
            return math.nan, math.nan
        losses, logs = self._courses
        moment = self._moment
        if not self._strayed:
            self._logs = logs[0][moment], logs[1][moment]
            return losses[0][moment], losses[1][moment]
        found = self._strayed_logs(logs)
        if math.isnan(found[0]):
            # Nothing ended where it has been on average, but it may where it trains now.
            curves, seed = self._task.curves, self._seed
            before, after = (curves.logs(where, seed, place) for place in (moment - 1, moment))
            now = zip(self._logs, before, after, strict=True)
            found = tuple(log + later - earlier for log, earlier, later in now)  # type: ignore[assignment]
        self._logs = found
        return _exp(found[0]), _exp(found[1])

    def _strayed_logs(self, recorded: Course) -> Point:
        """Return the logarithms of the losses of a training that does not go as recorded."""
        moment, seed, curves = self._moment, self._seed, self._task.curves
        own = curves.logs(self._mean, seed, moment)
        if self._arm is None:
            return own
        # By how much the tuned run was recorded to be better or worse than fixed momenta that lie
        # where it has been: all of it in a trust region, else the part of the way that was kept.
        log_lr, log_horizon = self._task.mean(
            self._arm, self._rate, seed, moment, self._own.couples
        )
        other = curves.logs((log_lr + self._log_lr, log_horizon), seed, moment)
        tuned = recorded[0][moment], recorded[1][moment]
        if not math.isfinite(tuned[0] + other[0]):
            return own
        share = 1.0 if self._own.scales else self._kept
        first, second = (own[i] + share * (tuned[i] - other[i]) for i in range(2))
        return first, second

    def _own_metrics(self, row: Row | None) -> dict[str, Any]:
        """Return what a session reports with the losses; little where the run had diverged."""
        own = self._own
        found: dict[str, Any] = {keys.MOMENTUM: self._momentum, keys.MODE: own.mode}
        if row is not None:
            self._steps = row.steps
            coupled = own.couples and self._momentum != row.momentum
            factor = coupling_factor(self._momentum, row.momentum) if coupled else 1.0
            scale = own.bounded(row.scale)
            if own.scales:
                factor *= scale / row.scale
            found |= {
                keys.GAIN: row.gain(self._momentum),
                keys.LR: row.lr * (own.base_lr / self._task.learning_rates[self._rate]) * factor,
                keys.POWER: row.power,
                keys.STATISTICS: row.statistics,
            }
            if own.scales and row.agreement is not None:
                found |= {keys.AGREEMENT: row.agreement, keys.SCALE: scale}
        return found | {
            keys.SEQ: self._seq,
            keys.DECISION: "",
            keys.REASON: "",
            keys.STEPS: self._steps,
            keys.STEPS_SINCE_CHANGE: self._steps - self._changed_at,
        }


def _exp(log: float) -> float:
    """Return the exponential; infinity where there is no such number."""
    try:
        return math.exp(log)
    except OverflowError:
        return math.inf
