"""SelfTuningOptimizer: what the self-tuning optimizers add to torch's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gap_tune.control import MomentumControl, TrustRegion
from gap_tune.errors import InvalidValueError, UnsupportedError
from gap_tune.gradients.monitor import amp_state, has_closure, is_placeholder_step
from gap_tune.gradients.statistics import AlignmentStatistics
from gap_tune.gradients.step_hooks import hook_step
from gap_tune.optim.saved_tuning import SavedTuning
from gap_tune.optim.tuned_groups import Rules
from gap_tune.rules import Decision, FixedMomentum


class SelfTuningOptimizer(SavedTuning):
    """Mixin: observes gradients at each step, lets a rule decide, applies its momentum.

    Subclasses put it before a torch optimizer and call ``_start_tuning`` after that optimizer's
    constructor. One rule decides for all groups together; a sequence of rules decides for each
    group from its own gradients. What others see of it is ``gap_tune.control.SelfTuning``.
    """

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
        self._take_rules(rule, update_every=update_every)
        self._control = MomentumControl(self, couple_lr=couple_lr)
        self._take_region(trust_region, candidates, options)
        self._hook()

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
