"""GapCallback for Lightning: attach, report and resume without a training loop of one's own."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gap_tune.errors import UnsupportedError
from gap_tune.tune import keys
from gap_tune.tune.integrations.logged import Logged, Reported, plain
from gap_tune.tune.integrations.moments import lacks_study_metric, temporary_folder
from gap_tune.tune.trial.attaching import attach
from gap_tune.tune.trial.channels import checkpoint_folder
from gap_tune.tune.trial.session import TrialSession
from gap_tune.tune.trial.storage import go_on_without, is_storage_fault

try:
    from lightning.pytorch import Callback
    from lightning.pytorch.callbacks import Checkpoint
except ModuleNotFoundError:
    try:
        from pytorch_lightning import Callback
        from pytorch_lightning.callbacks import Checkpoint
    except ModuleNotFoundError:
        raise UnsupportedError(
            "gap_tune.tune.integrations.lightning needs Lightning: "
            "pip install 'gap-tune[lightning]', "
            "but got neither lightning nor pytorch_lightning."
        ) from None

logger = logging.getLogger(__name__)

_FILE = "lightning.ckpt"


class GapCallback(Callback):
    """Lets a Lightning trainer's momentum be tuned in a Ray Tune trial.

    It attaches to the optimizer when ``fit`` starts and reports when a validation ends, or a
    training epoch where there is no validation, or the last epoch where none came due. A validation
    that closes an epoch is reported together with what the epoch logs at its end, such as
    ``self.log("train_loss", ..., on_epoch=True)``, and after every other callback; one in the
    middle of an epoch at once.

    A report holds all that was logged for its moment, as floats, besides ``epoch`` and ``step``.
    A value of an earlier moment is left out, since it would pass for this one's; where validation
    and training log one name, the validation's value counts. A validation in the middle of an epoch
    that lacks the study's metric, which the end of the epoch may bring, is no report.

    The momentum that the scheduler sends is in use at the next optimizer step. Mixed precision and
    gradient clipping need nothing: both are done with the gradients before the step.

    Make it in the trial's function and resume with it::

        gap = GapCallback(config)
        trainer = lightning.Trainer(max_epochs=10, callbacks=[gap])
        trainer.fit(module, ckpt_path=gap.checkpoint_path())

    Args:
        config: The trial's configuration.
        metrics: What to report, as of Ray's ``TuneReportCheckpointCallback``: a mapping of names in
            the report to names that the module logs (``{"loss": "ptl/val_loss"}``), or names alone;
            ``epoch`` and ``step`` come on top. None reports all under the names they have.
        checkpoint: Whether each report comes with a checkpoint: Lightning's own, with gap_tune's
            file next to it. On by default, since a trial without one starts over after a fault. A
            folder that cannot be written costs the checkpoint, not the report.
        **options: ``couple_lr, rule, update_every, trust_region`` and options of
            ``GradientMonitor``, as of ``gap_tune.attach``, which also tells the errors.

    Raises:
        InvalidValueError: When ``metrics`` is something else.
    """

    def __init__(
        self,
        config: Mapping[str, Any] | None = None,
        *,
        metrics: Mapping[str, str] | Sequence[str] | str | None = None,
        checkpoint: bool = True,
        **options: Any,
    ) -> None:
        self._config = config
        self._asked = Reported(metrics)
        self._checkpoint = checkpoint
        self._options = options
        self._resumed: Path | None = None
        self._last: _Last | None = None
        self.trial: TrialSession | None = None

    def checkpoint_path(self) -> str | None:
        """Return what to pass to ``fit`` as ``ckpt_path``; None where the trial starts anew."""
        self._resumed = checkpoint_folder()
        return None if self._resumed is None else str(self._resumed / _FILE)

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Attach to the optimizer, which Lightning has not restored yet.

        Raises:
            UnsupportedError: When the module has several optimizers, or none.
        """
        if len(trainer.optimizers) != 1:
            raise UnsupportedError(
                f"the module must have one optimizer, but got {len(trainer.optimizers)}."
            )
        self._stop(trainer)
        self.trial = attach(trainer.optimizers[0], self._config, **self._options)
        self._last = _Last(self)
        # The list is a new one, since Lightning is walking through the old.
        trainer.callbacks = [*trainer.callbacks, self._last]

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Continue statistics and momentum; Lightning has restored everything else."""
        if self.trial is not None and self._resumed is not None:
            self.trial.load(self._resumed)
            shutil.rmtree(self._resumed, ignore_errors=True)
            self._resumed = None

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Stop observing: Lightning tears down nothing then."""
        self._stop(trainer)

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Stop observing: another ``fit`` attaches anew."""
        self._stop(trainer)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what belongs to a running ``fit``, where this is copied or pickled."""
        return {**vars(self), "trial": None, "_last": None}

    def _stop(self, trainer: Any) -> None:
        if self.trial is not None:
            self.trial.detach()
        trainer.callbacks = [each for each in trainer.callbacks if each is not self._last]
        self._last = None

    def _lacks_study_metric(self, metrics: Mapping[str, Any]) -> bool:
        return lacks_study_metric(self._config, metrics)

    def _is_judged_by(self, metrics: Mapping[str, Any]) -> bool:
        known = keys.section(self._config).get("metric") is not None
        return known and not self._lacks_study_metric(metrics)

    def _report(self, trainer: Any, metrics: Mapping[str, Any]) -> None:
        assert self.trial is not None
        if not self._checkpoint:
            self.trial.report(metrics)
            return
        with temporary_folder() as folder:
            saved = _save(trainer, folder)
            self.trial.report(metrics, checkpoint=saved or False)


