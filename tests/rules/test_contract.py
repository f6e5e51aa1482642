"""Every rule of the registry against the contract that others' rules inherit."""

from __future__ import annotations

from typing import Any

from gap_tune.rules import MomentumRule, get_rule, rule_names
from gap_tune.testing import RuleContract

LIMITS = {"low": 0.0, "high": 0.99}
# A specification of each name at least, and class attributes of its contract.
TABLE: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"name": "alignment"}, LIMITS),
    (
        {"name": "alignment", "hysteresis": 0.1, "low": 0.2, "high": 0.95, "warmup_steps": 0},
        {"low": 0.2, "high": 0.95},
    ),
    ({"name": "alignment", "validation_weight": 0.5}, LIMITS),
    ({"name": "paper"}, LIMITS),
    ({"name": "cross-batch"}, LIMITS),
    ({"name": "cross-batch", "hysteresis": 0.5}, LIMITS),
    ({"name": "fixed"}, {}),
    (
        {"name": "horizon", "gain": 0.1, "low": 0.2},
        {"low": 0.2, "high": 0.995, "may_keep_what_is_outside": True},
    ),
    (
        {"name": "schedule", "steps": [2, 40], "momenta": [0.8, 0.95]},
        {"low": 0.8, "high": 0.95, "may_keep_what_is_outside": True},
    ),
]


def contract(spec: dict[str, Any], attributes: dict[str, Any]) -> type[RuleContract]:
    """Return the rule of a specification as the class that a user would write."""

    def rule(self: RuleContract) -> MomentumRule:
        return get_rule(spec)

    options = "".join(option.title().replace("_", "") for option in spec if option != "name")
    name = f"Test{spec['name'].title().replace('-', '')}{options}"
    return type(name, (RuleContract,), {**attributes, "rule": rule})


globals().update({kind.__name__: kind for kind in (contract(*row) for row in TABLE)})


def test_the_table_holds_every_rule_under_names_of_their_own() -> None:
    assert {spec["name"] for spec, _ in TABLE} == set(rule_names())
    assert len({contract(*row).__name__ for row in TABLE}) == len(TABLE)
