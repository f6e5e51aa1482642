"""Arms: the methods that a study compares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from gap_tune.errors import InvalidValueError, check_count, check_range
from gap_tune.rules import (
    AlignmentRule,
    RuleSpec,
    describe_rule,
    get_rule,
    is_rule_name,
    rule_names,
)
from gap_tune.training.families.table import BASE_FAMILIES, TRAINING_FAMILIES, get_family
from gap_tune.tune import keys

DEMO_MOMENTA = (0.0, 0.5, 0.8, 0.9, 0.95, 0.99)

# What the family of an arm is called where the study's is another than "sgd".
_VARIANTS = {
    ("switch", "adamw"): "switch-adamw",
    ("switch-parameter", "adamw"): "switch-adamw-parameter",
    ("schedulefree", "adamw"): "schedulefree-adamw",
}

GRID, OPTUNA, ASHA, MEDIAN, PBT = "grid", "optuna", "asha", "median", "pbt"
# Trials per seed. Eight is a small search that a study can still repeat on every seed; a
# population needs two to learn from each other and costs a restart at every exploit.
_OWN_TRIALS = {OPTUNA: 8, ASHA: 8, MEDIAN: 8, PBT: 4}

# Steps from one held-out gradient to the next: a quarter more gradients.
VALIDATION_EVERY = 4
# Held-out gradients alone judge the candidates (Section 4 of the paper).
_VALIDATION = describe_rule(AlignmentRule(validation_weight=1.0))
# Prefixes of a rule's name in that of an arm, and who decides by it.
_BY_RULE = {"gap-trial-": keys.MODE_TRIAL, "gap-": None}


@dataclass(frozen=True)
class Arm:
    """One method.

    Attributes:
        name: As in tables and on the command line: "gap", "fixed:0.9" or "optuna:16".
        momentum: The fixed momentum in [0, 1); None for arms that keep none.
        family: The optimizer family to train with; None takes the study's, "sgd" or "adamw".
        mode: Who chooses the momentum (``gap_tune.attach``); None leaves it to ``GapSearch``.
        validation_every: Steps from one held-out gradient to the next; None takes none.
        rule: What decides the trials whose momentum is tuned (``gap_tune.rules.get_rule``). None
            takes the default, of an arm with held-out gradients the rule that they alone judge by.
        search: How the arm searches: "grid", "optuna", "asha", "median", "pbt" or None.
        momenta: The momenta of a grid.
        trials: Trials that the arm takes per seed when left to itself.

    Raises:
        InvalidValueError: When ``rule`` is unknown, or has other options.
        UnsupportedError: When ``rule`` cannot be imported or is none.

    >>> Arm("fixed:0.9", 0.9).is_fixed
    True
    """

    name: str
    momentum: float | None = None
    family: str | None = None
    mode: str | None = None
    validation_every: int | None = None
    # Mappings have no hash.
    rule: RuleSpec | None = field(default=None, hash=False, kw_only=True)
    search: str | None = None
    momenta: tuple[float, ...] = ()
    trials: int = 1

    def __post_init__(self) -> None:
        if self.rule is None and self.validation_every is not None:
            object.__setattr__(self, "rule", _VALIDATION)
        if self.rule is not None:
            # Its errors are told here, rather than by every trial.
            get_rule(self.rule)

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

        >>> parse_arm("trainable-diagonal").configuration("adamw")
        {'arm': 'trainable-diagonal', 'family': 'trainable-diagonal', 'gap': {'mode': 'fixed'}}
        """
        own: dict[str, Any] = {"arm": self.name}
        if self.momentum is not None:
            own["momentum"] = self.momentum
        if self.validation_every is not None:
            own["validation_every"] = self.validation_every
        trained = self.family_in(family)
        if trained != family:
            own["family"] = trained
        searched = self.search is not None
        mode = keys.MODE_FIXED if searched or not get_family(trained).has_momentum else self.mode
        section: dict[str, Any] = {} if mode is None else {"mode": mode}
        if self.rule is not None and self.is_tuned(family):
            section[keys.RULE] = self.rule if isinstance(self.rule, str) else dict(self.rule)
        return {**own, keys.SECTION: section} if section else own


GAP = Arm("gap")
_PLAIN = {
    arm.name: arm
    for arm in (
        GAP,
        Arm("gap-trial", mode=keys.MODE_TRIAL),
        Arm("gap-validation", validation_every=VALIDATION_EVERY),
        # Algorithm 1 decides at every step.
        Arm("gap-paper", mode=keys.MODE_TRIAL, rule="paper"),
    )
}


def fixed_arm(momentum: float) -> Arm:
    """Return the baseline of that momentum.

    Raises:
        InvalidValueError: When ``momentum`` is outside [0, 1).
    """
    value = check_range("momentum of a fixed arm", momentum, 0.0, 1.0, high_open=True)
    return Arm(f"fixed:{value:.12g}", value)


