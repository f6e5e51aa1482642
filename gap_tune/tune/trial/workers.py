"""WorkerChannel: a trial that trains in the workers of a ``TorchTrainer``."""

from __future__ import annotations

import logging
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray.train

from gap_tune.tune import keys
from gap_tune.tune.ray_private import delivery
from gap_tune.tune.ray_private.owners import is_anothers, note_report
from gap_tune.tune.ray_private.workers import finish_report
from gap_tune.tune.trial.storage import go_on_without, is_storage_fault

logger = logging.getLogger(__name__)

# Ray Train looks at its workers every two seconds (RAY_TRAIN_HEALTH_CHECK_INTERVAL_S), and only
# then does a report reach the scheduler.
_PATIENCE_S = 10.0
_LEAST_PATIENCE_S, _MOST_PATIENCE_S = 0.1, 600.0


class WorkerChannel:
    """One rank of a ``TorchTrainer`` that a function trainable has started.

    Reports go through ``ray.train.report`` and Ray's ``TuneReportCallback``, which do not wait for
    the scheduler. So rank 0 names a mailbox in its result, waits there for the answer, and tells
    the other ranks: all of them change momentum at the same step.

    Each report has a mailbox of its own: answers to older ones cannot be mistaken for it, and a
    restarted trial still finds the answer to the report that its checkpoint belongs to.

    Args:
        asks: Whether the scheduler is to decide; otherwise nothing is waited for.
    """

    def __init__(self, *, asks: bool) -> None:
        self.speaks = ray.train.get_context().get_world_rank() == 0
        self._asks = asks
        self._name = uuid.uuid4().hex
        self._reports = 0
        self._kept = ""
        self._patience_s = _PATIENCE_S
        self._full_patience_s = _PATIENCE_S
        self._unanswered = ""
        self._warned = False

    @property
    def mailbox(self) -> str:
        """The mailbox of the next report."""
        return f"{self._name}-{self._reports}"

    def exchange(
        self, result: dict[str, Any], saved: Path | ray.train.Checkpoint | None, seq: int
    ) -> delivery.Directive | None:
        """Report with all other ranks; return on each what rank 0 was answered."""
        mailbox = self.mailbox
        self._reports += 1
        if self._asks:
            result = {**result, keys.MAILBOX: mailbox}
        if not self._reported_with(saved, result):
            saved = None
        note_report(self)
        if not self._asks:
            return None
        answer = None
        if self.speaks:
            answer = self._wait(mailbox, seq)
            self._clear(mailbox, keep=saved is not None)
        return self._tell(answer)

    def _reported_with(
        self, saved: Path | ray.train.Checkpoint | None, result: dict[str, Any]
    ) -> bool:
        """Report, with a checkpoint or without; False where the storage cannot take it."""
        if saved is None:
            ray.train.report(result)
            return True
        try:
            ray.train.report(result, checkpoint=as_checkpoint(saved, ray.train.Checkpoint))
        except Exception as error:
            if not is_storage_fault(error):
                raise
            # The other ranks have reported: this one must finish the same report.
            if not finish_report(result):
                raise
            go_on_without(error)
            return False
        return True

    def missed(self, mailbox: str, seq: int) -> delivery.Directive | None:
        """Return the answer that came after the checkpoint was taken."""
        if not self._asks:
            return None
        return self._tell(delivery.wait(mailbox, seq, 0.0) if self.speaks else None)

    def checkpoint(self) -> Any:
        """Return the training run's latest checkpoint, if nobody else here reported it."""
        return None if is_anothers(self) else ray.train.get_checkpoint()

    def _wait(self, mailbox: str, seq: int) -> delivery.Directive | None:
        if self._unanswered and delivery.wait(self._unanswered, seq, 0.0) is not None:
            # The scheduler answers, but late: a busy driver must not cost decisions for good.
            if self._unanswered != self._kept:
                delivery.clear(self._unanswered)
            self._full_patience_s = min(2 * self._full_patience_s, _MOST_PATIENCE_S)
            self._patience_s = self._full_patience_s
        answer = delivery.wait(mailbox, seq, self._patience_s)
        self._unanswered = "" if answer is not None else mailbox
        if answer is not None:
            self._patience_s = self._full_patience_s
            return answer
        if not self._warned:
            self._warned = True
            logger.warning(
                "no answer from the scheduler within %g s, so momentum stays as it is: the study "
                "needs a GapScheduler, and the trainer RunConfig(callbacks=[TuneReportCallback()]) "
                "of ray.tune.integration.ray_train (with Ray 2.50, RAY_TRAIN_V2_ENABLED=1 too).",
                self._patience_s,
            )
        # Whoever never answers must not cost ten seconds at each report.
        self._patience_s = max(self._patience_s / 2, _LEAST_PATIENCE_S)
        return None

    def _clear(self, mailbox: str, *, keep: bool) -> None:
        if not keep:
            delivery.clear(mailbox)
            return
        if self._kept:
            delivery.clear(self._kept)
        self._kept = mailbox

    def _tell(self, answer: delivery.Directive | None) -> delivery.Directive | None:
        """Broadcast rank 0's answer, without the gains: Ray warns above a thousand bytes."""
        from ray.train.collective import broadcast_from_rank_zero

        short = answer
        if answer is not None and answer.decision is not None:
            decision = replace(answer.decision, candidates=(), gains=())
            short = replace(answer, decision=decision)
        told: delivery.Directive | None = broadcast_from_rank_zero(short)
        return answer if self.speaks else told


def as_checkpoint(saved: Path | ray.train.Checkpoint, kind: type[Any]) -> Any:
    """Return a checkpoint of the kind that Tune, or Train, asks for."""
    if isinstance(saved, Path):
        return kind.from_directory(str(saved))
    return saved if isinstance(saved, kind) else kind(saved.path, filesystem=saved.filesystem)
