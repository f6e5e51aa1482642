"""Observed, Controlled, Deciding: torch optimizers whose gradients a monitor watches."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch

from gap_tune.control import (
    MomentumControl,
    RegionChoice,
    ScaleControl,
    TrustRegion,
    group_momentum,
    has_momentum,
)
from gap_tune.errors import UnsupportedError, check_count
from gap_tune.gradients import AlignmentStatistics, GradientMonitor
from gap_tune.gradients.monitor import has_closure
from gap_tune.gradients.statistics import DEFAULT_CANDIDATES, SCALED_ADAM_CANDIDATES
from gap_tune.gradients.step_hooks import hook_step
from gap_tune.rules import Decision, MomentumRule, Reason
from gap_tune.theory.families import family_of
from gap_tune.tune import keys
from gap_tune.tune.trial.tuning import Tuning


class Observed(Tuning):
    """Any optimizer, only observed: a baseline."""

    mode = keys.MODE_FIXED

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        *,
        betas2: tuple[float, ...] = (),
        **monitor_options: Any,
    ) -> None:
        super().__init__(optimizer)
        self._betas2 = betas2
        if betas2:
            monitor_options["whitening"] = tuple(sorted({*betas2, self._present(betas2)}))
        self._trained: float | None = None
        # The monitor's function comes before ours, both before the step and after it.
        self._hooks = hook_step(optimizer, after=self._after_step)
        self.monitor: GradientMonitor = GradientMonitor(optimizer, **monitor_options)
        self._hooks += hook_step(optimizer, before=self._before_step)
        self._hooks += [
            optimizer.register_state_dict_pre_hook(self._before_saving_or_loading),
            optimizer.register_load_state_dict_pre_hook(self._before_saving_or_loading),
            optimizer.register_load_state_dict_post_hook(self._after_load),
        ]

    def _before_step(self, optimizer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Do nothing: nobody decides."""

    def _after_step(self, optimizer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self.monitor.stepped:
            self._trained = self.momentum

    def _before_saving_or_loading(self, *_: Any) -> None:
        self.settle()

    def _after_load(self, optimizer: Any) -> None:
        self._trained = None

    def _present(self, betas2: tuple[float, ...]) -> float:
        """Return the optimizer's beta2; the equal one of ``betas2``, where groups hold float32."""
        group = self.optimizer.param_groups[0]
        if "betas" not in group or "eps" not in group:
            raise UnsupportedError(
                "the optimizer must divide by sqrt(v), as Adam does, for several beta2 to be "
                f"compared, but got {type(self.optimizer).__name__}."
            )
        present = float(group["betas"][1])
        return next((b for b in betas2 if math.isclose(b, present, rel_tol=1e-6)), present)

    @property
    def momentum(self) -> float | None:
        """The first group's momentum."""
        if not has_momentum(self.optimizer):
            return None
        return group_momentum(self.optimizer.param_groups[0])

    @property
    def trained_momentum(self) -> float | None:
        """The momentum of the first group's last step."""
        return self.momentum if self._trained is None else self._trained

    def statistics_by_beta2(self) -> tuple[AlignmentStatistics, dict[float, AlignmentStatistics]]:
        """Return the monitor's statistics."""
        every = self.monitor.statistics_by_beta2()
        if not self._betas2 or self.monitor.betas2 is None:
            return every[0], {}
        by_beta2 = dict(zip(self.monitor.betas2, every, strict=True))
        present = by_beta2[self._present(self.monitor.betas2)]
        return present, {beta2: by_beta2[beta2] for beta2 in self._betas2}

    def follow(self, decision: Decision) -> None:
        """Do nothing: a baseline keeps its momentum."""

    def settle(self) -> None:
        """Do nothing: nobody changes the learning rate."""

    def state_dict(self) -> dict[str, Any]:
        """Return also the monitor's state."""
        return {**super().state_dict(), "monitor": self.monitor.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue also the statistics."""
        super().load_state_dict(state)
        self.monitor.load_state_dict(state["monitor"])
        # Statistics that started anew count from 0.
        self.changed_at = min(self.changed_at, self.monitor.statistics().steps)


class Controlled(Observed):
    """A plain torch optimizer whose momentum the scheduler sets while the trial reports."""

    mode = keys.MODE_SCHEDULER

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        *,
        couple_lr: bool | None,
        reference_momentum: float | None,
        trust_region: RegionChoice,
        measures: bool = False,
        **options: Any,
    ) -> None:
        _check_family(optimizer)
        self._choice, self._measures = trust_region, measures
        self._takes_default_candidates = "candidates" not in options
        region = trust_region.region
        options = {"candidates": _default_candidates(optimizer, region), **options}
        self._control = MomentumControl(
            optimizer, couple_lr=couple_lr, reference_momentum=reference_momentum
        )
        super().__init__(optimizer, **options)
        self._scale = self._scale_in(region)
        self._control.scale = self._scale.scale

    def _scale_in(self, region: TrustRegion) -> ScaleControl:
        return ScaleControl(region, [self.monitor], self.optimizer, measures=self._measures)

    @property
    def momentum(self) -> float | None:
        """The first group's momentum."""
        return self._control.momentum

    @property
    def trained_momentum(self) -> float | None:
        """The momentum of the first group's last step."""
        return self._control.trained_momentum

    @property
    def scale(self) -> float:
        """The factor on the learning rate by which the trust region has grown or shrunk."""
        return self._scale.scale

    @property
    def has_region(self) -> bool:
        """Whether a trust region moves it."""
        return self._scale.region.is_on

    @property
    def agreement(self) -> float | None:
        """How far fresh gradients agree with the updates, in [-1, 1]; None without control."""
        return self._scale.agreement

    def statistics_by_beta2(self) -> tuple[AlignmentStatistics, dict[float, AlignmentStatistics]]:
        """Return the monitor's statistics, with the agreement where it is measured."""
        statistics, by_beta2 = super().statistics_by_beta2()
        agreement = self._scale.agreement
        if agreement is None:
            return statistics, by_beta2
        each = {beta2: s.with_agreement(agreement) for beta2, s in by_beta2.items()}
        return statistics.with_agreement(agreement), each

    def _before_step(self, optimizer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not has_closure(args, kwargs):
            self._decide()
            self._follow_agreement()
        self._control.before_step()

    def _after_step(self, optimizer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._control.after_step()
        # A closure computes the gradients inside step(): what they say holds for the next one.
        if has_closure(args, kwargs):
            self._follow_agreement()
            self._decide()

    def _decide(self) -> None:
        """Do nothing: the scheduler decides."""

    def _follow_agreement(self) -> None:
        if self.monitor.stepped and self._scale.is_active:
            self._scale.follow(self._control.momenta())
            self._control.scale = self._scale.scale

    def _after_load(self, optimizer: Any) -> None:
        self._control.after_load()

    def follow(self, decision: Decision) -> None:
        """Apply a decision of the scheduler.

        One that is there already counts for none: two reports without a step between them lead to
        the same decision twice, since what was decided first has not trained yet.
        """
        if self._apply(decision):
            self.seq += 1
            self.changed_at = self.monitor.statistics().steps

    def _apply(self, decision: Decision) -> bool:
        self.decision = decision
        wanted = decision.reason != Reason.FIXED and self._control.differs(decision.momentum)
        if wanted:
            self._control.apply(decision.momentum)
        return wanted

    def detach(self) -> None:
        """Stop observing and deciding; momentum stays as it is."""
        super().detach()
        self._control.release()

    def settle(self) -> None:
        """Put back the learning rate that a step which raised has left behind."""
        self._control.settle()

    def state_dict(self) -> dict[str, Any]:
        """Return also the control's state."""
        return {
            **super().state_dict(),
            "control": self._control.state_dict(),
            "scale": self._scale.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue also the control; without a region where none was asked for and it had none."""
        # Earlier checkpoints hold no scale.
        scale = state.get("scale", {})
        self._enter(self._choice.continuing(scale))
        super().load_state_dict(state)
        self._control.load_state_dict(state["control"])
        self._scale.load_state_dict(scale)
        self._control.scale = self._scale.scale

    def _enter(self, region: TrustRegion) -> None:
        """Train in another region from now on, with the candidates that belong to it."""
        if region == self._scale.region:
            return
        candidates = _default_candidates(self.optimizer, region)
        if self._takes_default_candidates and candidates != self.monitor.candidates:
            self.monitor.compare(candidates)
        self._scale = self._scale_in(region)


class Deciding(Controlled):
    """A plain torch optimizer whose momentum a rule sets inside the trial."""

    mode = keys.MODE_TRIAL

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        *,
        rule: MomentumRule,
        update_every: int,
        **rest: Any,
    ) -> None:
        if not isinstance(rule, MomentumRule):
            raise UnsupportedError(f"rule must be a MomentumRule, but got {type(rule).__name__}.")
        self._rule = rule
        self._update_every = check_count("update_every", update_every)
        self._steps = 0
        super().__init__(optimizer, measures=rule.uses_agreement, **rest)

    def _decide(self) -> None:
        if not self.monitor.stepped:
            return
        self._steps += 1
        if self._steps % self._update_every:
            return
        statistics, _ = self.statistics_by_beta2()
        if self._apply(self._rule.decide(statistics, self._control.momentum)):
            self.seq += 1
            self.changed_at = statistics.steps

    def follow(self, decision: Decision) -> None:
        """Do nothing: the trial decides itself."""

    def state_dict(self) -> dict[str, Any]:
        """Return also how many steps were taken."""
        return {**super().state_dict(), "steps": self._steps}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue also the count of steps."""
        super().load_state_dict(state)
        self._steps = state["steps"]


def _default_candidates(optimizer: torch.optim.Optimizer, region: TrustRegion) -> tuple[float, ...]:
    normalises = "betas" in optimizer.param_groups[0]
    return SCALED_ADAM_CANDIDATES if region.is_on and normalises else DEFAULT_CANDIDATES


def _check_family(optimizer: torch.optim.Optimizer) -> None:
    family = family_of(optimizer)
    if family is None or {"momentum", "betas[0]"} & set(family.derived_arguments):
        return
    raise UnsupportedError(
        f"the optimizer must belong to a family whose momentum can be derived, but got "
        f"{type(optimizer).__name__} of the family {family.name!r}, where only "
        f"{', '.join(family.derived_arguments) or 'nothing'} can."
    )
