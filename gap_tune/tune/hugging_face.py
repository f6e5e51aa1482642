"""GapCallback for Hugging Face's Trainer: attach, report and resume."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gap_tune.errors import UnsupportedError
from gap_tune.tune.attaching import attach
from gap_tune.tune.channels import checkpoint_folder
from gap_tune.tune.session import TrialSession

try:
    from transformers import TrainerCallback
except ModuleNotFoundError:
    raise UnsupportedError(
        "gap_tune.tune.hugging_face needs transformers and accelerate: "
        "pip install 'gap-tune[language]', but got no transformers."
    ) from None


class GapCallback(TrainerCallback):
    """Lets the momentum of a Hugging Face ``Trainer`` be tuned in a Ray Tune trial.

    It attaches to the trainer's optimizer when training starts and reports each evaluation, or
    each logged training loss where ``eval_strategy`` is "no". The momentum (beta1) that the
    scheduler sends is in use at the next optimizer step.

    Make it in the trial's function and resume with it::

        gap = GapCallback(config)
        trainer = transformers.Trainer(..., callbacks=[gap])
        trainer.train(resume_from_checkpoint=gap.checkpoint_path())

    Args:
        config: The trial's configuration.
        checkpoint: Whether each report comes with a checkpoint: the trainer then saves one of its
            own, whatever its ``save_strategy``, and gap_tune's file is added to it. On by default,
            since a trial without one starts over after a fault; ``save_total_limit=1`` keeps the
            trainer's folder small.
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
        self._waiting: dict[str, Any] | None = None
        self.trial: TrialSession | None = None

    def checkpoint_path(self) -> str | None:
        """Return what to pass as ``resume_from_checkpoint``; None where the trial starts anew."""
        self._resumed = checkpoint_folder()
        return None if self._resumed is None else str(self._resumed)

    def on_train_begin(self, args: Any, state: Any, control: Any, **of_trainer: Any) -> None:
        """Attach to the optimizer, which the trainer has restored by now."""
        optimizer = of_trainer["optimizer"]
        # accelerate wraps it; the wrapper has no step hooks.
        self.trial = attach(
            getattr(optimizer, "optimizer", optimizer), self._config, **self._options
        )
        if self._resumed is not None:
            self.trial.load(self._resumed)

    def on_step_begin(self, args: Any, state: Any, control: Any, **of_trainer: Any) -> None:
        """Send what no checkpoint came for, as with ``save_strategy="best"``."""
        self._send()

    def on_evaluate(
        self, args: Any, state: Any, control: Any, metrics: dict[str, Any], **of_trainer: Any
    ) -> Any:
        """Report an evaluation during training, or ask for a checkpoint to report it with."""
        return self._offer(metrics, state, control)

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any], **of_trainer: Any
    ) -> Any:
        """Report the training loss where nothing is evaluated."""
        if args.eval_strategy == "no" and "loss" in logs:
            return self._offer(logs, state, control)
        return control

    def on_save(self, args: Any, state: Any, control: Any, **of_trainer: Any) -> None:
        """Report with the checkpoint that the trainer has just saved."""
        self._send(Path(args.output_dir) / f"checkpoint-{state.global_step}")

    def on_train_end(self, args: Any, state: Any, control: Any, **of_trainer: Any) -> None:
        """Send what is left and stop observing: another ``train`` attaches anew."""
        self._send()
        if self.trial is not None:
            self.trial.detach()
            self.trial = None
        if self._resumed is not None:
            shutil.rmtree(self._resumed, ignore_errors=True)
            self._resumed = None

    def _offer(self, metrics: Mapping[str, Any], state: Any, control: Any) -> Any:
        if self.trial is None:
            return control
        self._send()
        self._waiting = {**metrics, "step": state.global_step}
        if self._checkpoint:
            # The trainer saves right after this, and on_save reports.
            control.should_save = True
        else:
            self._send()
        return control

    def _send(self, folder: Path | None = None) -> None:
        metrics, self._waiting = self._waiting, None
        if metrics is not None and self.trial is not None:
            self.trial.report(metrics, checkpoint=False if folder is None else folder)
