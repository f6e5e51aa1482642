"""Population: population based training that keeps what its trials reported."""

from __future__ import annotations

import logging
from typing import Any

from ray.tune.schedulers import PopulationBasedTraining

from gap_tune.tune import delivery

logger = logging.getLogger(__name__)


class Population(PopulationBasedTraining):
    """``PopulationBasedTraining`` whose trials lose no results when they pause.

    It pauses trials all the time, and Ray's loggers begin anew with what was uploaded last: up to
    ten seconds of results would be missing from ``result.json`` after every pause.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        # Trials that have reported to this driver.
        self._reported: set[str] = set()

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Ask to be told when trials start."""
        # Ray's private attributes may be others tomorrow; that must cost results, not the study.
        try:
            delivery.watch_trials(tune_controller, started=self._upload, reported=self._note)
        except Exception as error:
            logger.warning("Results of paused trials may be missing: %r", error)
        super().on_trial_add(tune_controller, trial)

    def _note(self, trial: Any, result: dict[str, Any]) -> None:
        self._reported.add(trial.trial_id)

    def _upload(self, trial: Any) -> None:
        try:
            # After a restore of the study the storage's copy is the one to go on from.
            if trial.trial_id in self._reported:
                delivery.upload_results(trial)
        except Exception as error:
            logger.warning("Results of trial %s may be missing: %r", trial.trial_id, error)
