"""Population: population based training that keeps what its trials reported, and goes on."""

from __future__ import annotations

import logging
from typing import Any

from ray.tune.schedulers import PopulationBasedTraining

from gap_tune.tune.ray_private import schedulers, watching

logger = logging.getLogger(__name__)


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
        return str(super().on_trial_result(schedulers.Unfinished(tune_controller), trial, result))

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Let the others go on where they waited for this trial only."""
        super().on_trial_error(tune_controller, trial)
        # Ray's private attributes may be others tomorrow; that must cost waiting, not the study.
        try:
            schedulers.end_round_without(self, tune_controller, trial)
        except Exception as error:
            logger.warning("Other trials may wait for the failed %s: %r", trial.trial_id, error)
