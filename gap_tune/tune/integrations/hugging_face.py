"""GapCallback for Hugging Face's Trainer: attach, report and resume."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gap_tune.errors import UnsupportedError
from gap_tune.tune import keys
from gap_tune.tune.integrations.hugging_face_trainer import Hooks, calling_trainer
from gap_tune.tune.integrations.moments import lacks_study_metric, temporary_folder
from gap_tune.tune.trial.attaching import attach
from gap_tune.tune.trial.channels import checkpoint_folder
from gap_tune.tune.trial.session import TrialSession

try:
    import transformers
    from transformers import TrainerCallback
except ModuleNotFoundError:
    raise UnsupportedError(
        "gap_tune.tune.integrations.hugging_face needs transformers and accelerate: "
        "pip install 'gap-tune[language]', but got no transformers."
    ) from None

logger = logging.getLogger(__name__)

# What a callback holds of a running training.
_RUNNING = ("trial", "_hooks", "_used_config", "_waiting", "_round", "_left_out", "_reported_step")
_AT_REST = dict.fromkeys(_RUNNING)


class GapCallback(TrainerCallback):
    """Lets the momentum of a Hugging Face ``Trainer`` be tuned in a Ray Tune trial.

    It attaches to the trainer's optimizer when training starts and reports each evaluation, or
    each logged training loss where ``eval_strategy`` is "no". Several data sets of one evaluation
    are one report. What the training code evaluates besides is part of the report of its step, or
    one of its own if it holds the study's metric. The momentum (beta1) that the scheduler sends is
    in use at the next optimizer step.

    Make it in the trial's function and resume with it::

        gap = GapCallback(config)
        trainer = transformers.Trainer(..., callbacks=[gap])
        trainer.train(resume_from_checkpoint=gap.checkpoint_path())

    Or let the trainer search, which needs nothing else; the study's metric is "objective"::

        trainer = transformers.Trainer(model_init=..., callbacks=[GapCallback()])
        trainer.hyperparameter_search(
            backend="ray",
            hp_space=...,
            search_alg=gap_tune.GapSearch(optimizer=torch.optim.AdamW, momentum="adam_beta1"),
            scheduler=gap_tune.GapScheduler(),
            metric="objective",
            mode="min",
        )

    There the trial's configuration is what the search has suggested, the trainer's report is the
    only one, and a trial that is tried again goes on from its checkpoint. "momentum", "beta1" and
    "beta2", for which ``TrainingArguments`` has no field, or what else ``GapSearch`` calls the
    momentum, are set in the optimizer.

    Args:
        config: The trial's configuration; in a search, by default the one that it has suggested.
        checkpoint: Whether each report comes with a checkpoint: the trainer then saves one of its
            own, whatever its ``save_strategy``, and gap_tune's file is added to it. On by default,
            since a trial without one starts over after a fault; ``save_total_limit=1`` keeps the
            trainer's folder small. A folder that cannot be written costs the checkpoint, not the
            report.
        **options: ``couple_lr, rule, update_every, trust_region`` and options of
            ``GradientMonitor``, as of ``gap_tune.attach``, which also tells the errors.
    """

    def __init__(
        self, config: Mapping[str, Any] | None = None, *, checkpoint: bool = True, **options: Any
    ) -> None:
        self._config = config
        self._checkpoint = checkpoint
        self._options = options
        self._resumed: Path | None = None
        self.trial: TrialSession | None = None
        self._used_config: Mapping[str, Any] | None = None
        self._hooks: Hooks | None = None
        # What the next report holds, and what of it is an evaluation of the trainer's.
        self._waiting: dict[str, Any] | None = None
        self._round: dict[str, Any] | None = None
        self._left_out: dict[str, Any] | None = None
        self._reported_step: int | None = None

    def checkpoint_path(self) -> str | None:
        """Return what to pass as ``resume_from_checkpoint``; None where the trial starts anew."""
        self._resumed = checkpoint_folder()
        return None if self._resumed is None else str(self._resumed)

    def on_train_begin(self, args: Any, state: Any, control: Any, **of_trainer: Any) -> None:
        """Attach to the optimizer, which the trainer has restored by now."""
        # A trainer that looks for a batch size begins several times.
        self._stop()
        self._hooks = hooks = Hooks(calling_trainer(), self._on_round)
        if not hooks.can_follow(state):
            logger.warning(
                "a Trainer that searches must report through its _report_to_hp_search and save "
                "through its _tune_save_checkpoint, but that of transformers %s does not: its "
                "trials keep their momentum and report without gap_tune.",
                transformers.__version__,
            )
            self._stop()
            return
        optimizer = of_trainer["optimizer"]
        config = self._config
        if hooks.searches and not config:
            config = state.trial_params
            if state.global_step == 0:
                _set_as_searched(optimizer, config, args)
        self._used_config = config
        self.trial = attach(optimizer, config, **self._options)
        if self._resumed is not None:
            self.trial.load(self._resumed)
        elif hooks.searches and state.global_step > 0:
            self.trial.restore()

    def on_step_begin(self, args: Any, state: Any, control: Any, **of_trainer: Any) -> None:
        """Send what no checkpoint came for, as with ``save_strategy="best"``."""
        self._send()

    def on_evaluate(
        self, args: Any, state: Any, control: Any, metrics: dict[str, Any], **of_trainer: Any
    ) -> Any:
        """Keep what was evaluated for the report of this step."""
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
        if self._waiting is not None and self._hooks is not None:
            self._send(self._hooks.checkpoint(args.output_dir, state.global_step))

    def on_train_end(self, args: Any, state: Any, control: Any, **of_trainer: Any) -> None:
        """Send what is left and stop observing: another ``train`` attaches anew."""
        self._send()
        if self.trial is not None and self._reported_step is None and self._left_out is not None:
            # The study's metric never came: let Ray say what is missing.
            self.trial.report(self._left_out)
        self._evaluate_search()
        self._stop()
        if self._resumed is not None:
            shutil.rmtree(self._resumed, ignore_errors=True)
            self._resumed = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what belongs to a running training: a search pickles its trainer."""
        return {**vars(self), **_AT_REST}

    def _stop(self) -> None:
        if self.trial is not None:
            self.trial.detach()
        if self._hooks is not None:
            self._hooks.remove()
        self.__dict__.update(_AT_REST)

    def _offer(self, metrics: Mapping[str, Any], state: Any, control: Any) -> Any:
        if self.trial is None or (self._hooks is not None and self._hooks.searches):
            return control
        if self._waiting is not None and self._waiting["step"] != state.global_step:
            self._send()
        self._waiting = {**(self._waiting or {}), **metrics, "step": state.global_step}
        if lacks_study_metric(self._used_config, self._waiting):
            return control
        if self._checkpoint:
            # The trainer saves right after this, and on_save reports.
            control.should_save = True
        return control

    def _on_round(self, metrics: dict[str, Any]) -> None:
        """Report an evaluation of the trainer's, or ask for a checkpoint to report it with."""
        if self.trial is None or self._hooks is None:
            return
        trainer = self._hooks.trainer
        self._round = {**metrics, "step": trainer.state.global_step}
        self._waiting = self._waiting or {}
        if self._hooks.searches:
            trainer.objective = self._round["objective"] = trainer.compute_objective(metrics)
            self._send_search(saves=self._checkpoint or trainer.control.should_save)
        elif self._checkpoint:
            trainer.control.should_save = True
        else:
            self._send()

    def _send_search(self, *, saves: bool) -> None:
        assert self._hooks is not None
        if not saves:
            self._send()
            return
        with temporary_folder() as folder:
            self._send(None if folder is None else self._hooks.save_for_ray(folder))

    def _evaluate_search(self) -> None:
        """Report a search's trial that nothing was evaluated in, before the trainer does it."""
        if self.trial is None or self._hooks is None or not self._hooks.searches:
            return
        trainer = self._hooks.trainer
        if getattr(trainer, "objective", None) is None:
            self._on_round(trainer.evaluate())

    def _send(self, folder: Path | None = None) -> None:
        waiting, round_ = self._waiting, self._round
        self._waiting = self._round = None
        if waiting is None or self.trial is None:
            return
        metrics = {**waiting, **(round_ or {})}
        if round_ is None:
            # A step has one result, and Ray ends a study whose metric a result lacks.
            if metrics["step"] == self._reported_step:
                return
            if lacks_study_metric(self._used_config, metrics):
                self._left_out = metrics
                return
        self._reported_step = metrics["step"]
        self.trial.report(metrics, checkpoint=False if folder is None else folder)


def _set_as_searched(optimizer: Any, config: Mapping[str, Any], args: Any) -> None:
    """Set what a search has suggested and ``TrainingArguments`` has no field for."""
    free = {name: value for name, value in config.items() if not hasattr(args, name)}
    # GapSearch may have been told another name for the momentum.
    named = free.get(str(keys.section(config).get(keys.MOMENTUM_KEY)))
    for group in optimizer.param_groups:
        momentum = free.get("momentum", named)
        if momentum is not None and "momentum" in group:
            group["momentum"] = float(momentum)
        if "betas" in group:
            betas = list(group["betas"])
            for place, found in enumerate((free.get("beta1", named), free.get("beta2"))):
                betas[place] = betas[place] if found is None else float(found)
            group["betas"] = tuple(betas)
