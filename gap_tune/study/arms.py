"""Arms: the methods that a study compares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gap_tune.control import TrustRegion
from gap_tune.errors import InvalidValueError, UnsupportedError
from gap_tune.rules import AlignmentRule, RuleSpec, describe_rule, get_rule
from gap_tune.study.methods.base import SearchMethod
from gap_tune.training.families.table import get_family
from gap_tune.tune import keys
from gap_tune.tune.spelling import GAP_NAME

# What the family of an arm is called where the study's is another than "sgd".
_VARIANTS = {
    ("switch", "adamw"): "switch-adamw",
    ("switch-parameter", "adamw"): "switch-adamw-parameter",
    ("schedulefree", "adamw"): "schedulefree-adamw",
    ("hypergradient", "adamw"): "hypergradient-adamw",
    ("nesterov", "adamw"): "nesterov-adamw",
    ("dadapt", "adamw"): "dadapt-adamw",
    ("adaptive-memory", "adamw"): "adaptive-memory-adamw",
}

# Held-out gradients alone judge the candidates (Section 4 of the paper).
_VALIDATION = describe_rule(AlignmentRule(validation_weight=1.0))


@dataclass(frozen=True)
class Arm:
    """One method.

    Attributes:
        name: As in tables and on the command line: "gap", "fixed:0.9" or "optuna:16".
        momentum: The fixed momentum in [0, 1); None for arms that keep none.
        family: The optimizer family to train with; None takes the study's, "sgd" or "adamw".
        mode: Who chooses the momentum (``gap_tune.attach``); None leaves it to ``GapSearch``.
        validation_every: Steps from one held-out gradient to the next; None takes none.
        warmup_steps: Steps in which the learning rate rises; None leaves it to the workload.
        rule: What decides the trials whose momentum is tuned (``gap_tune.rules.get_rule``). None
            takes the default, of an arm with held-out gradients the rule that they alone judge by.
        trust_region: Settings of the trust region control of trials whose momentum is tuned, as
            JSON values (``gap_tune.TrustRegion.of``); None is as the rule asks.
        search: How the arm searches its hyperparameters; None for an arm of one trial per seed.

    Raises:
        InvalidValueError: When ``rule`` or ``trust_region`` is unknown, or has other options.
        UnsupportedError: When ``rule`` cannot be imported or is none, or ``search`` is no method.

    >>> Arm("fixed:0.9", 0.9).is_fixed
    True
    """

    name: str
    momentum: float | None = None
    family: str | None = None
    mode: str | None = None
    validation_every: int | None = None
    warmup_steps: int | None = field(default=None, kw_only=True)
    # Mappings have no hash.
    rule: RuleSpec | None = field(default=None, hash=False, kw_only=True)
    search: SearchMethod | None = None
    trust_region: Mapping[str, float] | None = field(default=None, hash=False, kw_only=True)

    def __post_init__(self) -> None:
        if self.rule is None and self.validation_every is not None:
            object.__setattr__(self, "rule", _VALIDATION)
        if self.rule is not None:
            # Its errors are told here, rather than by every trial.
            get_rule(self.rule)
        if self.trust_region is not None:
            TrustRegion.of(self.trust_region)
        if not isinstance(self.search, SearchMethod | None):
            raise UnsupportedError(
                f"search of an arm must be a SearchMethod, but got {self.search!r:.200}."
            )

    @property
    def trials(self) -> int:
        """Trials that the arm takes per seed when left to itself."""
        return 1 if self.search is None else self.search.trials

    def plan(self) -> tuple[Mapping[str, Any], ...]:
        """Return what each trial of a seed has to itself; none where trials are searched."""
        return ({},) if self.search is None else self.search.plan()

    @property
    def is_fixed(self) -> bool:
        """Whether this is a baseline whose trials keep the momentum that they are given."""
        return self.momentum is not None or self.search is not None

    def family_in(self, family: str) -> str:
        """Return the family that the arm trains with in a study of that family."""
        if self.family is None:
            return family
        return _VARIANTS.get((self.family, family), self.family)

    def is_tuned(self, family: str) -> bool:
        """Whether gap_tune supplies the momentum of the arm's trials."""
        return not self.is_fixed and get_family(self.family_in(family)).has_momentum

    def configuration(self, family: str = "sgd") -> dict[str, Any]:
        """Return what sets the arm's trials apart from those of other arms.

        Learning rate and weight decay are not in it: those are ``workload.recipe(...)`` of
        ``family_in(family)``, or searched. Neither is the momentum of arms that search it.

        Args:
            family: The study's family; the entry "family" is there where the arm's is another.

        Raises:
            InvalidValueError: When there is no such family.

        >>> Arm("mine", family="switch").configuration("adamw")
        {'arm': 'mine', 'family': 'switch-adamw', 'gap': {'mode': 'fixed'}}
        """
        own: dict[str, Any] = {"arm": self.name}
        if self.momentum is not None:
            own["momentum"] = self.momentum
        if self.validation_every is not None:
            own["validation_every"] = self.validation_every
        if self.warmup_steps is not None:
            own["warmup_steps"] = self.warmup_steps
        trained = self.family_in(family)
        if trained != family:
            own["family"] = trained
        searched = self.search is not None
        mode = keys.MODE_FIXED if searched or not get_family(trained).has_momentum else self.mode
        section: dict[str, Any] = {} if mode is None else {"mode": mode}
        if self.rule is not None and self.is_tuned(family):
            section[keys.RULE] = self.rule if isinstance(self.rule, str) else dict(self.rule)
        if self.trust_region is not None and self.is_tuned(family):
            section[keys.TRUST_REGION] = dict(self.trust_region)
        return {**own, keys.SECTION: section} if section else own


GAP = Arm(GAP_NAME)


def check_arms(arms: tuple[Arm, ...]) -> tuple[Arm, ...]:
    """Return the arms when there is at least one and no name stands twice, else raise.

    Raises:
        InvalidValueError: When there are none, or a name stands twice.
    """
    names = [arm.name for arm in arms]
    if not names or len(set(names)) < len(names):
        raise InvalidValueError(f"arms must be one or more different methods, but got {names}.")
    return arms
