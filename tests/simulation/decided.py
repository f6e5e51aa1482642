"""A real study's suggestions and decisions once more, so that only its time is simulated.

What a searcher suggests and a scheduler stops depends on the order in which results arrive, and so
on chance: two runs of one study train for different times.
"""

from __future__ import annotations

import json
from typing import Any

from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import ConcurrencyLimiter, Searcher

from gap_tune.simulation.replay.recorded_search import RecordedSearch
from tests.simulation.calls import Calls


def decided_search(calls: Calls, searcher: Any) -> Searcher:
    """Return what suggests once more, with at most as many trials at once as the searcher allows.

    Args:
        calls: What the real study asked of its parts.
        searcher: Its searcher.
    """
    decided = RecordedSearch([json.loads(call.answer) for call in calls.of("search.suggest")])
    if not isinstance(searcher, ConcurrencyLimiter):
        return decided
    return ConcurrencyLimiter(decided, max_concurrent=searcher.max_concurrent)


class DecidedScheduler(FIFOScheduler):
    """Decides as a scheduler decided of the same trial's same report.

    Args:
        calls: What the real study asked of its parts.
    """

    def __init__(self, calls: Calls) -> None:
        super().__init__()
        self._numbers: dict[str, int] = {}
        self._actions = {
            (call.trial, call.report): call.answer for call in calls.of("scheduler.on_trial_result")
        }

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        self._numbers.setdefault(trial.trial_id, len(self._numbers))

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        return self._actions[self._numbers[trial.trial_id], result["training_iteration"]]
