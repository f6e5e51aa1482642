"""gap_tune: momentum for Ray Tune studies, read off the gradients that training computes.

``import gap_tune`` and ``import gap_tune.optim`` do not import Ray; the names that need it are
loaded when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from gap_tune import _moved
from gap_tune.control import apply_momentum
from gap_tune.gradients import DEFAULT_CANDIDATES, AlignmentStatistics, GradientMonitor
from gap_tune.rules import (
    AlignmentRule,
    Decision,
    FixedMomentum,
    MomentumRule,
    MomentumSchedule,
    Reason,
)

if TYPE_CHECKING:
    from gap_tune.study import Study as Study
    from gap_tune.tune import GapScheduler as GapScheduler
    from gap_tune.tune import GapSearch as GapSearch
    from gap_tune.tune import GapTrainable as GapTrainable
    from gap_tune.tune import TrialSession as TrialSession
    from gap_tune.tune import attach as attach
    from gap_tune.tune.probe import probe as probe

__version__ = "0.1.0"

_NEED_RAY = {
    "GapScheduler": "gap_tune.tune",
    "GapSearch": "gap_tune.tune",
    "GapTrainable": "gap_tune.tune",
    "Study": "gap_tune.study",
    "TrialSession": "gap_tune.tune",
    "attach": "gap_tune.tune",
    # Not by way of gap_tune.tune, where the module of that name hides the function.
    "probe": "gap_tune.tune.probe",
}

__all__ = [
    "DEFAULT_CANDIDATES",
    "AlignmentRule",
    "AlignmentStatistics",
    "Decision",
    "FixedMomentum",
    "GapScheduler",
    "GapSearch",
    "GapTrainable",
    "GradientMonitor",
    "MomentumRule",
    "MomentumSchedule",
    "Reason",
    "Study",
    "TrialSession",
    "apply_momentum",
    "attach",
    "probe",
]


_moved.install()


def __getattr__(name: str) -> Any:
    if name in _NEED_RAY:
        return getattr(import_module(_NEED_RAY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
