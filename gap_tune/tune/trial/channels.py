"""How a trial's process talks to Ray: reports go out, the scheduler's directives come in."""

from __future__ import annotations

import shutil
import tempfile
import warnings
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from ray import tune
from ray.train import Checkpoint

from gap_tune.errors import StateError, StorageError
from gap_tune.tune.ray_private import delivery
from gap_tune.tune.ray_private.owners import is_anothers, note_report
from gap_tune.tune.ray_private.workers import is_worker
from gap_tune.tune.trial.storage import go_on_without, is_storage_fault
from gap_tune.tune.trial.workers import WorkerChannel, as_checkpoint

# A folder, or a checkpoint that lies elsewhere; None for none.
Saved: TypeAlias = Path | Checkpoint | None


class Channel(Protocol):
    """What ``TrialSession`` needs of the place where it runs.

    Attributes:
        speaks: Whether this process's metrics and checkpoints are the trial's.
    """

    speaks: bool

    @property
    def mailbox(self) -> str:
        """Where the answer to the next report will be."""

    def exchange(self, result: dict[str, Any], saved: Saved, seq: int) -> delivery.Directive | None:
        """Report a result, with a checkpoint or without; return the scheduler's answer.

        Args:
            result: What to report.
            saved: What to keep as the trial's checkpoint, or None.
            seq: The number that a decision on this result has.
        """

    def missed(self, mailbox: str, seq: int) -> delivery.Directive | None:
        """Return the answer to the report that a checkpoint belongs to, if it is still there."""

    def checkpoint(self) -> Any:
        """Return the Ray checkpoint to continue from, or None.

        What somebody else has reported since the function started is not this one's: a trial may
        train several models one after another, such as the folds of a cross-validation.
        """


class OwnProcess:
    """A trial in its own process, where the scheduler's directives wait under the trial's id."""

    speaks = True

    def __init__(self, trial_id: str) -> None:
        self.mailbox = trial_id

    def missed(self, mailbox: str, seq: int) -> delivery.Directive | None:
        """Return what the scheduler sent before the checkpoint was loaded."""
        return delivery.take(self.mailbox)


class FunctionChannel(OwnProcess):
    """A function trainable: ``tune.report`` returns when the scheduler has decided."""

    def exchange(self, result: dict[str, Any], saved: Saved, seq: int) -> delivery.Directive | None:
        """Report to Tune.

        Raises:
            StateError: When this process has gone on to another trial.
        """
        self._check_trial()
        # Whatever waits now answers an older report, one from before a restart perhaps.
        delivery.take(self.mailbox)
        if saved is None or not self._reported_with(saved, result):
            tune.report(result)
        note_report(self)
        return delivery.take(self.mailbox)

    def _reported_with(self, saved: Path | Checkpoint, result: dict[str, Any]) -> bool:
        """Report with a checkpoint; False where the storage cannot take it, so that none counts."""
        try:
            tune.report(result, checkpoint=as_checkpoint(saved, tune.Checkpoint))
        except Exception as error:
            if not is_storage_fault(error):
                raise
            # The result has not gone out yet (fact 27).
            go_on_without(error)
            return False
        return True

    def checkpoint(self) -> Any:
        """Return the trial's checkpoint; errors as of ``exchange``."""
        self._check_trial()
        return None if is_anothers(self) else tune.get_checkpoint()

    def _check_trial(self) -> None:
        running = _running_trial()
        if running != self.mailbox:
            raise StateError(
                "a session must be used in the trial that called attach, since a process may run "
                f"several one after another, but got one of trial {self.mailbox} in trial "
                f"{running}: call attach in the training function itself."
            )


class NoChannel:
    """A plain process without Ray Tune, where a training function is tried out."""

    speaks = True
    mailbox = ""

    def exchange(self, result: dict[str, Any], saved: Saved, seq: int) -> delivery.Directive | None:
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
    """Return a fresh copy of the checkpoint to continue from, whose owner is the caller.

    Raises:
        StorageError: When there is no room for it; starting anew instead would go unnoticed.
    """
    checkpoint = open_channel(asks=False).checkpoint()
    if checkpoint is None:
        return None
    folder = None
    try:
        folder = tempfile.mkdtemp()
        return Path(checkpoint.to_directory(folder))
    except Exception as error:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
        if not is_storage_fault(error):
            raise
        raise StorageError(
            f"the trial's checkpoint must fit into {tempfile.gettempdir()} to continue from it, "
            f"but got {error}"
        ) from error


def _running_trial() -> str | None:
    """Return the id of the function trial that this process runs, None where it runs none."""
    with warnings.catch_warnings():
        # Ray warns about a question that is meant seriously here.
        warnings.simplefilter("ignore")
        trial_id: str | None = tune.get_context().get_trial_id()
    return trial_id
