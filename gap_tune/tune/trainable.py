"""GapTrainable: class trainables whose momentum is tuned between their steps."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from ray import tune

from gap_tune.errors import StateError, UnsupportedError
from gap_tune.tune import delivery, keys
from gap_tune.tune.attaching import make_tuning
from gap_tune.tune.session import TrialSession


class GapTrainable(tune.Trainable):
    """A ``ray.tune.Trainable`` that reports gradient statistics and takes momentum from outside.

    Subclass it as you would ``tune.Trainable``: build everything in ``setup`` and call ``attach``
    there, return metrics from ``step``. The metrics of gap_tune are added to what ``step``
    returns, and the momentum that the scheduler chose on a result is in use at the next step.

    ``save_checkpoint`` and ``load_checkpoint`` save and restore the optimizer, the statistics,
    momentum, random state and what ``attach`` was given as ``saved``; a subclass with files of
    its own calls ``super()`` first. With ``reuse_actors=True`` an actor takes the next trial by
    running ``setup`` again.

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
            **options: ``couple_lr, rule, update_every`` and options of ``GradientMonitor``, as of
                ``gap_tune.attach``, which also tells the errors.

        Returns:
            The session, to read momentum and statistics from.
        """
        own = keys.section(self.config)
        channel = _StepChannel(self.trial_id)
        self._trial = TrialSession(make_tuning(optimizer, own, **options), channel, own)
        self._trial.keep(**saved or {})
        return self._trial

    def train(self) -> dict[str, Any]:
        """Apply the momentum that was sent, do one ``step``, add gap_tune's metrics to its result.

        Raises:
            StateError: When ``setup`` has not called ``attach``.
            InvalidValueError: When a metric's name starts with "gap/".
            NonFiniteMetricError: When the study's metric was NaN or infinite; the trial fails.
        """
        trial = self._attached()
        trial.receive(delivery.take(self.trial_id))
        result: dict[str, Any] = super().train()
        # Ray keeps this dict as the last result, which goes into checkpoints.
        result.update(trial.result(result))
        return result

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any] | None:
        """Save the trial into a folder."""
        trial = self._attached()
        # The decision on the last result is part of what the next step starts from.
        trial.receive(delivery.take(self.trial_id))
        trial.save(Path(checkpoint_dir), whole=True)
        return None

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Continue from what ``save_checkpoint`` left in a folder."""
        self._attached().load(Path(checkpoint))

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next trial: run ``setup`` with its configuration."""
        self._trial = None
        self.setup(copy.deepcopy(new_config))
        return True

    def execute(self, function: Any) -> Any:
        """Call a function with this trainable, as Ray's function trainables do."""
        return function(self)

    def _attached(self) -> TrialSession:
        if self._trial is None:
            raise StateError(
                f"{type(self).__name__}.setup must call self.attach(optimizer), but got no call."
            )
        return self._trial


class _StepChannel:
    """A class trainable, whose step returns its metrics."""

    speaks = True

    def __init__(self, trial_id: str) -> None:
        self.mailbox = trial_id

    def exchange(
        self, result: dict[str, Any], folder: Path | None, seq: int
    ) -> delivery.Directive | None:
        """Refuse: Ray asks for a result, it is not sent one."""
        raise UnsupportedError(
            "a GapTrainable must return its metrics from step(), but got a call of report()."
        )

    def missed(self, mailbox: str, seq: int) -> delivery.Directive | None:
        """Return what the scheduler sent before the checkpoint was loaded."""
        return delivery.take(self.mailbox)

    def checkpoint(self) -> Any:
        """Return None: Ray calls ``load_checkpoint``."""
        return None
