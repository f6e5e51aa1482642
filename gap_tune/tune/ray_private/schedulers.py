"""Schedulers: what Ray's trial schedulers keep to themselves (facts 10 and 26)."""

from __future__ import annotations

from typing import Any

from ray.tune.schedulers import PopulationBasedTraining


def base_scheduler(scheduler: Any) -> Any:
    """Return the scheduler that a ``ResourceChangingScheduler`` wraps; None for others."""
    return getattr(scheduler, "_base_scheduler", None)


class Unfinished:
    """Ray's controller without the trials that have failed, which it still counts as live."""

    def __init__(self, controller: Any) -> None:
        self._controller = controller

    def __getattr__(self, name: str) -> Any:
        return getattr(self._controller, name)

    def get_live_trials(self) -> list[Any]:
        """Return the trials that may still report."""
        live = self._controller.get_live_trials()
        return [trial for trial in live if not trial.is_finished()]


def end_round_without(scheduler: PopulationBasedTraining, controller: Any, failed: Any) -> None:
    """End a round of synchronous population based training that waits for a failed trial only."""
    others = [trial for trial in Unfinished(controller).get_live_trials() if trial is not failed]
    reached = (scheduler._trial_state[trial].last_train_time for trial in others)
    if others and all(time >= scheduler._next_perturbation_sync for time in reached):
        scheduler._next_perturbation_sync += scheduler._perturbation_interval
