"""Ray Tune integration: trial sessions, the searcher, the scheduler, callbacks.

Names load when they are first used: a trial's process needs the session only, and every process
that a study starts waits for these imports.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gap_tune.rules.recorded import RecordedDecision as RecordedDecision
    from gap_tune.rules.recorded import read_decisions as read_decisions
    from gap_tune.tune.integrations.trainable import GapTrainable as GapTrainable
    from gap_tune.tune.scheduling.scheduler import GapScheduler as GapScheduler
    from gap_tune.tune.search import GapSearch as GapSearch
    from gap_tune.tune.trial.attaching import attach as attach
    from gap_tune.tune.trial.session import TrialSession as TrialSession

_MODULES = {
    "GapScheduler": "gap_tune.tune.scheduling.scheduler",
    "GapSearch": "gap_tune.tune.search",
    "GapTrainable": "gap_tune.tune.integrations.trainable",
    "RecordedDecision": "gap_tune.rules.recorded",
    "TrialSession": "gap_tune.tune.trial.session",
    "attach": "gap_tune.tune.trial.attaching",
    "read_decisions": "gap_tune.rules.recorded",
}

__all__ = [
    "GapScheduler",
    "GapSearch",
    "GapTrainable",
    "RecordedDecision",
    "TrialSession",
    "attach",
    "read_decisions",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