def grid_arm(momenta: Sequence[float] = DEMO_MOMENTA) -> Arm:
    """Return the baseline that tries all momenta and keeps the best by validation.

    Raises:
        InvalidValueError: When one is outside [0, 1).

    >>> grid_arm([0.5, 0.9]).name
    'fixed:0.5|0.9'
    """
    values = tuple(dict.fromkeys(fixed_arm(momentum).momentum or 0.0 for momentum in momenta))
    name = "grid" if values == DEMO_MOMENTA else "|".join(f"{value:.12g}" for value in values)
    return Arm(f"fixed:{name}", search=GRID, momenta=values, trials=len(values))


def parse_arm(text: str) -> Arm:
    """Return the arm that a name stands for.

    - "gap": the scheduler chooses momentum at every report; "gap-trial": the trial itself, at
      every step; "gap-validation": as "gap", judged by held-out gradients. A study with it holds
      the same samples out in every arm, where the workload has no such split of its own;
      "gap-paper": Algorithm 1 of the papers, as "gap-trial" with the rule "paper".
    - "gap-<rule>": as "gap", by the rule of that name (``gap_tune.rules.rule_names``, or an entry
      point of the group "gap_tune.rules"), such as "gap-cross-batch"; "my_module:MyRule": the same
      by your own rule. "gap-trial-<rule>": as "gap-trial", by such a rule.
    - "fixed:<momentum>"; "fixed:grid" or "fixed:<momentum>|<momentum>|...", all of them, of which
      the best by validation counts on each seed.
    - "optuna", "asha", "median", "pbt": search learning rate and momentum, with 8, 8, 8 and 4
      trials per seed, or as many as "optuna:16" says.
    - an optimizer family, such as "switch", "yellowfin" or "trainable-diagonal", at its default
      hyperparameters.

    Raises:
        InvalidValueError: When the name is unknown or a number is out of range.
        UnsupportedError: When an import path leads to no rule.

    >>> parse_arm("fixed:0.90").name, parse_arm("optuna").trials
    ('fixed:0.9', 8)
    """
    name = text.strip()
    if name in _PLAIN:
        return _PLAIN[name]
    kind, _, value = name.partition(":")
    if kind == "fixed":
        return grid_arm() if value == GRID else _parse_fixed(value)
    if kind in _OWN_TRIALS and (value or kind == name):
        return _parse_search(kind, value)
    families = sorted(set(TRAINING_FAMILIES) - set(BASE_FAMILIES))
    if name in families:
        return Arm(name, family=name)
    ruled = _parse_ruled(name)
    if ruled is not None:
        return ruled
    raise InvalidValueError(
        f"arm must be one of {list(_PLAIN)}, 'gap-<rule>' or 'gap-trial-<rule>' with a rule of "
        f"{rule_names()}, 'my_module:MyRule', 'fixed:<momentum>', 'fixed:grid', "
        f"{sorted(_OWN_TRIALS)} or a family of {families}, but got {text!r}."
    )


def arm_names() -> list[str]:
    """Return the names that arms can have, "fixed:" where a momentum follows.

    >>> "gap-cross-batch" in arm_names(), "yellowfin" in arm_names()
    (True, True)
    """
    rules = filter(_needs_no_options, rule_names())
    ruled = [f"{prefix}{rule}" for rule in rules for prefix in _BY_RULE]
    families = set(TRAINING_FAMILIES) - set(BASE_FAMILIES)
    return sorted({*_PLAIN, *ruled, "fixed:", f"fixed:{GRID}", *_OWN_TRIALS, *families})


def _needs_no_options(rule: str) -> bool:
    try:
        get_rule(rule)
    except InvalidValueError:
        return False
    return True


def _parse_ruled(name: str) -> Arm | None:
    """Return the arm of a rule; None where the name holds none that is known."""
    for prefix, mode in _BY_RULE.items():
        rule = name.removeprefix(prefix)
        if rule != name and is_rule_name(rule):
            return Arm(name, mode=mode, rule=rule)
    return Arm(name, rule=name) if ":" in name and is_rule_name(name) else None


def _parse_fixed(text: str) -> Arm:
    momenta = [_number(part) for part in text.split("|")]
    return fixed_arm(momenta[0]) if len(momenta) == 1 else grid_arm(momenta)


def _parse_search(kind: str, text: str) -> Arm:
    if not text:
        return Arm(kind, search=kind, trials=_OWN_TRIALS[kind])
    trials: Any = int(text) if text.isdecimal() else text
    check_count(f"trials of the arm {kind}", trials, 2 if kind == PBT else 1)
    return Arm(f"{kind}:{trials}", search=kind, trials=trials)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def check_arms(arms: tuple[Arm, ...]) -> tuple[Arm, ...]:
    """Return the arms when there is at least one and no name stands twice, else raise.

    Raises:
        InvalidValueError: When there are none, or a name stands twice.
    """
    names = [arm.name for arm in arms]
    if not names or len(set(names)) < len(names):
        raise InvalidValueError(f"arms must be one or more different methods, but got {names}.")
    return arms
