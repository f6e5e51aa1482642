"""SelfTuningOptimizer: what the self-tuning optimizers add to torch's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from gap_tune.control import MomentumControl, RegionChoice, ScaleControl, TrustRegion
from gap_tune.errors import InvalidValueError, StateError, UnsupportedError, check_count
from gap_tune.gradients.monitor import amp_state, has_closure, is_placeholder_step
from gap_tune.gradients.observer import GradientObserver, warn_of_new_start
from gap_tune.gradients.reading import all_parameters
from gap_tune.gradients.statistics import DEFAULT_CANDIDATES, AlignmentStatistics
from gap_tune.gradients.step_hooks import hook_step
from gap_tune.rules import AlignmentRule, Decision, FixedMomentum, MomentumRule

Rules = MomentumRule | Sequence[MomentumRule] | None
_KEY = "gap_tune"
_VERSION = 1


class SelfTuningOptimizer(torch.optim.Optimizer):
    """Mixin: observes gradients at each step, lets a rule decide, applies its momentum.

    Subclasses put it before a torch optimizer and call ``_start_tuning`` after that optimizer's
    constructor. One rule decides for all groups together; a sequence of rules decides for each
    group from its own gradients. What others see of it is ``gap_tune.control.SelfTuning``.
    """

    _control: MomentumControl
    _choice: RegionChoice
    _scale: ScaleControl
    _observers: list[GradientObserver]

    def _start_tuning(
        self,
        rule: Rules,
        *,
        update_every: int,
        couple_lr: bool,
        trust_region: TrustRegion | None,
        candidates: Sequence[float] | None,
        **options: Any,
    ) -> None:
        if any(group.get("differentiable") for group in self.param_groups):
            raise UnsupportedError(
                "differentiable must be False, but got True: the choice of momentum is a "
                "comparison, which has no gradient."
            )
        self._rules = _check_rules(rule, len(self.param_groups))
        self._per_group = rule is not None and not isinstance(rule, MomentumRule)
        self._update_every = check_count("update_every", update_every)
        self._options = options
        self._control = MomentumControl(self, couple_lr=couple_lr)
        # One scale serves all groups: it moves where none of them is to stay as torch's.
        self._choice = RegionChoice.of(
            trust_region, rules_ask=all(rule.scales_lr for rule in self._rules)
        )
        self._candidates = candidates
        self._compare_for(self._choice.region)
        self._observe_groups()
        self._scale = self._scale_in(self._choice.region)
        self._control.scale = self._scale.scale
        self._hook()

    def _default_candidates(self, region: TrustRegion) -> Sequence[float]:
        """Return what to choose from in a region where the user does not say."""
        return DEFAULT_CANDIDATES

    def _compare_for(self, region: TrustRegion) -> bool:
        """Take the candidates that belong to a region; tell whether they are others than before."""
        wanted = self._default_candidates(region) if self._candidates is None else self._candidates
        changed = bool(self._options.get("candidates", wanted) != wanted)
        self._options["candidates"] = wanted
        return changed

    def _scale_in(self, region: TrustRegion) -> ScaleControl:
        measures = any(rule.uses_agreement for rule in self._rules)
        return ScaleControl(region, self._observers, self, measures=measures)

    def enter_region(self, region: TrustRegion) -> None:
        """Train in the trust region that a study asks for, where the constructor was given none.

        Args:
            region: The region; off leaves the learning rate as it is.

        Raises:
            InvalidValueError: When the constructor was given another one.
        """
        if self._choice.asked not in (None, region):
            raise InvalidValueError(
                f"trust_region of {type(self).__name__} must be that of the study, {region}, or "
                f"left out, but got {self._choice.asked}."
            )
        self._choice = replace(self._choice, asked=region)
        saved, before = self._scale.state_dict(), self._scale.region
        self._enter(region)
        # Before the first step there is nothing to go on from.
        if region != before and saved.get("steps"):
            self._load_scale({**saved, "filters": []})

    def _enter(self, region: TrustRegion) -> None:
        if region == self._scale.region:
            return
        if self._compare_for(region):
            self._observe_groups()
        self._scale = self._scale_in(region)
        self._control.scale = self._scale.scale

    def _observe_groups(self) -> None:
        """Make the observers, whose statistics start anew."""
        parts = self._parts()
        # Reports need long autocorrelations; a rule does not.
        self._observers = [GradientObserver(part, lags=1, **self._options) for part in parts]
        self._decisions: list[Decision | None] = [None] * len(parts)

    def _parts(self) -> list[list[torch.Tensor]]:
        """Return the parameters that each observer looks at, as of now."""
        groups = self.param_groups
        return [
            all_parameters(part)
            for part in ([[g] for g in groups] if self._per_group else [groups])
        ]

    @property
    def momentum(self) -> float:
        """The momentum (beta1) of the next step; the first group's, where groups differ."""
        return self._control.momentum

    @property
    def trained_momentum(self) -> float:
        """The momentum of the last step, whatever has been written into the groups since."""
        return self._control.trained_momentum

    @property
    def scale(self) -> float:
        """The factor on the learning rate by which the trust region has grown, at the last step."""
        return self._scale.scale

    @property
    def has_region(self) -> bool:
        """Whether a trust region moves the learning rate."""
        return self._scale.region.is_on

    @property
    def agreement(self) -> float | None:
        """How far fresh gradients agree with the updates, in [-1, 1]; None without control."""
        return self._scale.agreement

    @property
    def changes_momentum(self) -> bool:
        """Whether any rule but ``FixedMomentum`` decides."""
        return not all(isinstance(rule, FixedMomentum) for rule in self._rules)

    @property
    def decision(self) -> Decision | None:
        """The last decision, None before the first; the first group's, where each has its own."""
        return self._decisions[0]

    def statistics(self) -> AlignmentStatistics:
        """Return the gradient statistics so far; waits for the device once.

        Of the first group, where each has its own rule; for the beta2 in use, where it is tuned.
        """
        return self._statistics(0)[self._present_beta2(0)]

    def _statistics(self, i: int) -> list[AlignmentStatistics]:
        """Return observer i's statistics by beta2, with the agreement where it is measured."""
        found = self._observers[i].statistics_by_beta2()
        agreement = self._scale.agreement
        return found if agreement is None else [s.with_agreement(agreement) for s in found]

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group, as in torch; it is observed from its first step.

        Raises:
            InvalidValueError: When each group has its own rule, and so the new one has none.
        """
        if getattr(self, "_observers", None) is None:
            super().add_param_group(param_group)
            return
        self._control.settle()
        if self._per_group:
            raise InvalidValueError(
                f"each of the {len(self._rules)} groups has its own rule, but got another group: "
                "make the optimizer with all groups, or with one rule."
            )
        super().add_param_group(param_group)

    def state_dict(self) -> dict[str, Any]:
        """Return torch's state dict, with the tuning's own state under the key "gap_tune"."""
        # First: it takes out of the groups what a step that raised has left behind.
        control = self._control.state_dict()
        own = {
            "version": _VERSION,
            "control": control,
            "observers": [observer.state_dict() for observer in self._observers],
            "scale": self._scale.state_dict(),
        }
        return {**super().state_dict(), _KEY: own}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Load a state of this optimizer or of its torch counterpart.

        A torch state brings no statistics: they start anew, and the constructor's reference
        momentum stays. It brings no scale either: unless the constructor was given a
        ``trust_region``, a training that began without one goes on without, since its learning
        rate would become a third of what it was from one step to the next. Statistics of other
        shapes, candidates, values of beta2 or numbers of rules start anew as well, with a warning
        that says what differs.

        Raises:
            StateError: When the version is not this optimizer's, or the statistics are none;
                nothing is loaded then.
        """
        self._control.settle()
        own = state_dict.get(_KEY)
        if own is not None:
            _check_version(own)
        # Earlier states hold no scale.
        scale = {} if own is None else own.get("scale", {})
        self._enter(self._choice.continuing(scale))
        difference = "" if own is None else self._difference(own)
        super().load_state_dict({k: v for k, v in state_dict.items() if k != _KEY})
        if own is None:
            self._control.load_state_dict({})
            self._start_anew({})
            return
        self._control.load_state_dict(own["control"])
        if difference:
            self._start_anew(scale)
            warn_of_new_start(difference)
            return
        for observer, state in zip(self._observers, own["observers"], strict=True):
            observer.load_state_dict(state)
        self._load_scale(scale)

    def _start_anew(self, scale: Mapping[str, Any]) -> None:
        """Forget all gradients; the scale goes on where it was saved."""
        self._observe_groups()
        self._scale.observe(self._observers, self)
        self._load_scale({**scale, "filters": []})

    def _load_scale(self, state: Mapping[str, Any]) -> None:
        self._scale.load_state_dict(state)
        # With a closure, gradients come after the step, and so does what moves the scale.
        self._control.scale = self._scale.scale

    def _difference(self, own: Mapping[str, Any]) -> str:
        """Return why saved statistics cannot be continued; "" where they can."""
        states, parts = own.get("observers", ()), self._parts()
        if len(states) != len(parts):
            return f"{len(states)} rules, but here are {len(parts)}"
        for observer, part, state in zip(self._observers, parts, states, strict=True):
            # Another group may have come since the last step.
            observer.follow(part)
            if difference := observer.difference(state):
                return difference
        return ""

    def __getstate__(self) -> dict[str, Any]:
        # Everything but torch's hooks, which it leaves out as well.
        hooks = {name for name in self.__dict__ if name.endswith("_hooks")}
        own = {name: v for name, v in self.__dict__.items() if name not in hooks}
        return {**own, **super().__getstate__()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        # torch also calls this from load_state_dict, where the hooks are in place already.
        if "_control" in state:
            self._hook()

    def _hook(self) -> None:
        hook_step(self, before=_before_step, after=_after_step)
        self.register_load_state_dict_post_hook(_after_load)

    def _tune(self, *, stepped: bool = False, **amp: Any) -> None:
        """Observe, decide, and set the scale.

        Args:
            stepped: Whether the step of these gradients has been taken, as with a closure.
            **amp: As of ``GradientObserver.observe``.
        """
        if not (self.changes_momentum or self._scale.is_active):
            return
        trained = self._control.momenta() if stepped and self._scale.is_active else None
        parts = self._parts()
        if len(parts) != len(self._rules):
            raise InvalidValueError(
                f"each of the {len(self._rules)} groups has its own rule, but got {len(parts)} "
                "groups: make the optimizer anew with those that are left."
            )
        for i, (observer, part) in enumerate(zip(self._observers, parts, strict=True)):
            # Without a gradient there is no step, and nothing to decide.
            observed = observer.observe(parameters=part, **amp)
            if observed and observer.calls % self._update_every == 0:
                self._decide(i)
        if self._scale.is_active:
            self._scale.follow(self._control.momenta() if trained is None else trained)
            self._control.scale = self._scale.scale

    def _decide(self, i: int) -> None:
        """Let rule i decide; with several beta2, take the pair with the largest gain (Cor. 6)."""
        observer, rule = self._observers[i], self._rules[i]
        present = self._control.momentum_of(i)
        decisions = [rule.decide(s, present) for s in self._statistics(i)]
        best = self._present_beta2(i)
        if len(decisions) > 1 and decisions[best].gains:
            best = max(range(len(decisions)), key=lambda j: max(decisions[j].gains))
        decision = self._decisions[i] = decisions[best]
        group = i if self._per_group else None
        fixed = isinstance(rule, FixedMomentum)
        if not fixed and self._control.differs(decision.momentum, group=group):
            self._control.apply(decision.momentum, group=group)
        if len(decisions) > 1 and observer.betas2 is not None:
            self._control.apply_beta2(observer.betas2[best], group=group)

    def _present_beta2(self, i: int) -> int:
        """Return the place of group i's beta2 among those compared."""
        betas2 = self._observers[i].betas2
        if betas2 is None or len(betas2) == 1:
            return 0
        present = float(self.param_groups[i]["betas"][1])
        return min(range(len(betas2)), key=lambda j: abs(betas2[j] - present))


def _check_version(own: Mapping[str, Any]) -> None:
    if own.get("version") != _VERSION:
        raise StateError(
            f"the tuning's state must be of version {_VERSION}, but got {own.get('version')!r}."
        )


def _check_rules(rule: Rules, groups: int) -> list[MomentumRule]:
    if rule is None:
        return [AlignmentRule()]
    rules = [rule] if isinstance(rule, MomentumRule) else rule
    odd = [type(each).__name__ for each in rules if not isinstance(each, MomentumRule)]
    if odd:
        raise UnsupportedError(f"rule must be a MomentumRule or one per group, but got {odd}.")
    if rules is rule and len(rules) != groups:
        raise InvalidValueError(
            f"rule must be one rule, or one per group ({groups}), but got {len(rules)} rules."
        )
    return list(rules)


# Plain functions, not bound methods: a bound method would make every optimizer a reference cycle
# and would call the original from a deepcopy.
def _before_step(optimizer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    if not has_closure(args, kwargs) and not is_placeholder_step(optimizer):
        optimizer._tune(**amp_state(optimizer))
    optimizer._control.before_step()


def _after_step(optimizer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    optimizer._control.after_step()
    if has_closure(args, kwargs):
        optimizer._tune(stepped=True)


def _after_load(optimizer: Any) -> None:
    optimizer._control.after_load()
