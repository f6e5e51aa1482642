"""How a trial's process talks to Ray: reports go out, the scheduler's directives come in."""

from __future__ import annotations

import logging
import tempfile
import warnings
from pathlib import Path
from typing import Any, Protocol

from ray import tune

from gap_tune.tune import delivery
from gap_tune.tune.workers import WorkerChannel, is_worker

logger = logging.getLogger(__name__)


class Channel(Protocol):
    """What ``TrialSession`` needs of the place where it runs.

    Attributes:
        speaks: Whether this process's metrics and checkpoints are the trial's.
    """

    speaks: bool

    @property
    def mailbox(self) -> str:
        """Where the answer to the next report will be."""

    def exchange(
        self, result: dict[str, Any], folder: Path | None, seq: int
    ) -> delivery.Directive | None:
        """Report a result, with a checkpoint folder or without; return the scheduler's answer.

        Args:
            result: What to report.
            folder: A folder to keep as the trial's checkpoint, or None.
            seq: The number that a decision on this result has.
        """

    def missed(self, mailbox: str, seq: int) -> delivery.Directive | None:
        """Return the answer to the report that a checkpoint belongs to, if it is still there."""

    def checkpoint(self) -> Any:
        """Return the Ray checkpoint to continue from, or None."""


class FunctionChannel:
    """A function trainable: ``tune.report`` returns when the scheduler has decided."""

    speaks = True

    def __init__(self, trial_id: str) -> None:
        self.mailbox = trial_id

    def exchange(
        self, result: dict[str, Any], folder: Path | None, seq: int
    ) -> delivery.Directive | None:
        """Report to Tune."""
        # Whatever waits now answers an older report, one from before a restart perhaps.
        delivery.take(self.mailbox)
        if folder is None or not self._reported_with(folder, result):
            tune.report(result)
        return delivery.take(self.mailbox)

    def _reported_with(self, folder: Path, result: dict[str, Any]) -> bool:
        """Report with a checkpoint; False where the storage cannot take it, so that none counts."""
        try:
            tune.report(result, checkpoint=tune.Checkpoint.from_directory(str(folder)))
        except OSError as error:
            # Ray stores the checkpoint before anything else: the result has not gone out yet.
            logger.warning("The trial goes on without this checkpoint: %s", error)
            return False
        return True

    def missed(self, mailbox: str, seq: int) -> delivery.Directive | None:
        """Return what the scheduler sent before the function started."""
        return delivery.take(self.mailbox)

    def checkpoint(self) -> Any:
        """Return the trial's checkpoint."""
        return tune.get_checkpoint()


class NoChannel:
    """A plain process without Ray Tune, where a training function is tried out."""

    speaks = True
    mailbox = ""

    def exchange(
        self, result: dict[str, Any], folder: Path | None, seq: int
    ) -> delivery.Directive | None:
        """Send nothing, and say so."""
        warnings.warn(
            "report() was called outside of a Ray Tune trial: nothing is sent or saved, and no "
            "scheduler changes momentum.",
            stacklevel=4,
        )
        return None

    def missed(self, mailbox: str, seq: int) -> delivery.Directive | None:
        """Return None: nobody sends."""
        return None

    def checkpoint(self) -> Any:
        """Return None: there is no trial to continue."""
        return None


def open_channel(asks: bool) -> Channel:
    """Return the channel of this process.

    Args:
        asks: Whether the scheduler is to decide on the trial's momentum.
    """
    trial_id = _running_trial()
    if trial_id is not None:
        return FunctionChannel(trial_id)
    return WorkerChannel(asks=asks) if is_worker() else NoChannel()


def checkpoint_folder() -> Path | None:
    """Return a fresh copy of the checkpoint to continue from, whose owner is the caller."""
    checkpoint = open_channel(asks=False).checkpoint()
    return None if checkpoint is None else Path(checkpoint.to_directory(tempfile.mkdtemp()))


def _running_trial() -> str | None:
    """Return the id of the function trial that this process runs, None where it runs none."""
    with warnings.catch_warnings():
        # Ray warns about a question that is meant seriously here.
        warnings.simplefilter("ignore")
        trial_id: str | None = tune.get_context().get_trial_id()
    return trial_id
