"""Rules: pure functions from statistics and the present momentum to a Decision, and its record."""

from gap_tune.rules.alignment import AlignmentRule
from gap_tune.rules.base import Decision, MomentumRule, Reason
from gap_tune.rules.fixed import FixedMomentum
from gap_tune.rules.registry import (
    RuleSpec,
    describe_rule,
    get_rule,
    is_rule_name,
    rule_names,
)
from gap_tune.rules.schedule import MomentumSchedule

__all__ = [
    "AlignmentRule",
    "Decision",
    "FixedMomentum",
    "MomentumRule",
    "MomentumSchedule",
    "Reason",
    "RuleSpec",
    "describe_rule",
    "get_rule",
    "is_rule_name",
    "rule_names",
]
