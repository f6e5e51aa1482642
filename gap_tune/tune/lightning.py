"""GapCallback for Lightning: attach, report and resume without a training loop of one's own."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gap_tune.errors import UnsupportedError
from gap_tune.tune.attaching import attach
from gap_tune.tune.channels import checkpoint_folder
from gap_tune.tune.session import TrialSession

try:
    from lightning.pytorch import Callback
except ModuleNotFoundError:
    try:
        from pytorch_lightning import Callback
    except ModuleNotFoundError:
        raise UnsupportedError(
            "gap_tune.tune.lightning needs Lightning: pip install 'gap-tune[lightning]', "
            "but got neither lightning nor pytorch_lightning."
        ) from None

_FILE = "lightning.ckpt"


class GapCallback(Callback):
    """Lets a Lightning trainer's momentum be tuned in a Ray Tune trial.

    It attaches to the optimizer when ``fit`` starts and reports when a validation ends, or a
    training epoch where there is no validation: all that the module has logged, as floats. The
    momentum that the scheduler sends is in use at the next optimizer step. Mixed precision and
    gradient clipping need nothing: both are done with the gradients before the step.

    Make it in the trial's function and resume with it::

        gap = GapCallback(config)
        trainer = lightning.Trainer(max_epochs=10, callbacks=[gap])
        trainer.fit(module, ckpt_path=gap.checkpoint_path())

    Args:
        config: The trial's configuration.
        checkpoint: Whether each report comes with a checkpoint: Lightning's own, with gap_tune's
            file next to it. On by default, since a trial without one starts over after a fault.
        **options: ``couple_lr, rule, update_every`` and options of ``GradientMonitor``, as of
            ``gap_tune.attach``, which also tells the errors.
    """

    def __init__(
        self, config: Mapping[str, Any] | None = None, *, checkpoint: bool = True, **options: Any
    ) -> None:
        self._config = config
        self._checkpoint = checkpoint
        self._options = options
        self._resumed: Path | None = None
        self.trial: TrialSession | None = None

    def checkpoint_path(self) -> str | None:
        """Return what to pass to ``fit`` as ``ckpt_path``; None where the trial starts anew."""
        self._resumed = checkpoint_folder()
        return None if self._resumed is None else str(self._resumed / _FILE)

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Attach to the optimizer.

        Raises:
            UnsupportedError: When the module has several optimizers, or none.
        """
        if len(trainer.optimizers) != 1:
            raise UnsupportedError(
                f"the module must have one optimizer, but got {len(trainer.optimizers)}."
            )
        self.trial = attach(trainer.optimizers[0], self._config, **self._options)

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Continue statistics and momentum; Lightning has restored everything else."""
        if self.trial is not None and self._resumed is not None:
            self.trial.load(self._resumed)
            shutil.rmtree(self._resumed, ignore_errors=True)
            self._resumed = None

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Report what a validation during training has logged."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._report(trainer)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Report what a training epoch has logged, where nothing is validated."""
        if not trainer.enable_validation:
            self._report(trainer)

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Stop observing: another ``fit`` attaches anew."""
        if self.trial is not None:
            self.trial.detach()

    def _report(self, trainer: Any) -> None:
        if self.trial is None:
            return
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        metrics |= {"epoch": trainer.current_epoch, "step": trainer.global_step}
        if not self._checkpoint:
            self.trial.report(metrics)
            return
        with tempfile.TemporaryDirectory() as folder:
            # All ranks: Lightning gathers sharded states.
            trainer.save_checkpoint(Path(folder) / _FILE)
            self.trial.report(metrics, checkpoint=folder)