class _Last(Checkpoint):
    """Reports for a GapCallback, after the module and every other callback.

    At the end of an epoch Lightning calls callbacks before the module, except ``EarlyStopping``
    and those of the class ``Checkpoint``: they see what ``on_train_epoch_end`` of a module logs,
    and their checkpoints hold what it changes. Hence the class, which is there for the purpose,
    and the last place in the list: what ``EarlyStopping`` has counted is in the checkpoint too.
    """

    def __init__(self, owner: GapCallback) -> None:
        self._owner = owner
        self._logged = Logged()
        # What the validation that closes the epoch has logged.
        self._closing: dict[str, Any] | None = None
        self._before_validation = Logged()
        self._due = False
        # What the last epoch has logged, as long as no validation has come due.
        self._unreported: dict[str, Any] | None = None
        self._reported = owner._resumed is not None

    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
        """Note what the validation has not logged."""
        self._before_validation = Logged()
        self._before_validation.seen(trainer.callback_metrics)

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Report a validation during training, or keep it for the end of the epoch that it ends."""
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        validated = self._before_validation.new(trainer.callback_metrics)
        if trainer.fit_loop.epoch_loop.done:
            self._closing, self._due = validated, True
            return
        metrics = self._metrics(trainer, validated)
        # Ranks may log different names, but all of them report or none.
        self._due = trainer.strategy.broadcast(self._owner._lacks_study_metric(metrics))
        if not self._due:
            self._report(trainer, metrics)
        self._logged.seen(trainer.callback_metrics)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Report an epoch that a validation has closed, or without any validation."""
        due = self._due or not trainer.enable_validation
        if due or not self._reported:
            self._unreported = self._metrics(trainer, self._closing or {})
        if due:
            self._owner._asked.complain(trainer.callback_metrics)
            self._report(trainer, self._unreported or {})
        self._closing, self._due = None, False
        self._logged.seen(trainer.callback_metrics)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Report a training that ended before any validation, if the study can judge it."""
        if self._unreported is None:
            return
        if trainer.strategy.broadcast(self._owner._is_judged_by(self._unreported)):
            self._report(trainer, self._unreported)
            return
        logger.warning(
            "a validation must come due while a trial trains, else it has nothing to report, but "
            "none did in %d steps: look at check_val_every_n_epoch and val_check_interval.",
            trainer.global_step,
        )

    def _report(self, trainer: Any, metrics: Mapping[str, Any]) -> None:
        self._owner._report(trainer, metrics)
        self._unreported, self._reported = None, True

    def _metrics(self, trainer: Any, validated: Mapping[str, Any]) -> dict[str, Any]:
        logged = {**self._logged.new(trainer.callback_metrics), **validated}
        metrics = plain(self._owner._asked.of(logged))
        return {**metrics, "epoch": trainer.current_epoch, "step": trainer.global_step}


def _save(trainer: Any, folder: Path | None) -> Path | None:
    """Save Lightning's checkpoint into a folder on all ranks, which gather sharded states.

    Returns:
        The folder; None where a rank could not write, since a part of a checkpoint is none.
    """

    def all_ranks(done: bool) -> bool:
        return bool(trainer.strategy.reduce_boolean_decision(done, all=True))

    if not all_ranks(folder is not None) or folder is None:
        return None
    saved = True
    try:
        trainer.save_checkpoint(folder / _FILE)
    except Exception as error:
        if not is_storage_fault(error):
            raise
        go_on_without(error)
        # The others wait for this one at the end of save_checkpoint.
        trainer.strategy.barrier("Trainer.save_checkpoint")
        saved = False
    return folder if all_ranks(saved) else None
