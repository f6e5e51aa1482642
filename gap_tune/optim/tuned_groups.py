"""TunedGroups: the rules, observers and trust region of a self-tuning optimizer's groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from gap_tune.control import MomentumControl, RegionChoice, ScaleControl, TrustRegion
from gap_tune.errors import InvalidValueError, UnsupportedError, check_count
from gap_tune.gradients.observer import GradientObserver
from gap_tune.gradients.reading import all_parameters
from gap_tune.gradients.statistics import DEFAULT_CANDIDATES
from gap_tune.rules import AlignmentRule, Decision, MomentumRule

Rules = MomentumRule | Sequence[MomentumRule] | None


class TunedGroups(torch.optim.Optimizer):
    """An optimizer's groups with what tunes them: one rule for all together, or one for each.

    Every rule has an observer of its groups' gradients, the candidates that it chooses from, and
    its last decision. One trust region moves the learning rates of all groups where the user asks
    for it, else of those whose rule does.
    """

    _control: MomentumControl
    _choice: RegionChoice
    _scale: ScaleControl
    _observers: list[GradientObserver]

    def _take_rules(self, rule: Rules, *, update_every: int) -> None:
        self._rules = _check_rules(rule, len(self.param_groups))
        self._per_group = rule is not None and not isinstance(rule, MomentumRule)
        self._update_every = check_count("update_every", update_every)

    def _take_region(
        self,
        asked: TrustRegion | None,
        candidates: Sequence[float] | None,
        options: dict[str, Any],
    ) -> None:
        """Observe the groups, and move their scale as the user asks, or else as the rules do.

        Args:
            asked: The user's region.
            candidates: The user's candidates; None takes those of the region.
            options: More options of ``GradientObserver``.
        """
        self._options = options
        self._choice = RegionChoice.of(asked, rules_ask=any(rule.scales_lr for rule in self._rules))
        self._candidates = candidates
        self._compared: list[Sequence[float]] = []
        self._compare_for(self._choice.region)
        self._observe_groups()
        self._scale = self._scale_in(self._choice.region)
        self._control.scale = self._scale.scale

    def _default_candidates(self, region: TrustRegion) -> Sequence[float]:
        """Return what to choose from in a region where the user does not say."""
        return DEFAULT_CANDIDATES

    def _compare_for(self, region: TrustRegion) -> bool:
        """Take the candidates that belong to a region; tell whether they are others than before."""
        before, own = self._compared, self._candidates
        self._compared = [
            self._default_candidates(region if scales else TrustRegion.off())
            if own is None
            else own
            for scales in self._scales()
        ]
        return before != self._compared

    def _scales(self) -> list[bool]:
        """Return of each rule whether the scale is that of its groups' learning rates.

        All are in a region that the user asks for; else whose rule asks for it. What does not,
        such as ``FixedMomentum``, stays as it is beside those that do.
        """
        return [self._choice.asked is not None or rule.scales_lr for rule in self._rules]

    def _watched(self) -> list[GradientObserver]:
        """Return the observers whose gradients the agreement is of."""
        each = zip(self._observers, self._rules, self._scales(), strict=True)
        return [observer for observer, rule, scales in each if scales or rule.uses_agreement]

    def _scale_in(self, region: TrustRegion) -> ScaleControl:
        scales = self._scales()
        unscaled = (i for i, scaled in enumerate(scales) if self._per_group and not scaled)
        self._control.unscaled = frozenset(unscaled)
        measures = any(rule.uses_agreement for rule in self._rules)
        return ScaleControl(region, self._watched(), self, measures=measures)

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

    def _load_scale(self, state: Mapping[str, Any]) -> None:
        self._scale.load_state_dict(state)
        # With a closure, gradients come after the step, and so does what moves the scale.
        self._control.scale = self._scale.scale

    def _observe_groups(self) -> None:
        """Make the observers, whose statistics start anew."""
        parts = self._parts()
        # Reports need long autocorrelations; a rule does not.
        self._observers = [
            GradientObserver(part, lags=1, candidates=candidates, **self._options)
            for part, candidates in zip(parts, self._compared, strict=True)
        ]
        self._decisions: list[Decision | None] = [None] * len(parts)

    def _parts(self) -> list[list[torch.Tensor]]:
        """Return the parameters that each observer looks at, as of now."""
        groups = self.param_groups
        return [
            all_parameters(part)
            for part in ([[g] for g in groups] if self._per_group else [groups])
        ]

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
