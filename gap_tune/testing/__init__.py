"""Contracts that your own rules, workloads and optimizers inherit: tests for pytest, ready to run.

Nothing else in gap_tune imports this package, and only it imports pytest.
"""

import pytest

# Before they are imported: failed assertions of inherited tests then say what was compared.
pytest.register_assert_rewrite(
    *(f"gap_tune.testing.{name}" for name in ("optimizers", "rules", "saving", "workloads"))
)

from gap_tune.testing.host_reads import HostReads  # noqa: E402
from gap_tune.testing.optimizers import OptimizerContract  # noqa: E402
from gap_tune.testing.rules import RuleContract  # noqa: E402
from gap_tune.testing.statistics import make_statistics  # noqa: E402
from gap_tune.testing.workloads import WorkloadContract  # noqa: E402

__all__ = ["HostReads", "OptimizerContract", "RuleContract", "WorkloadContract", "make_statistics"]
