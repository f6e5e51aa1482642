"""The trial's side: attach to an optimizer, report statistics, apply momentum, restore."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gap_tune.errors import InvalidValueError, NonFiniteMetricError, check_count
from gap_tune.gradients import AlignmentStatistics, GradientMonitor
from gap_tune.rules import Decision
from gap_tune.tune import checkpointing, keys
from gap_tune.tune.channels import Channel
from gap_tune.tune.delivery import Directive
from gap_tune.tune.finite import first_non_finite, is_finite
from gap_tune.tune.tuning import Tuning


class TrialSession:
    """A running trial: made by ``attach``."""

    def __init__(self, tuning: Tuning, channel: Channel, own: Mapping[str, Any]) -> None:
        self._tuning = tuning
        self._channel = channel
        self._metric = own.get("metric")
        self._objects: dict[str, Any] = {}
        self._epoch = 0
        self._checked = False

    @property
    def monitor(self) -> GradientMonitor | None:
        """The ``GradientMonitor`` on the optimizer; None where the optimizer observes itself."""
        return self._tuning.monitor

    @property
    def momentum(self) -> float | None:
        """The momentum that the optimizer uses at its next step; None where it has none."""
        return self._tuning.momentum

    @property
    def seq(self) -> int:
        """How often decisions have changed momentum: the scheduler's, or the trial's own."""
        return self._tuning.seq

    @property
    def decision(self) -> Decision | None:
        """The last decision that changed momentum, or the last of the trial's own, or None."""
        return self._tuning.decision

    def statistics(self) -> AlignmentStatistics:
        """Return the gradient statistics so far; waits for the device once."""
        return self._tuning.statistics_by_beta2()[0]

    def epochs(self, count: int) -> Iterator[int]:
        """Yield the epochs still to do: 0 .. count-1, or from where the checkpoint was taken.

        A checkpoint belongs at the end of an epoch: ``restore`` continues with the epoch after
        the one in which it was taken.

        Raises:
            InvalidValueError: When ``count`` is not a positive integer.
        """
        check_count("epochs", count)
        while self._epoch < count:
            self._epoch += 1
            yield self._epoch - 1

    def report(self, metrics: Mapping[str, Any], *, checkpoint: bool | str | Path = False) -> None:
        """Report metrics and gradient statistics to Tune, then apply the momentum that comes back.

        Blocks until the scheduler has decided. In the workers of a ``TorchTrainer`` every rank
        must call it; rank 0's metrics are reported. Outside of Ray Tune it only warns.

        Args:
            metrics: Numbers and strings by name.
            checkpoint: True saves the optimizer, the statistics, momentum, random state and every
                object named in ``restore``. A folder with files of your own becomes the
                checkpoint instead, with gap_tune's file added to it: statistics, momentum and
                random state; weights and optimizer are then yours to save and restore.

        Raises:
            InvalidValueError: When a metric's name starts with "gap/".
            NonFiniteMetricError: When the study's metric was NaN or infinite; the trial fails.
            UnsupportedError: When an object's state holds more than tensors and plain values.
        """
        result = self.result(metrics)
        # A model that went wrong is nothing to come back to.
        if checkpoint is False or not all(map(is_finite, metrics.values())):
            self._exchange(result, None)
        elif checkpoint is True:
            with tempfile.TemporaryDirectory() as folder:
                if self._channel.speaks:
                    self.save(Path(folder), whole=True)
                self._exchange(result, Path(folder) if self._channel.speaks else None)
        else:
            if self._channel.speaks:
                self.save(Path(checkpoint), whole=False)
            self._exchange(result, Path(checkpoint))

    def restore(self, **objects: Any) -> bool:
        """Continue from the trial's checkpoint, if it has one; call it once, before training.

        Args:
            **objects: What to save and restore besides the optimizer, by name: anything with
                ``state_dict`` and ``load_state_dict`` (``model=``, ``lr_scheduler=``), or a
                ``torch.Generator``.

        Returns:
            Whether there was a checkpoint.

        Raises:
            StateError: When the checkpoint lacks one of the objects, or is not gap_tune's.
        """
        self.keep(**objects)
        checkpoint = self._channel.checkpoint()
        if checkpoint is None:
            return False
        with checkpoint.as_directory() as folder:
            self.load(Path(folder))
        return True

    def keep(self, **objects: Any) -> None:
        """Name what checkpoints hold besides the optimizer, as ``restore`` does."""
        self._objects = objects

    def detach(self) -> None:
        """Stop observing the optimizer and changing its momentum, which stays as it is."""
        self._tuning.detach()

    def result(self, metrics: Mapping[str, Any]) -> dict[str, Any]:
        """Return the metrics with gap_tune's own, as ``report`` sends them; errors as there."""
        taken = sorted(name for name in metrics if str(name).startswith(keys.PREFIX))
        if taken:
            raise InvalidValueError(
                f"metric names must not start with {keys.PREFIX!r}, but got {taken}."
            )
        self._tuning.settle()
        # Collecting statistics is an affair of all ranks where parameters are sharded.
        result = {**metrics, **self._own_metrics()}
        failure = first_non_finite(metrics, keys.metric_names(self._metric))
        if self._channel.speaks and failure is not None:
            raise NonFiniteMetricError(failure)
        return result

    def receive(self, directive: Directive | None) -> None:
        """Apply what the scheduler sent; one that answers an older report does not count.

        Raises:
            NonFiniteMetricError: When it says that the trial must fail.
        """
        if directive is None:
            return
        if directive.failure is not None:
            raise NonFiniteMetricError(directive.failure)
        if directive.decision is not None and directive.seq == self.seq + 1:
            self._tuning.follow(directive.decision)

    def save(self, folder: Path, *, whole: bool) -> None:
        """Write gap_tune's file into a folder.

        Args:
            folder: The checkpoint's folder.
            whole: Whether to save the optimizer and the named objects too.
        """
        self._tuning.settle()
        state: dict[str, Any] = {
            "epoch": self._epoch,
            "tuning": self._tuning.state_dict(),
            "mailbox": self._channel.mailbox,
            "random": checkpointing.random_state(),
        }
        if whole:
            state["optimizer"] = self._tuning.optimizer.state_dict()
            state["objects"] = checkpointing.save_objects(self._objects)
        checkpointing.write(folder, state, check=not self._checked)
        self._checked = True

    def load(self, folder: Path) -> None:
        """Continue from what ``save`` wrote; with a decision that came too late for it.

        Raises:
            StateError: When the folder lacks one of the named objects, or is not gap_tune's.
        """
        state = checkpointing.read(folder, self._objects)
        self._epoch = state["epoch"]
        if "optimizer" in state:
            self._tuning.optimizer.load_state_dict(state["optimizer"])
        self._tuning.load_state_dict(state["tuning"])
        checkpointing.load_objects(self._objects, state.get("objects", {}))
        if self._channel.speaks:
            # Other ranks keep theirs: dropout should differ between ranks.
            checkpointing.set_random_state(state["random"])
        self.receive(self._channel.missed(state["mailbox"], self.seq + 1))

    def _exchange(self, result: dict[str, Any], folder: Path | None) -> None:
        self.receive(self._channel.exchange(result, folder, self.seq + 1))

    def _own_metrics(self) -> dict[str, Any]:
        statistics, by_beta2 = self._tuning.statistics_by_beta2()
        own: dict[str, Any] = {}
        if self.momentum is not None:
            gain = np.interp(self.momentum, statistics.candidates, statistics.gain())
            own = {keys.MOMENTUM: self.momentum, keys.GAIN: float(gain)}
        if by_beta2:
            own[keys.STATISTICS_BY_BETA2] = _json(
                {str(beta2): each.to_dict() for beta2, each in by_beta2.items()}
            )
        # What the scheduler decides on this result, the scheduler adds to it.
        made = self.decision if self._tuning.mode == keys.MODE_TRIAL else None
        return {
            **own,
            keys.MODE: self._tuning.mode,
            keys.POWER: statistics.power / max(statistics.weight, 1e-300),
            keys.SEQ: self.seq,
            keys.DECISION: made.explanation if made else "",
            keys.REASON: str(made.reason) if made else "",
            keys.STEPS: statistics.steps,
            keys.STEPS_SINCE_CHANGE: statistics.steps - self._tuning.changed_at,
            keys.STATISTICS: _json(statistics.to_dict()),
        }


_json = json.JSONEncoder(separators=(",", ":")).encode
