"""FIFO: Ray's, without looking at trials that have ended (fact 15)."""

from __future__ import annotations

from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler

# In the order in which Ray's looks for them.
_WAITING = (Trial.PENDING, Trial.PAUSED)


class LiveFIFO(FIFOScheduler):
    """Runs trials in the order in which they were added, as ``FIFOScheduler`` does.

    Ray's asks every trial that there ever was, twice in each of its turns: in a study of thousands
    of short trials that takes longer than all that is decided about momentum.
    """

    def __init__(self) -> None:
        super().__init__()
        # Places of the trials that live, by the trial's id.
        self._numbers: dict[str, int] = {}
        self._added = 0

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Give the trial its place."""
        self._added += 1
        self._numbers.setdefault(trial.trial_id, self._added)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Forget the trial; if it is tried again it is added again, as the last one."""
        self._numbers.pop(trial.trial_id, None)

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Forget the trial."""
        self._numbers.pop(trial.trial_id, None)

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        """Forget the trial."""
        self._numbers.pop(trial.trial_id, None)

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """Return the first trial that is pending, else the first that is paused, or None."""
        # Where a controller has no such method, this is as slow as Ray's own.
        trials = getattr(tune_controller, "get_live_trials", tune_controller.get_trials)()
        # In most turns every trial runs, and each is looked at once.
        waiting = [trial for trial in trials if trial.status in _WAITING]
        return min(waiting, key=self._turn, default=None)

    def _turn(self, trial: Any) -> tuple[int, int]:
        place = self._numbers.get(trial.trial_id, self._added)
        return _WAITING.index(trial.status), place


def runs_in_order(scheduler: Any) -> bool:
    """Tell whether a scheduler leaves it to Ray's FIFO which trial runs, as ASHA does."""
    chooses = type(scheduler).choose_trial_to_run
    return bool(chooses is FIFOScheduler.choose_trial_to_run)
