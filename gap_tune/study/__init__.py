"""Studies: arms compared with paired seeds at a stated budget, and their records.

Names load when they are first used: what an arm is called is known without Ray.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gap_tune._lazy import lazily

if TYPE_CHECKING:
    from gap_tune.records.records import Records as Records
    from gap_tune.records.studies import read_records as read_records
    from gap_tune.study.arms import Arm as Arm
    from gap_tune.study.budget import ArmBudget as ArmBudget
    from gap_tune.study.grammar import parse_arm as parse_arm
    from gap_tune.study.methods.base import Search as Search
    from gap_tune.study.methods.base import SearchMethod as SearchMethod
    from gap_tune.study.methods.base import SearchTask as SearchTask
    from gap_tune.study.resources import Resources as Resources
    from gap_tune.study.study import Study as Study
    from gap_tune.study.suite.continuing import run_suite as run_suite
    from gap_tune.study.suite.pool import PoolRunner as PoolRunner
    from gap_tune.study.suite.ray_tune import RayRunner as RayRunner
    from gap_tune.study.suite.runner import Runner as Runner
    from gap_tune.study.suite.suite import Job as Job
    from gap_tune.study.suite.suite import Suite as Suite
else:
    __getattr__, __dir__, __all__ = lazily(
        __name__,
        {
            "gap_tune.records.records": ["Records"],
            "gap_tune.records.studies": ["read_records"],
            "gap_tune.study.arms": ["Arm"],
            "gap_tune.study.budget": ["ArmBudget"],
            "gap_tune.study.grammar": ["parse_arm"],
            "gap_tune.study.methods.base": ["Search", "SearchMethod", "SearchTask"],
            "gap_tune.study.resources": ["Resources"],
            "gap_tune.study.study": ["Study"],
            "gap_tune.study.suite.continuing": ["run_suite"],
            "gap_tune.study.suite.pool": ["PoolRunner"],
            "gap_tune.study.suite.ray_tune": ["RayRunner"],
            "gap_tune.study.suite.runner": ["Runner"],
            "gap_tune.study.suite.suite": ["Job", "Suite"],
        },
    )
