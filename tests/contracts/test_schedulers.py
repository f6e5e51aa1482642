"""The facts about Ray's trial schedulers, its own and the one that asks gap_tune's."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray import tune
from ray.tune.experiment import Trial
from ray.tune.schedulers import (
    ASHAScheduler,
    FIFOScheduler,
    PopulationBasedTraining,
    ResourceChangingScheduler,
)

from gap_tune.tune.ray_private import schedulers
from tests.contracts.watched import Sender


def test_fact_5_a_scheduler_can_refuse_buffered_results() -> None:
    message = "schedulers can no longer refuse buffered results, with which report() does not wait"
    assert FIFOScheduler().supports_buffered_results is True, message
    assert Sender().supports_buffered_results is False, message


def test_fact_10_a_resource_changing_scheduler_shows_what_it_wraps() -> None:
    inner = ASHAScheduler()
    assert schedulers.base_scheduler(ResourceChangingScheduler(inner)) is inner, (
        "ResourceChangingScheduler no longer has _base_scheduler"
    )


def population(*trials: Trial) -> tuple[PopulationBasedTraining, Any]:
    """Return synchronous population based training of trials, and a controller of theirs."""
    scheduler = PopulationBasedTraining(
        time_attr="training_iteration",
        metric="loss",
        mode="min",
        perturbation_interval=2,
        hyperparam_mutations={"lr": tune.uniform(0.1, 1.0)},
        synch=True,
    )
    controller = SimpleNamespace(
        search_alg=None, get_trials=lambda: list(trials), get_live_trials=lambda: set(trials)
    )
    for trial in trials:
        scheduler.on_trial_add(controller, trial)
    return scheduler, controller


def test_fact_26_a_trial_of_a_population_waits_for_all_that_are_live() -> None:
    first, second, third = (Trial("__fake", stub=True, trial_id=name) for name in "abc")
    scheduler, controller = population(first, second, third)
    result = {"training_iteration": 2, "loss": 1.0}
    assert scheduler._next_perturbation_sync == 2
    for trial in (first, second):
        answer = scheduler.on_trial_result(controller, trial, result)
        assert answer == scheduler.PAUSE, "a trial does not wait for the others"
        assert scheduler._next_perturbation_sync == 2, "a round ended without all trials"
    assert [scheduler._trial_state[t].last_train_time for t in (first, second, third)] == [2, 2, 0]
    schedulers.end_round_without(scheduler, controller, second)
    assert scheduler._next_perturbation_sync == 2, "a round ended before the third has trained"
    third.set_status(Trial.ERROR)
    schedulers.end_round_without(scheduler, controller, third)
    assert scheduler._next_perturbation_sync == 4, "_next_perturbation_sync is gone"


def test_fact_26_a_trial_of_a_population_waits_for_no_others() -> None:
    first, failed = (Trial("__fake", stub=True, trial_id=name) for name in "ab")
    scheduler, controller = population(first, failed)
    failed.set_status(Trial.ERROR)
    asked = schedulers.Unfinished(controller)
    assert asked.get_live_trials() == [first]
    assert asked.get_trials() == [first, failed]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(scheduler, "_checkpoint_or_exploit", lambda *_: None)
        scheduler.on_trial_result(asked, first, {"training_iteration": 2, "loss": 1.0})
    assert scheduler._next_perturbation_sync == 4, "the trial waits for one that has failed"


class LooksAtFailed(FIFOScheduler):  # type: ignore[misc]
    """Notes in which states trials are live."""

    def __init__(self) -> None:
        super().__init__()
        self.live: set[str] = set()

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        self.live.update(trial.status for trial in tune_controller.get_live_trials())
        return super().choose_trial_to_run(tune_controller)


def test_fact_26_trials_that_have_failed_are_live(ray_address: str, tmp_path: Path) -> None:
    def fails_first(config: dict[str, Any]) -> None:
        if config["i"] == 0:
            raise RuntimeError("out of memory")
        tune.report({"loss": 1.0})

    scheduler = LooksAtFailed()
    tune.Tuner(
        fails_first,
        param_space={"i": tune.grid_search([0, 1])},
        tune_config=tune.TuneConfig(scheduler=scheduler, max_concurrent_trials=1),
        run_config=tune.RunConfig(storage_path=str(tmp_path), verbose=0),
    ).fit()
    assert Trial.ERROR in scheduler.live, "failed trials are no longer live: Unfinished can go"
