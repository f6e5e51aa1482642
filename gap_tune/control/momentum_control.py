"""MomentumControl: writes momentum, and what has to follow it, into an optimizer."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from weakref import ReferenceType, WeakKeyDictionary, ref

import torch
from torch import Tensor

from gap_tune.control.average_weight import notes_of_groups
from gap_tune.control.bias_correction import BiasCorrection, Part
from gap_tune.control.learning_rate import Substitution, coupling
from gap_tune.control.momentum import apply_beta2, group_momentum, set_momentum
from gap_tune.control.references import References
from gap_tune.control.update import decouples_decay, update_of
from gap_tune.errors import check_range
from gap_tune.theory.families import Update

# Weak on both sides: a control holds its optimizer.
_CONTROLS: WeakKeyDictionary[torch.optim.Optimizer, ReferenceType[MomentumControl]] = (
    WeakKeyDictionary()
)


def control_of(optimizer: torch.optim.Optimizer) -> MomentumControl | None:
    """Return who controls an optimizer's momentum, if anybody does."""
    registered = _CONTROLS.get(optimizer)
    return None if registered is None else registered()


class MomentumControl:
    """Sets an optimizer's momentum and keeps its learning rate in the same trust region.

    A momentum beta turns a gradient into a step ``lr / (1 - beta)`` in total, so changing momentum
    alone changes the effective step up to 50-fold. In a trust region of fixed budget the learning
    rate of the update ``lr * m`` is ``lr_ref sqrt((1-beta^2) / (1-beta_ref^2))`` (Cor. 5 of arXiv
    2512.06370), and ``1 / (1 - beta)`` times that where the optimizer averages gradients (Cor. 6).
    ``lr_ref`` is whatever the group's ``lr`` says, so learning-rate schedulers keep working: the
    value in use replaces it during ``step()`` only and can be read afterwards as
    ``param_groups[i]["coupled_lr"]``.

    Adam and its like divide their averages by a weight that is wrong once momentum has changed;
    ``BiasCorrection`` puts that right in the same way. Decoupled weight decay, as AdamW's and
    Muon's, stays that of ``lr_ref``.

    A momentum that was applied stays until the next one is, whatever else writes momentum; until
    the first one is, the training code's own changes count, such as a warm-up's. That is said once.
    Groups that join later get it before their first step. Where the optimizer's state is loaded,
    momenta that were applied hold on, others are those that come with the state.

    ``scale`` multiplies all learning rates in the same way (``ScaleControl``).

    Args:
        optimizer: An optimizer whose groups hold ``momentum`` or ``betas``.
        couple_lr: Whether to couple; None couples optimizers whose update is a sum of gradients,
            and leaves those that average or normalise them.
        reference_momentum: ``beta_ref`` that ``lr`` belongs to; None takes each group's own
            momentum.

    Attributes:
        scale: A factor on the learning rates of the coming steps.
        unscaled: Numbers of the groups whose learning rates it leaves alone.

    Raises:
        InvalidValueError: When ``reference_momentum`` is outside [0, 1).
        UnsupportedError: When a group has no momentum, or nothing is known about how the
            optimizer's update depends on it.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        *,
        couple_lr: bool | None = None,
        reference_momentum: float | None = None,
    ) -> None:
        update = update_of(optimizer)
        if reference_momentum is not None:
            check_range("reference_momentum", reference_momentum, 0.0, 1.0, high_open=True)
        self._optimizer = optimizer
        self._references = References(optimizer, reference_momentum)
        self.couples = update is Update.SUM if couple_lr is None else couple_lr
        corrects = update is Update.CORRECTED_AVERAGE
        self._correction = BiasCorrection(optimizer) if corrects else None
        self._substitution = Substitution(optimizer, decouples=decouples_decay(optimizer))
        # What was applied to all groups, those included that join later; to some since then.
        self._everywhere: float | None = None
        self._applied: dict[int, float] = {}
        # Whether anything was applied; until then the optimizer follows torch bit for bit.
        self._changed = False
        self._trained: float | None = None
        # Momenta of the last step, while they are the training code's.
        self._found: list[float] = []
        self._warned = False
        # A factor on all learning rates, which somebody else moves: the scale of the trust region.
        self.scale = 1.0
        self.unscaled: frozenset[int] = frozenset()
        self._take_in_groups()
        _CONTROLS[optimizer] = ref(self)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update({"_found": [], **state})
        _CONTROLS[self._optimizer] = ref(self)

    @property
    def momentum(self) -> float:
        """The momentum that the first group uses at its next step."""
        return self.momentum_of(0)

    @property
    def trained_momentum(self) -> float:
        """The momentum of the first group's last step; of its next one before any was taken."""
        return self.momentum if self._trained is None else self._trained

    def momenta(self) -> Mapping[Tensor, float] | float:
        """Return the momentum of the next step, by parameter where groups differ in it."""
        groups = self._optimizer.param_groups
        each = [self.momentum_of(i) for i in range(len(groups))]
        if len(set(each)) == 1:
            return each[0]
        pairs = zip(groups, each, strict=True)
        return {p: momentum for group, momentum in pairs for p in group["params"]}

    def momentum_of(self, group: int) -> float:
        """Return the momentum that a group uses at its next step."""
        applied = self._applied.get(group, self._everywhere)
        return group_momentum(self._optimizer.param_groups[group]) if applied is None else applied

    def apply(self, value: float, *, group: int | None = None) -> None:
        """Set the momentum of one group, or of all; the learning rate follows at the next step.

        Raises:
            InvalidValueError: When ``value`` is outside [0, 1).
            UnsupportedError: When a group asks for Nesterov momentum and gets 0.
        """
        self.settle()
        self._take_in_groups()
        groups = self._optimizer.param_groups
        # What something else has set must not count as what made the averages so far, either.
        self._insist()
        if self._correction is not None:
            self._correction.follow(read=True)
        set_momentum(self._optimizer, groups if group is None else [groups[group]], value)
        if group is None:
            self._everywhere, self._applied = float(value), {}
        else:
            self._applied[group] = float(value)
        self._changed = True
        if self._correction is not None:
            # This is done at once: the optimizer may be copied before its next step.
            self._correction.follow()

    def apply_beta2(self, value: float, *, group: int | None = None) -> None:
        """Set beta2 of one group, or of all, which hold ``betas``.

        Raises:
            InvalidValueError: When ``value`` is outside [0, 1).
        """
        groups = self._optimizer.param_groups
        for each in groups if group is None else [groups[group]]:
            apply_beta2(each, value)
        self._changed = True

    def differs(self, value: float, *, group: int | None = None) -> bool:
        """Tell whether a group, or any of them, is to use another momentum than ``value``."""
        self.settle()
        self._take_in_groups()
        chosen = range(len(self._optimizer.param_groups)) if group is None else (group,)
        return any(self.momentum_of(i) != value for i in chosen)

    def before_step(self, *_: Any) -> None:
        """Put the learning rates to use into every group. Register as a step pre-hook."""
        self.settle()
        self._take_in_groups()
        self._insist()
        self._notice()
        if self._correction is not None:
            self._correction.follow()
        groups = self._optimizer.param_groups
        self._substitution.put_in([self._parts(i, group) for i, group in enumerate(groups)])

    def after_step(self, *_: Any) -> None:
        """Put the reference learning rates back. Register as a step post-hook, before others."""
        self._substitution.take_out(stepped=True)
        # A step without any gradient trains nothing.
        if any(p.grad is not None for g in self._optimizer.param_groups for p in g["params"]):
            self._trained = group_momentum(self._optimizer.param_groups[0])
        if self._correction is not None:
            self._correction.count()

    def settle(self) -> None:
        """Put back the learning rates that a step which raised has left behind."""
        self._substitution.take_out()

    def release(self) -> None:
        """Leave the optimizer to itself; momentum stays as it is. Twice is harmless."""
        if control_of(self._optimizer) is not self:
            return
        self.settle()
        del _CONTROLS[self._optimizer]
        if self._correction is not None:
            self._correction.release()
        self._references.take_out()
        for group in self._optimizer.param_groups:
            group.pop("coupled_lr", None)

    def after_load(self, *_: Any) -> None:
        """Go on from a state that was loaded. Register as a hook after ``load_state_dict``."""
        self._trained, self._found = None, []
        self.settle()
        if self._correction is not None:
            self._correction.reread()
        self._take_in_groups(loaded=True)
        self._insist(warn=False)

    def state_dict(self) -> dict[str, Any]:
        """Return what continuing needs besides the optimizer's own state."""
        self.settle()
        self._take_in_groups()
        return {
            "changed": self._changed,
            "applied": dict(self._applied),
            "everywhere": self._everywhere,
            "references": self._references.state_dict(),
            "averages": [] if self._correction is None else self._correction.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what ``state_dict`` returned; an empty mapping starts anew."""
        self.settle()
        self._applied = dict(state.get("applied", {}))
        self._everywhere = state.get("everywhere")
        self._changed = state.get("changed", bool(self._applied))
        self._references.load_state_dict(state.get("references", {}))
        if self._correction is not None:
            averages = state.get("averages", [])
            if isinstance(averages, dict):
                averages = [notes_of_groups(averages, self._optimizer.param_groups)]
            self._correction.load_state_dict(averages)
        self.after_load()

    def _take_in_groups(self, *, loaded: bool = False) -> None:
        """Let groups take part that were added since, or whose options a loaded state replaced."""
        for i in self._references.take_in(loaded=loaded, changed=self._changed):
            set_momentum(self._optimizer, [self._optimizer.param_groups[i]], self.momentum_of(i))

    def _insist(self, *, warn: bool = True) -> None:
        """Put applied momenta back where something else, such as OneCycleLR, changed them."""
        for i, group in enumerate(self._optimizer.param_groups):
            value = self.momentum_of(i)
            # Groups may hold float32 tensors.
            if abs(group_momentum(group) - value) >= 1e-6:
                if warn:
                    self._warn()
                set_momentum(self._optimizer, [group], value)

    def _notice(self) -> None:
        """Say early what becomes of momenta that something else changes, as a warm-up does."""
        if self._changed or self._warned:
            return
        found = [group_momentum(group) for group in self._optimizer.param_groups]
        if any(abs(a - b) >= 1e-6 for a, b in zip(self._found, found, strict=False)):
            self._warn()
        self._found = found

    def _warn(self) -> None:
        if self._warned:
            return
        self._warned = True
        warnings.warn(
            "a learning-rate scheduler or the training code also sets momentum; gap_tune's value "
            "is kept from its first change on, and the other's until then, as in a warm-up: pass "
            "cycle_momentum=False to OneCycleLR or CyclicLR.",
            stacklevel=2,
        )

    def _parts(self, i: int, group: dict[str, Any]) -> list[Part]:
        """Return what a group's parameters have their learning rates multiplied by now."""
        # What the training code's own schedule makes of momentum, its learning rate goes with.
        own = not self._changed and self._references.is_own(i)
        coupled = 1.0 if own or not self.couples else coupling(group)
        scale = 1.0 if i in self.unscaled else self.scale
        coupled *= scale
        if self.couples or scale != 1.0:
            group["coupled_lr"] = group["lr"] * coupled
        else:
            # A state that was loaded may bring that of a run which scaled.
            group.pop("coupled_lr", None)
        if self._correction is None or not self._changed:
            return [Part(coupled, group["params"])]
        parts = self._correction.parts(group)
        return parts if coupled == 1.0 else [replace(p, factor=coupled * p.factor) for p in parts]
