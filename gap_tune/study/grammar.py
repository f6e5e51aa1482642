"""The grammar of arm names: from a name to its arm, and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from gap_tune.control import TrustRegion
from gap_tune.errors import InvalidValueError, check_range, did_you_mean
from gap_tune.rules import get_rule, is_rule_name, rule_names
from gap_tune.study.arms import GAP, Arm
from gap_tune.study.methods.grid import Grid
from gap_tune.study.methods.table import METHODS, find_method
from gap_tune.training.families.rivals import NESTEROV
from gap_tune.training.families.table import BASE_FAMILIES, TRAINING_FAMILIES
from gap_tune.tune import keys
from gap_tune.tune.spelling import GAP_TRIAL_NAME, fixed_name, fixed_parts

DEMO_MOMENTA = (0.0, 0.5, 0.8, 0.9, 0.95, 0.99)
# What the momenta of the demo are called together.
_ALL = "grid"
# Steps from one held-out gradient to the next: a quarter more gradients.
_VALIDATION_EVERY = 4
# Long enough to matter, and over before a short run has done much.
_WARMUP_STEPS = 50
# Prefixes of a rule's name in that of an arm, and who decides by it.
_BY_RULE = {f"{GAP_TRIAL_NAME}-": keys.MODE_TRIAL, f"{GAP.name}-": None}
_PLAIN = {
    arm.name: arm
    for arm in (
        GAP,
        Arm(GAP_TRIAL_NAME, mode=keys.MODE_TRIAL),
        Arm("gap-validation", validation_every=_VALIDATION_EVERY),
        # Algorithm 1 decides at every step.
        Arm("gap-paper", mode=keys.MODE_TRIAL, rule="paper"),
        *(
            Arm(f"{name}-unscaled", mode=mode, trust_region=TrustRegion.off().to_dict())
            for name, mode in ((GAP.name, None), (GAP_TRIAL_NAME, keys.MODE_TRIAL))
        ),
        # The momentum of the reference stays.
        Arm("scaled", mode=keys.MODE_TRIAL, rule="fixed", trust_region={}),
    )
}
# Arms that keep a momentum, which follows their name: "nesterov:0.9".
_AT_MOMENTUM = {
    arm.name: arm
    for arm in (Arm(NESTEROV, family=NESTEROV), Arm("warmup", warmup_steps=_WARMUP_STEPS))
}


def parse_arm(text: str) -> Arm:
    """Return the arm that a name stands for.

    - "gap": the scheduler chooses momentum at every report; "gap-trial": the trial itself, at
      every step; "gap-validation": as "gap", judged by held-out gradients. A study with it holds
      the same samples out in every arm, where the workload has no such split of its own;
      "gap-paper": Algorithm 1 of the papers, as "gap-trial" with the rule "paper".
    - "gap-<rule>": as "gap", by the rule of that name (``gap_tune.rules.rule_names``, or an entry
      point of the group "gap_tune.rules"), such as "gap-cross-batch"; "my_module:MyRule": the same
      by your own rule. "gap-trial-<rule>": as "gap-trial", by such a rule.
    - "gap-unscaled", "gap-trial-unscaled": the same without a trust region that follows the
      agreement (``gap_tune.TrustRegion``), which leaves the learning rate as it is; "scaled": the
      learning rate alone follows it, and momentum stays at 0.9.
    - "fixed:<momentum>"; "fixed:grid" or "fixed:<momentum>|<momentum>|...", all of them, of which
      the best by validation counts on each seed.
    - "nesterov:<momentum>": as "fixed:<momentum>", by Nesterov's momentum in a study of SGD and by
      NAdam's in one of AdamW; "warmup:<momentum>": as "fixed:<momentum>", the learning rate rising
      linearly over the first 50 steps.
    - "optuna", "asha", "median", "pbt": search learning rate and momentum, with 8, 8, 8 and 4
      trials per seed, or as many as "optuna:16" says; likewise the name of a search method of an
      entry point of the group "gap_tune.search_methods".
    - an optimizer family, such as "switch", "yellowfin" or "trainable-diagonal", at its default
      hyperparameters.

    Raises:
        InvalidValueError: When the name is unknown or a number is out of range.
        UnsupportedError: When an import path leads to no rule, or an entry point to no method.

    >>> parse_arm("fixed:0.90").name, parse_arm("warmup:.5").name, parse_arm("optuna").trials
    ('fixed:0.9', 'warmup:0.5', 8)
    """
    name = text.strip()
    if name in _PLAIN:
        return _PLAIN[name]
    momenta = fixed_parts(name)
    if momenta:
        return grid_arm() if momenta == (_ALL,) else _parse_fixed(momenta)
    families = sorted(set(TRAINING_FAMILIES) - set(BASE_FAMILIES))
    if name in families:
        return Arm(name, family=name)
    for parse in (_parse_at_momentum, _parse_search, _parse_ruled):
        arm = parse(name)
        if arm is not None:
            return arm
    raise InvalidValueError(
        f"arm must be one of {list(_PLAIN)}, 'gap-<rule>' or 'gap-trial-<rule>' with a rule of "
        f"{rule_names()}, 'my_module:MyRule', 'fixed:<momentum>', 'fixed:grid', "
        f"'nesterov:<momentum>', 'warmup:<momentum>', {sorted(METHODS)} or a family of {families}, "
        f"but got {text!r}.{did_you_mean(name, arm_names())}"
    )


def arm_names() -> list[str]:
    """Return the names that arms can have, "fixed:" where any momentum follows.

    >>> "gap-cross-batch" in arm_names(), "yellowfin" in arm_names()
    (True, True)
    """
    rules = filter(_needs_no_options, rule_names())
    ruled = [f"{prefix}{rule}" for rule in rules for prefix in _BY_RULE]
    families = set(TRAINING_FAMILIES) - set(BASE_FAMILIES)
    kept = [f"{kind}:0.9" for kind in _AT_MOMENTUM]
    return sorted({*_PLAIN, *ruled, fixed_name(""), fixed_name(_ALL), *kept, *METHODS, *families})


def _needs_no_options(rule: str) -> bool:
    try:
        get_rule(rule)
    except InvalidValueError:
        return False
    return True


def fixed_arm(momentum: float) -> Arm:
    """Return the baseline of that momentum.

    Raises:
        InvalidValueError: When ``momentum`` is outside [0, 1).

    >>> fixed_arm(0.5).name
    'fixed:0.5'
    """
    value = check_range("momentum of a fixed arm", momentum, 0.0, 1.0, high_open=True)
    return Arm(fixed_name(value), value)


def grid_arm(momenta: Sequence[float] = DEMO_MOMENTA) -> Arm:
    """Return the baseline that tries all momenta and keeps the best by validation.

    Raises:
        InvalidValueError: When one is outside [0, 1), or there is none.

    >>> grid_arm([0.5, 0.9]).name
    'fixed:0.5|0.9'
    """
    values = tuple(dict.fromkeys(fixed_arm(momentum).momentum or 0.0 for momentum in momenta))
    name = fixed_name(_ALL) if values == DEMO_MOMENTA else fixed_name(*values)
    return Arm(name, search=Grid(values))


def _parse_fixed(parts: Sequence[str]) -> Arm:
    momenta = [_number(part) for part in parts]
    return fixed_arm(momenta[0]) if len(momenta) == 1 else grid_arm(momenta)


def _parse_at_momentum(name: str) -> Arm | None:
    """Return the arm that keeps the momentum behind its colon; None where the name is of none."""
    kind, colon, text = name.partition(":")
    if kind not in _AT_MOMENTUM or not colon:
        return None
    value = check_range(
        f"momentum of the arm {kind}",
        _number(text),
        0.0,
        1.0,
        # There is nothing to look ahead along.
        low_open=kind == NESTEROV,
        high_open=True,
    )
    return replace(_AT_MOMENTUM[kind], name=f"{kind}:{value:.12g}", momentum=value)


def _parse_search(name: str) -> Arm | None:
    """Return the arm of a search method; None where the name is of no method."""
    kind, colon, count = name.partition(":")
    method = find_method(kind)
    if method is None or (colon and not count):
        return None
    if not count:
        return Arm(kind, search=method())
    trials: Any = int(count) if count.isdecimal() else count
    return Arm(f"{kind}:{trials}", search=method(trials))


def _parse_ruled(name: str) -> Arm | None:
    """Return the arm of a rule; None where the name holds none that is known."""
    for prefix, mode in _BY_RULE.items():
        rule = name.removeprefix(prefix)
        if rule != name and is_rule_name(rule):
            return Arm(name, mode=mode, rule=rule)
    return Arm(name, rule=name) if ":" in name and is_rule_name(name) else None


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")
