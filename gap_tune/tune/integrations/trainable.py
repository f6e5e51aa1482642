"""GapTrainable: class trainables whose momentum is tuned between their steps."""

from __future__ import annotations

import copy
import logging
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from ray import tune

from gap_tune.control import SelfTuning, apply_momentum, group_momentum
from gap_tune.errors import StateError, UnsupportedError
from gap_tune.tune import keys
from gap_tune.tune.integrations import overriding
from gap_tune.tune.integrations.whereabouts import Whereabouts
from gap_tune.tune.ray_private import delivery, trainables
from gap_tune.tune.trial.attaching import check_start, make_tuning
from gap_tune.tune.trial.channels import OwnProcess, Saved
from gap_tune.tune.trial.checkpointing import has_state
from gap_tune.tune.trial.session import TrialSession
from gap_tune.tune.trial.storage import go_on_without, is_storage_fault

logger = logging.getLogger(__name__)


class GapTrainable(tune.Trainable):
    """A ``ray.tune.Trainable`` that reports gradient statistics and takes momentum from outside.

    Subclass it as you would ``tune.Trainable``: build everything in ``setup`` and call ``attach``
    there, return metrics from ``step``. The metrics of gap_tune are added to what ``step``
    returns, and the momentum that the scheduler chose on a result is in use at the next step.

    Checkpoints hold the optimizer, the statistics, momentum, random state and what ``attach`` was
    given as ``saved``. A subclass may override ``save_checkpoint`` and ``load_checkpoint``, with
    or without ``super()``: gap_tune's state is saved with whatever they save, and restored after.

    With ``reuse_actors=True`` an actor takes the next trial by running ``setup`` again. A subclass
    that overrides ``reset_config`` may call ``attach`` there; without, gap_tune watches the same
    optimizer from new, or the one that has taken its place, with the momentum it then has, or the
    configuration's where ``reset_config`` has left the last trial's.

    >>> class Parabola(GapTrainable):
    ...     def setup(self, config):
    ...         self.weight = torch.nn.Parameter(torch.ones(2))
    ...         self.optimizer = torch.optim.SGD([self.weight], lr=config["lr"], momentum=0.9)
    ...         self.attach(self.optimizer)
    ...
    ...     def step(self):
    ...         self.optimizer.zero_grad()
    ...         loss = self.weight.square().sum()
    ...         loss.backward()
    ...         self.optimizer.step()
    ...         return {"loss": loss.item()}
    >>> result = Parabola({"lr": 0.1}).train()
    >>> result["loss"], result["gap/momentum"], result["gap/steps"]
    (2.0, 0.9, 1)
    """

    _trial: TrialSession | None = None
    # What attach was given, and the momentum that the optimizer had then.
    _given: tuple[torch.optim.Optimizer, dict[str, Any], dict[str, Any]]
    _given_momentum: float | None = None
    # Whether gap_tune had to find out which optimizer a reused actor trains with.
    _unsure = False
    # How many overrides deep a save or load is, and whether our part of it is done.
    _depth = 0
    _done = False
    _own: Path | bytes | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        overriding.wrap(cls)

    def attach(
        self,
        optimizer: torch.optim.Optimizer,
        *,
        saved: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> TrialSession:
        """Watch an optimizer's gradients and let its momentum be tuned; call it in ``setup``.

        Args:
            optimizer: A torch optimizer, built with the momentum of the trial's configuration.
            saved: What checkpoints hold besides the optimizer, by name: anything with
                ``state_dict`` and ``load_state_dict``, or a ``torch.Generator``.
            **options: ``couple_lr, rule, update_every, trust_region`` and options of
                ``GradientMonitor``, as of ``gap_tune.attach``, which also tells the errors.

        Returns:
            The session, to read momentum and statistics from.
        """
        own = keys.section(self.config)
        channel = _StepChannel(self.trial_id)
        tuning = make_tuning(optimizer, own, **options)
        # While a checkpoint is loaded, it may have brought another momentum.
        loads = self._depth > 0
        if not loads:
            check_start(tuning.optimizer, self.config)
        trial = TrialSession(tuning, channel, own)
        trial.keep(**saved or {})
        self._given = (optimizer, dict(saved or {}), options)
        self._given_momentum = self._given_momentum if loads else trial.momentum
        self._trial = trial
        return trial

    def train(self) -> dict[str, Any]:
        """Apply the momentum that was sent, do one ``step``, add gap_tune's metrics to its result.

        Raises:
            StateError: When ``setup`` has not called ``attach``.
            InvalidValueError: When a metric's name starts with "gap/".
            NonFiniteMetricError: When the study's metric was NaN or infinite; the trial fails.
        """
        trial = self._receive()
        result: dict[str, Any] = super().train()
        # Ray keeps this dict as the last result, which goes into checkpoints.
        result.update(trial.result(result))
        if self._unsure and not result[keys.STEPS]:
            logger.warning(
                "%s must call self.attach(optimizer) in reset_config or load_checkpoint where they "
                "make another optimizer, but got a step in which the one watched did nothing.",
                type(self).__name__,
            )
        self._unsure = False
        return result

    def save(self, checkpoint_dir: str | None = None) -> Any:
        """Save the trial, as Ray asks; without a checkpoint where there is none to come back to.

        That is where trained weights are not finite or the storage is out of order, in a trial of
        Tune. Whoever calls it with a folder gets one, or an error.
        """
        if checkpoint_dir or not trainables.is_stored(self):
            return super().save(checkpoint_dir)
        if not self._attached().is_spoiled():
            try:
                # Ray leaves its own temporary folder behind where saving fails.
                with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
                    return super().save(folder)
            except Exception as error:
                if not is_storage_fault(error):
                    raise
                go_on_without(error)
        return trainables.no_checkpoint(self)

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any] | None:
        """Save the trial into a folder."""
        self._receive().save(Path(checkpoint_dir), whole=True)
        self._done = True
        return None

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Continue from what ``save_checkpoint`` left in a folder."""
        own = overriding.split(checkpoint)[1]
        with overriding.folder_of(self._own if own is None else own) as folder:
            # Within an override, what is late comes last: more may be loaded until then.
            self._load(folder, late=self._depth == 0)
        self._done = True

    def reset(self, new_config: dict[str, Any], *args: Any, **kwargs: Any) -> bool:
        """Take the next trial, as Ray asks, whatever ``reset_config`` does.

        Raises:
            StateError: When ``reset_config`` has not called ``attach`` and the optimizer that was
                watched is gone, or tunes itself and so goes on with its own statistics.
        """
        before, places = self._trial, self._places()
        asked = keys.momentum_of(self.config)
        if before is not None:
            before.detach()
            optimizer, _, _ = self._given
            itself = isinstance(optimizer, SelfTuning)
            if self._given_momentum not in (None, before.momentum) and not itself:
                # What a trial was tuned to is nothing that the next one should start with.
                apply_momentum(optimizer, self._given_momentum)
        if not super().reset(new_config, *args, **kwargs):
            return False
        if before is not None and self._trial is before:
            self._take_momentum(asked)
            self._attach_again(places)
        return True

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next trial: run ``setup`` with its configuration."""
        self._trial = None
        self.setup(copy.deepcopy(new_config))
        return True

    def execute(self, function: Any) -> Any:
        """Call a function with this trainable, as Ray's function trainables do."""
        return function(self)

    def _take_momentum(self, before: Any) -> None:
        """Give the optimizer what the trial asks for, where the last one's was left in it.

        Args:
            before: What the last trial asked for.
        """
        optimizer, asked, given = (
            self._given[0],
            keys.momentum_of(self.config),
            self._given_momentum,
        )
        if asked in (None, before) or given is None or given != before:
            return
        if isinstance(optimizer, SelfTuning):
            return
        if all(group_momentum(group) == given for group in optimizer.param_groups):
            apply_momentum(optimizer, asked)

    def _attach_again(self, places: Whereabouts) -> None:
        """Watch the optimizer from new, or what has taken its place."""
        (optimizer, saved, options), before = self._given, self._trial
        now = places.present(optimizer, _is_optimizer)
        same_and_tuned = now is optimizer and isinstance(optimizer, SelfTuning)
        if not isinstance(now, torch.optim.Optimizer) or same_and_tuned:
            raise StateError(
                f"{type(self).__name__} must call self.attach(optimizer) where it takes another "
                f"trial or checkpoint with another optimizer, but got {type(now).__name__} and no "
                "call: a self-tuning optimizer must be made anew."
            )
        saved = {name: places.present(thing, has_state) for name, thing in saved.items()}
        trial = self.attach(now, saved=saved, **options)
        self._unsure = True
        for name, value in list(vars(self).items()):
            if value is before:
                setattr(self, name, trial)

    def _places(self) -> Whereabouts:
        """Return where the optimizer, and what is saved with it, are now."""
        if self._trial is None:
            return Whereabouts(self, [])
        optimizer, saved, _ = self._given
        return Whereabouts(self, [optimizer, *saved.values()], [self._given, self._trial])

    def _has_replaced_its_optimizer(self, places: Whereabouts) -> bool:
        return places.present(self._given[0], _is_optimizer) is not self._given[0]

    def _load(self, folder: Path, **how: bool) -> None:
        """Continue from a checkpoint, with the options of this trial's configuration."""
        trial = self._attached()
        groups = self._given[0].param_groups
        options = [{k: v for k, v in group.items() if k != "params"} for group in groups]
        saved_by = trial.load(folder, **how)
        tuned = keys.asks_for_tuning(self.config) or trial.mode == keys.MODE_TRIAL
        if tuned or saved_by == self.trial_id:
            return
        # It is another trial's, as in population based training, which changes configurations.
        for group, own in zip(self._given[0].param_groups, options, strict=True):
            group.update(own)

    def _receive(self) -> TrialSession:
        """Apply what was sent: the decision on a result is part of what comes after it."""
        trial = self._attached()
        trial.receive(delivery.take(self.trial_id))
        return trial

    def _attached(self) -> TrialSession:
        if self._trial is None:
            raise StateError(
                f"{type(self).__name__}.setup must call self.attach(optimizer), but got no call."
            )
        return self._trial


def _is_optimizer(thing: Any) -> bool:
    return isinstance(thing, torch.optim.Optimizer)


class _StepChannel(OwnProcess):
    """A class trainable, whose step returns its metrics."""

    def exchange(self, result: dict[str, Any], saved: Saved, seq: int) -> delivery.Directive | None:
        """Refuse: Ray asks for a result, it is not sent one."""
        raise UnsupportedError(
            "a GapTrainable must return its metrics from step(), but got a call of report()."
        )

    def checkpoint(self) -> Any:
        """Return None: Ray calls ``load_checkpoint``."""
        return None
