"""Studies: arms compared with paired seeds at a stated budget, and their records."""

from gap_tune.records.records import Records
from gap_tune.records.studies import read_records
from gap_tune.study.arms import Arm, parse_arm
from gap_tune.study.budget import Budget
from gap_tune.study.resources import Resources
from gap_tune.study.study import Study

__all__ = ["Arm", "Budget", "Records", "Resources", "Study", "parse_arm", "read_records"]
