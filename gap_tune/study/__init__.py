"""Studies: arms compared with paired seeds at a stated budget, and their records."""

from gap_tune.records.studies import Records, read_records
from gap_tune.study.arms import Arm
from gap_tune.study.budget import ArmBudget
from gap_tune.study.grammar import parse_arm
from gap_tune.study.methods.base import Search, SearchMethod, SearchTask
from gap_tune.study.resources import Resources
from gap_tune.study.study import Study

__all__ = [
    "Arm",
    "ArmBudget",
    "Records",
    "Resources",
    "Search",
    "SearchMethod",
    "SearchTask",
    "Study",
    "parse_arm",
    "read_records",
]
