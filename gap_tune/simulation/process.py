"""Process: a trial's process, a function trainable that reports; Actor: as Ray sees it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, NamedTuple

from ray.tune.result import (
    DONE,
    HOSTNAME,
    NODE_IP,
    PID,
    RESULT_DUPLICATE,
    SHOULD_CHECKPOINT,
    STDERR_FILE,
    STDOUT_FILE,
    TIME_THIS_ITER_S,
    TIME_TOTAL_S,
    TRAINING_ITERATION,
    TRIAL_ID,
    TRIAL_INFO,
)

from gap_tune.errors import GapTuneError, NonFiniteMetricError
from gap_tune.simulation.clock import Message
from gap_tune.simulation.task import Task, Training
from gap_tune.simulation.trial_storage import Saved, TrialStorage
from gap_tune.tune import keys
from gap_tune.tune.finite import first_non_finite
from gap_tune.tune.ray_private import delivery
from gap_tune.tune.ray_private.virtual import VirtualActor, training_result

_OF_TUNE = (TRIAL_INFO, STDOUT_FILE, STDERR_FILE)


class Process:
    """A process that runs one trial after another.

    It does what a function trainable with a ``TrialSession`` does, in the same order: it takes the
    directive that waits for it, trains up to its next report, and waits.

    Args:
        task: What trials train.
        storage: Where their checkpoints lie.
        every: Reports between two checkpoints; 0 for none.
        sent: Is called with the trial's id and each directive that reaches the process, and
            returns what to call when the trial has taken it.
        node: The number of the node that it runs on.
    """

    def __init__(
        self,
        task: Task,
        storage: TrialStorage,
        every: int,
        sent: Callable[[str, delivery.Directive], Callable[[], None]],
        node: int,
    ) -> None:
        self._task, self._storage, self._every, self._sent = task, storage, every, sent
        self.node, self.dead = node, False
        self.execute = SimpleNamespace(remote=self._execute)
        self.get_auto_filled_metrics = SimpleNamespace(remote=self._filled)

    def begin(self, config: Mapping[str, Any]) -> None:
        """Start a trial, or go on to another one."""
        self.trial_id = str(config[TRIAL_INFO].trial_id)
        self._config = {name: v for name, v in config.items() if name not in _OF_TUNE}
        # As a function trainable does, it begins when it is first asked to train.
        self._training: Training | None = None
        self._seq, self._iteration, self._total = 0, 0, 0.0
        # How many reports, and seconds, were there when its process took it up.
        self._before = 0, 0.0
        self._last: Any = None
        self._inbox: tuple[delivery.Directive, Callable[[], None]] | None = None

    def restore(self, path: str) -> None:
        """Go on from a checkpoint, with the trial's own configuration."""
        saved = self._storage.load(path)
        self._training = saved.training.copy()
        if saved.config != self._config:
            self._training.change(self._config)
        self._seq, self._iteration, self._total = saved.seq, saved.iteration, saved.total
        self._before = saved.iteration, saved.total

    def train(self) -> tuple[dict[str, Any] | GapTuneError, float]:
        """Return the next result, or what the trial fails of, and how long training took.

        Raises:
            GapTuneError: When the task refuses the configuration, or cannot go on.
            NonFiniteMetricError: When the scheduler has said that the trial must fail.
        """
        if self._training is None:
            self._training = self._task.begin(self._config)
        self._receive(self._training)
        if self._training.done:
            self._last = training_result(None, {})
            return {RESULT_DUPLICATE: True, DONE: True, SHOULD_CHECKPOINT: False}, 0.0
        report = self._training.advance()
        own = keys.section(self._config)
        failure = first_non_finite(report.metrics, own.get("metric")) if own else None
        if failure is not None:
            # A session that knows the study's metric raises instead of reporting.
            return NonFiniteMetricError(failure), report.seconds
        self._iteration += 1
        self._total += report.seconds
        self._seq = int(report.metrics.get(keys.SEQ, self._seq))
        result = {
            **report.metrics,
            DONE: False,
            TRAINING_ITERATION: self._iteration,
            **self._filled(),
            TIME_THIS_ITER_S: report.seconds,
            "time_since_restore": self._total - self._before[1],
            "iterations_since_restore": self._iteration - self._before[0],
            "config": self._config,
        }
        path = None
        if self._every and self._iteration % self._every == 0:
            saved = Saved(
                self._training.copy(), self._config, self._seq, self._iteration, self._total
            )
            path = self._storage.save(self.trial_id, saved)
            result[SHOULD_CHECKPOINT] = True
        self._last = training_result(path, dict(result))
        return result, report.seconds

    def save(self) -> Any:
        """Return the last result and the checkpoint that came with it."""
        return self._last

    def _filled(self, debug_metrics_only: bool = False) -> dict[str, Any]:
        host = f"node{self.node}"
        return {
            TRIAL_ID: self.trial_id,
            TIME_TOTAL_S: self._total,
            PID: 1,
            HOSTNAME: host,
            NODE_IP: host,
        }

    def _execute(self, function: Callable[[Any], None]) -> None:
        """Run a function in the process: that which puts a directive into its mailbox."""
        function(self)
        directive = delivery.take(self.trial_id)
        if directive is not None:
            taken = self._sent(self.trial_id, directive)
            self._inbox = None if self.dead else (directive, taken)

    def _receive(self, training: Training) -> None:
        """Take the directive that waits, as ``TrialSession.receive`` does."""
        inbox, self._inbox = self._inbox, None
        if inbox is None:
            return
        directive, taken = inbox
        if directive.failure is not None:
            raise NonFiniteMetricError(directive.failure)
        if directive.decision is not None and directive.seq == self._seq + 1:
            training.follow(directive.decision)
            self._seq = directive.seq
            taken()


class Death(NamedTuple):
    """The end of a process.

    Attributes:
        at: When.
        noticed: When the driver may learn of it.
        preempted: Whether its node was announced to go.
    """

    at: float
    noticed: float
    preempted: bool


class Actor(VirtualActor):
    """A process that the controller asked for.

    Args:
        lost: Is told of its end.
        number: Tells it from others.
        config: The configuration that it starts with.
        *calls: What the controller wants called.

    Attributes:
        config: The configuration that it starts with.
        process: The process, once it has a slot.
        placed: When it got the slot.
        starting: The message that it runs, until it reached the driver.
        tasks: What it was asked and has not answered: the message with the answer, and what to
            call where none will come.
        died: Its end, once it has come.
        failed: Whether the driver knows that it has died.
    """

    process: Process

    def __init__(
        self,
        lost: Callable[[Actor, Death], None],
        number: int,
        config: dict[str, Any],
        *calls: Any,
    ) -> None:
        super().__init__(number, *calls)
        self._lost, self.config = lost, config
        self.placed = 0.0
        self.starting: Message | None = None
        self.tasks: dict[int, tuple[Message, Any]] = {}
        self.died: Death | None = None
        self.failed = False

    def lose(self, at: float, noticed: float, *, preempted: bool) -> None:
        """Die with the node."""
        self._lost(self, Death(at, noticed, preempted))
