"""Who chooses a trial's momentum: the scheduler, a rule in the trial, the optimizer or nobody."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, cast
from weakref import ReferenceType, WeakKeyDictionary, ref

import torch

from gap_tune.control import SelfTuning
from gap_tune.errors import StateError
from gap_tune.gradients import AlignmentStatistics, GradientMonitor
from gap_tune.gradients.step_hooks import hook_step
from gap_tune.rules import Decision, Reason
from gap_tune.tune import keys


class Tuning(ABC):
    """An optimizer's statistics and momentum, and the decisions about it.

    Attributes:
        monitor: The ``GradientMonitor`` on the optimizer; None where the optimizer observes itself.
        mode: Who decides: the scheduler, the trial itself, or nobody, as in configurations.
        seq: How often a decision changed momentum.
        decision: The last decision that was made here or came from the scheduler, or None.
        changed_at: Steps observed when momentum last changed.
    """

    monitor: GradientMonitor | None = None
    mode: str

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer
        self.seq = 0
        self.decision: Decision | None = None
        self.changed_at = 0
        self._hooks: list[Any] = []

    @property
    @abstractmethod
    def momentum(self) -> float | None:
        """The momentum of the next step; None where the optimizer has none."""

    @property
    @abstractmethod
    def trained_momentum(self) -> float | None:
        """The momentum of the last step, whatever was written into the optimizer since.

        Of the next step, where none was taken yet.
        """

    @property
    def scale(self) -> float:
        """The factor on the learning rate by which the trust region has grown or shrunk."""
        return 1.0

    @property
    def has_region(self) -> bool:
        """Whether a trust region moves that factor."""
        return False

    @property
    def lr(self) -> float | None:
        """The first group's learning rate in use, coupled and scaled; None where it has none."""
        group = self.optimizer.param_groups[0]
        lr = group.get("coupled_lr", group.get("lr"))
        try:
            return None if lr is None else float(lr)
        except (TypeError, ValueError, RuntimeError):
            # Optimizers of others may keep anything under that name.
            return None

    @property
    def agreement(self) -> float | None:
        """How far fresh gradients agree with the updates, in [-1, 1]; None without control."""
        return None

    @abstractmethod
    def statistics_by_beta2(self) -> tuple[AlignmentStatistics, dict[float, AlignmentStatistics]]:
        """Return the statistics for the beta2 in use, and those of every beta2 to compare."""

    @abstractmethod
    def follow(self, decision: Decision) -> None:
        """Apply a decision of the scheduler, where the scheduler decides."""

    @abstractmethod
    def settle(self) -> None:
        """Put back the learning rate that a step which raised has left behind."""

    def detach(self) -> None:
        """Stop observing and deciding; momentum stays as it is."""
        for hook in self._hooks:
            hook.remove()
        if self.monitor is not None:
            self.monitor.detach()

    def state_dict(self) -> dict[str, Any]:
        """Return what continuing needs besides the optimizer's own state."""
        decision = None if self.decision is None else asdict(self.decision)
        return {"seq": self.seq, "decision": decision, "changed_at": self.changed_at}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what ``state_dict`` returned, once the optimizer has its state."""
        self.seq, self.changed_at = state["seq"], state["changed_at"]
        saved = state["decision"]
        if saved is not None:
            self.decision = Decision(**{**saved, "reason": Reason(saved["reason"])})

    def load_optimizer(self, state: dict[str, Any]) -> None:
        """Load the optimizer's own state.

        Raises:
            StateError: When it has another number of parameter groups, which torch cannot load.
        """
        saved, present = len(state["param_groups"]), len(self.optimizer.param_groups)
        if saved != present:
            raise StateError(
                f"the optimizer must have as many parameter groups as in the checkpoint, {saved}, "
                f"but got {present}: add or leave out what differs before it is restored."
            )
        self.optimizer.load_state_dict(state)


class SelfTuned(Tuning):
    """An optimizer that observes its gradients and tunes its own momentum: a ``SelfTuning`` one."""

    mode = keys.MODE_TRIAL

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        super().__init__(optimizer)
        # The same object: it is both, for which Python has no type.
        self._itself = cast(SelfTuning, optimizer)
        self._seen: Decision | None = None
        # This hook comes after the optimizer's own, which decides.
        self._hooks = hook_step(optimizer, after=self._after_step, first=False)

    @property
    def momentum(self) -> float | None:
        """The optimizer's momentum."""
        return float(self._itself.momentum)

    @property
    def trained_momentum(self) -> float | None:
        """The momentum of the optimizer's last step."""
        return float(self._itself.trained_momentum)

    @property
    def scale(self) -> float:
        """The optimizer's scale, where it has one."""
        return float(getattr(self._itself, "scale", 1.0))

    @property
    def has_region(self) -> bool:
        """Whether a trust region moves it; whoever has a scale and does not say has one."""
        return bool(getattr(self._itself, "has_region", hasattr(self._itself, "scale")))

    @property
    def agreement(self) -> float | None:
        """The optimizer's agreement, where it has one."""
        agreement = getattr(self._itself, "agreement", None)
        return None if agreement is None else float(agreement)

    def statistics_by_beta2(self) -> tuple[AlignmentStatistics, dict[float, AlignmentStatistics]]:
        """Return the optimizer's statistics; which beta2 it compares is its own business."""
        return self._itself.statistics(), {}

    def follow(self, decision: Decision) -> None:
        """Do nothing: the optimizer decides itself."""

    def settle(self) -> None:
        """Do nothing: the optimizer looks after its learning rate."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue; statistics that the optimizer has started anew count from 0."""
        super().load_state_dict(state)
        self.changed_at = min(self.changed_at, self._itself.statistics().steps)

    def _after_step(self, optimizer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        decision = self._itself.decision
        if decision is self._seen:
            return
        self.decision = self._seen = decision
        if decision is not None and decision.changed:
            self.seq += 1
            self.changed_at = self._itself.statistics().steps


# A process that runs several trials may keep its optimizer, so it is noted who tunes it now.
_masters: WeakKeyDictionary[torch.optim.Optimizer, ReferenceType[Tuning]] = WeakKeyDictionary()


def let_go(optimizer: torch.optim.Optimizer) -> None:
    """Detach whoever tunes an optimizer so far, before another looks at what it finds there."""
    known = _masters.pop(optimizer, None)
    before = None if known is None else known()
    if before is not None:
        before.settle()
        before.detach()


def become_master(tuning: Tuning) -> None:
    """Let nobody else tune an optimizer, such as an earlier trial that left it behind."""
    known = _masters.get(tuning.optimizer)
    if known is None or known() is not tuning:
        let_go(tuning.optimizer)
    _masters[tuning.optimizer] = ref(tuning)
