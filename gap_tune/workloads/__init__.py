"""Workloads: model, data and loss by name.

Names load when they are first used: what workloads are called is known without torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gap_tune._lazy import lazily

if TYPE_CHECKING:
    from gap_tune.workloads.base import Samples as Samples
    from gap_tune.workloads.base import Splits as Splits
    from gap_tune.workloads.base import Workload as Workload
    from gap_tune.workloads.classification import Classification as Classification
    from gap_tune.workloads.registry import WORKLOADS as WORKLOADS
    from gap_tune.workloads.registry import get_workload as get_workload
else:
    __getattr__, __dir__, __all__ = lazily(
        __name__,
        {
            "gap_tune.workloads.base": ["Samples", "Splits", "Workload"],
            "gap_tune.workloads.classification": ["Classification"],
            "gap_tune.workloads.registry": ["WORKLOADS", "get_workload"],
        },
    )
