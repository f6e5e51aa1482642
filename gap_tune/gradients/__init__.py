"""What is observed: gradients, the coordinate sample, the filter bank and its statistics.

Names load when they are first used: rules need statistics, which need no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gap_tune._lazy import lazily

if TYPE_CHECKING:
    from gap_tune.gradients.monitor import GradientMonitor as GradientMonitor
    from gap_tune.gradients.statistics import DEFAULT_CANDIDATES as DEFAULT_CANDIDATES
    from gap_tune.gradients.statistics import AlignmentStatistics as AlignmentStatistics
else:
    __getattr__, __dir__, __all__ = lazily(
        __name__,
        {
            "gap_tune.gradients.monitor": ["GradientMonitor"],
            "gap_tune.gradients.statistics": ["DEFAULT_CANDIDATES", "AlignmentStatistics"],
        },
    )
