"""Population: population based training that keeps what its trials reported, and goes on."""

from __future__ import annotations

import logging
from typing import Any

from ray.tune.schedulers import PopulationBasedTraining

from gap_tune.tune.ray_private import watching

logger = logging.getLogger(__name__)


class _Alive:
    """Ray's controller without the trials that have failed, which it still counts as live."""

    def __init__(self, controller: Any) -> None:
        self._controller = controller

    def __getattr__(self, name: str) -> Any:
        return getattr(self._controller, name)

    def get_live_trials(self) -> list[Any]:
        """Return the trials that may still report."""
        live = self._controller.get_live_trials()
        return [trial for trial in live if not trial.is_finished()]


class Population(PopulationBasedTraining):
    """Synchronous ``PopulationBasedTraining`` that neither loses results nor waits for the dead.

    It pauses trials all the time, and Ray's loggers begin anew with what was uploaded last: up to
    ten seconds of results would be missing from ``result.json`` after every pause. And where one
    trial has failed for good, Ray's own lets all others wait for it without end.
    """

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Have what trials report kept."""
        # Ray's private attributes may be others tomorrow; that must cost results, not the study.
        try:
            watching.watch_trials(tune_controller)
        except Exception as error:
            logger.warning("Results of paused trials may be missing: %r", error)
        super().on_trial_add(tune_controller, trial)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Wait for the trials that still run, and for no others."""
        return str(super().on_trial_result(_Alive(tune_controller), trial, result))

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Let the others go on where they waited for this trial only."""
        super().on_trial_error(tune_controller, trial)
        # Ray's private attributes may be others tomorrow; that must cost waiting, not the study.
        try:
            others = [t for t in _Alive(tune_controller).get_live_trials() if t is not trial]
            if others and all(map(self._has_arrived, others)):
                self._next_perturbation_sync += self._perturbation_interval
        except Exception as error:
            logger.warning("Other trials may wait for the failed %s: %r", trial.trial_id, error)

    def _has_arrived(self, trial: Any) -> bool:
        return bool(self._trial_state[trial].last_train_time >= self._next_perturbation_sync)
