"""The trial's side: attach to an optimizer, report statistics, apply momentum, restore."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from ray.train import Checkpoint

from gap_tune.errors import InvalidValueError, NonFiniteMetricError, check_count
from gap_tune.gradients import AlignmentStatistics, GradientMonitor
from gap_tune.rules import Decision
from gap_tune.tune import keys
from gap_tune.tune.complaints import Complaints
from gap_tune.tune.finite import first_non_finite, non_finite_weight
from gap_tune.tune.ray_private.delivery import Directive
from gap_tune.tune.trial import checkpointing
from gap_tune.tune.trial.channels import Channel
from gap_tune.tune.trial.epochs import EpochLoops
from gap_tune.tune.trial.tuning import Tuning, become_master
from gap_tune.tune.trial.wanted import Wanted, check_folder, prepared, wanted


class TrialSession:
    """A running trial: made by ``attach``."""

    def __init__(self, tuning: Tuning, channel: Channel, own: Mapping[str, Any]) -> None:
        self._tuning = tuning
        self._channel = channel
        self._metric = own.get("metric")
        self._objects: dict[str, Any] = {}
        self._epochs = EpochLoops()
        self._complain = Complaints()
        become_master(tuning)

    @property
    def monitor(self) -> GradientMonitor | None:
        """The ``GradientMonitor`` on the optimizer; None where the optimizer observes itself."""
        return self._tuning.monitor

    @property
    def momentum(self) -> float | None:
        """The momentum that the optimizer uses at its next step; None where it has none."""
        return self._tuning.momentum

    @property
    def mode(self) -> str:
        """Who decides: "scheduler", "trial" or "fixed", as ``gap/mode`` says."""
        return self._tuning.mode

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
        the one in which it was taken. A trial may have several such loops, say for pre-training
        and fine-tuning: after ``restore``, those before the checkpoint's yield nothing, and those
        after it all of their epochs.

        Raises:
            InvalidValueError: When ``count`` is not a positive integer.
        """
        return self._epochs.run(check_count("epochs", count))

    def report(
        self,
        metrics: Mapping[str, Any],
        *,
        checkpoint: bool | str | os.PathLike[str] | Checkpoint | None = False,
    ) -> None:
        """Report metrics and gradient statistics to Tune, then apply the momentum that comes back.

        Blocks until the scheduler has decided. In the workers of a ``TorchTrainer`` every rank
        must call it; rank 0's metrics are reported. Outside of Ray Tune it only warns.

        A trial whose trained weights are NaN or infinite is nothing to come back to: it goes on
        without a checkpoint, and says so once. So does one whose checkpoint cannot be stored.
        Of metrics, only the study's counts; a trial that was told of none
        (``config["gap"]["metric"]``, which ``GapSearch`` sets) is judged by its weights alone.

        Args:
            metrics: Numbers and strings by name, as ``tune.report`` takes them.
            checkpoint: True saves the optimizer, the statistics, momentum, random state and every
                object named in ``restore``. A folder with files of your own, or a
                ``tune.Checkpoint``, becomes the checkpoint instead, with gap_tune's file added to
                it: statistics, momentum and random state; weights and optimizer are then yours to
                save and restore. False or None: no checkpoint.

        Raises:
            InvalidValueError: When a metric's name starts with "gap/", or the folder is missing.
            NonFiniteMetricError: When the study's metric was NaN or infinite; the trial fails.
            UnsupportedError: When an object's state holds more than tensors and plain values, or
                ``checkpoint`` is something else.
            StateError: When the session is another trial's.
        """
        what = wanted(checkpoint)
        result = self.result(metrics)
        with ExitStack() as stack:
            # All ranks report, whatever becomes of this one's checkpoint.
            self._exchange(result, self._prepared(what, stack))

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
            UnsupportedError: When an object has no state to save.
        """
        self.keep(**objects)
        checkpoint = self._channel.checkpoint()
        if checkpoint is None:
            return False
        with checkpoint.as_directory() as folder:
            self.load(Path(folder))
        return True

    def keep(self, **objects: Any) -> None:
        """Name what checkpoints hold besides the optimizer; errors as of ``restore``."""
        checkpointing.check_objects(objects)
        self._objects = objects

    def detach(self) -> None:
        """Stop observing the optimizer and changing its momentum, which stays as it is."""
        self._tuning.detach()

    def result(self, metrics: Mapping[str, Any]) -> dict[str, Any]:
        """Return the metrics with gap_tune's own, as ``report`` sends them; errors as there."""
        taken = sorted(
            str(name)
            for name, value in metrics.items()
            # Ray writes {"gap": {"seq": 1}} as "gap/seq".
            if str(name).startswith(keys.PREFIX)
            or (name == keys.SECTION and isinstance(value, Mapping))
        )
        if taken:
            raise InvalidValueError(
                f"metric names must not start with {keys.PREFIX!r}, but got {taken}."
            )
        self._tuning.settle()
        # Collecting statistics is an affair of all ranks where parameters are sharded.
        result = {**metrics, **self._own_metrics()}
        failure = first_non_finite(metrics, self._metric)
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
            self.follow(directive.decision)

    def follow(self, decision: Decision) -> None:
        """Apply a decision on the last result, where the scheduler is to decide.

        Trials of Ray Tune get it by ``report``. Where there is no Ray, whoever asks
        ``GapScheduler.decide`` about a ``result`` hands its answer over here.
        """
        self._tuning.follow(decision)

    def save(self, folder: Path, *, whole: bool) -> None:
        """Write gap_tune's file into a folder.

        Args:
            folder: The checkpoint's folder.
            whole: Whether to save the optimizer and the named objects too.
        """
        self._tuning.settle()
        state: dict[str, Any] = {
            "epochs": self._epochs.state_dict(),
            "epoch": self._epochs.state_dict()[-1][-1],
            "tuning": checkpointing.plain(self._tuning.state_dict()),
            "mailbox": self._channel.mailbox,
            "random": checkpointing.random_state(),
        }
        if whole:
            state["optimizer"] = self._tuning.optimizer.state_dict()
            state["objects"] = checkpointing.save_objects(self._objects)
        checkpointing.write(folder, state)

    def is_spoiled(self) -> bool:
        """Tell whether a trained weight is NaN or infinite, and say so the first time."""
        name = non_finite_weight(self._tuning.optimizer, self._objects)
        if name is not None:
            self._complain(
                "The trial goes on without checkpoints, since its trained weights must be finite, "
                f"but got NaN or infinity in {name} (told once)."
            )
        return name is not None

    def load(self, folder: Path, *, whole: bool = True, late: bool = True) -> str:
        """Continue from what ``save`` wrote; with a decision that came too late for it.

        Args:
            folder: The checkpoint's folder.
            whole: Whether to restore all of it; otherwise only momentum and statistics, once more,
                after something else has loaded the optimizer.
            late: Whether to apply that decision; once is enough.

        Returns:
            The mailbox of the trial that saved it.

        Raises:
            StateError: When the folder lacks one of the named objects, or is not gap_tune's.
        """
        state = checkpointing.read(folder, self._objects)
        # Earlier checkpoints, and those who read them, know one loop.
        self._epochs.load_state_dict(state.get("epochs") or [[0, state["epoch"]]])
        if whole and "optimizer" in state:
            self._tuning.load_optimizer(state["optimizer"])
        self._tuning.load_state_dict(state["tuning"])
        if whole:
            checkpointing.load_objects(self._objects, state.get("objects", {}))
        if whole and self._channel.speaks:
            # Other ranks keep theirs: dropout should differ between ranks.
            checkpointing.set_random_state(state["random"])
        mailbox: str = state["mailbox"]
        if late:
            self.receive(self._channel.missed(mailbox, self.seq + 1))
        return mailbox

    def _prepared(self, what: Wanted, stack: ExitStack) -> Path | Checkpoint | None:
        """Return the checkpoint to report, complete; None where there is none."""
        speaks = self._channel.speaks
        if isinstance(what, Path) and speaks:
            check_folder(what)
        if what is False or (what is True and not speaks) or self.is_spoiled():
            return None
        return prepared(what, self.save, stack) if speaks else what

    def _exchange(self, result: dict[str, Any], saved: Path | Checkpoint | None) -> None:
        self.receive(self._channel.exchange(result, saved, self.seq + 1))

    def _own_metrics(self) -> dict[str, Any]:
        statistics, by_beta2 = self._tuning.statistics_by_beta2()
        own: dict[str, Any] = {}
        momentum = self._tuning.trained_momentum
        if momentum is not None:
            gain = np.interp(momentum, statistics.candidates, statistics.gain())
            own = {keys.MOMENTUM: momentum, keys.GAIN: float(gain)}
        lr = self._tuning.lr
        if lr is not None and math.isfinite(lr):
            own[keys.LR] = lr
        agreement = self._tuning.agreement
        if agreement is not None:
            own[keys.AGREEMENT] = agreement
            # What only measures the agreement says nothing of the learning rate.
            if self._tuning.has_region:
                own[keys.SCALE] = self._tuning.scale
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
