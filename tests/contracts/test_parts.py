"""The facts about Ray that can be seen without a study."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ray import tune
from ray.train._internal.session import _TrainingResult
from ray.train._internal.storage import StorageContext
from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Experiment, Trial
from ray.tune.integration import ray_train
from ray.tune.logger import JsonLoggerCallback
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, ResourceChangingScheduler
from ray.tune.search import Searcher, SearchGenerator

from gap_tune.tune.ray_private import delivery, watching
from tests.contracts.watched import Sender


def test_fact_1_a_pending_trial_has_no_actor() -> None:
    trial = Trial("__fake", stub=True)
    assert trial.temporary_state.ray_actor is None, "a pending trial has an actor"


def test_fact_5_a_scheduler_can_refuse_buffered_results() -> None:
    message = "schedulers can no longer refuse buffered results, with which report() does not wait"
    assert FIFOScheduler().supports_buffered_results is True, message
    assert Sender().supports_buffered_results is False, message


def test_fact_8_a_train_run_names_its_checkpoints_in_results() -> None:
    assert ray_train.CHECKPOINT_PATH_KEY == delivery._CHECKPOINT_PATH, (
        "results of a TorchTrainer name its checkpoint by another key"
    )


def test_fact_10_a_resource_changing_scheduler_shows_what_it_wraps() -> None:
    inner = ASHAScheduler()
    assert delivery.base_scheduler(ResourceChangingScheduler(inner)) is inner, (
        "ResourceChangingScheduler no longer has _base_scheduler"
    )


def test_facts_18_and_19_a_trial_is_named_after_the_items_of_the_dicts_in_its_configuration(
    tmp_path: Path,
) -> None:
    class Unnamed(dict[str, Any]):
        def items(self) -> Any:
            callers.append(sys._getframe(1).f_code.co_name)
            return {}.items()

        def __deepcopy__(self, memo: dict[int, Any]) -> Unnamed:
            return Unnamed(self)

    class Suggesting(Searcher):
        def set_search_properties(self, *_: Any, **spec: Any) -> bool:
            told.append(_[2])
            return True

        def suggest(self, trial_id: str) -> dict[str, Any]:
            return {"lr": 0.1, "inner": {"own": Unnamed(a=1)}}

    callers: list[str] = []
    told: list[Any] = []
    space = {"inner": {"x": 1}}
    experiment = Experiment("e", lambda config: None, config=space, storage_path=str(tmp_path))
    generator = SearchGenerator(Suggesting(metric="loss", mode="min"))
    generator.add_configurations(experiment)
    generator.set_search_properties("loss", "min", experiment.spec["config"])
    trial = generator.next_trial()
    assert trial.experiment_tag == "1_x=1,lr=0.1000", "trials are named otherwise"
    assert trial.evaluated_params == {"lr": 0.1}, "what was suggested is shown otherwise"
    named, shown, *_ = callers
    assert (named, shown) == ("_resolve_nested_dict", "flatten_dict")
    assert type(trial.config["inner"]["own"]) is Unnamed, "a suggestion's dicts are replaced"
    assert told[0] is space, "a searcher is told a copy of the space"


def test_fact_13_a_trial_without_a_report_has_no_last_result() -> None:
    trial = Trial("__fake", stub=True, trial_id="a")
    assert delivery.last_result(trial) == {}
    assert trial.last_result == {"trial_id": "a"}, "Ray invents another last result"
    assert delivery.last_result(trial) == {}
    trial.update_last_result({"loss": 1.0, "trial_id": "a"})
    assert delivery.last_result(trial)["loss"] == 1.0, "trial.run_metadata.last_result is gone"


def test_fact_14_a_trial_whose_checkpoint_is_gone_starts_anew(tmp_path: Path) -> None:
    class Controller:
        def _schedule_trial_task(self, *arguments: Any, **more: Any) -> None:
            scheduled.append(more["method_name"])

        _on_restoring_result = _trial_task_failure = None

    trial, scheduled = Trial("__fake", stub=True), []
    folder = tmp_path / "checkpoint_000001"
    folder.mkdir()
    result = _TrainingResult(tune.Checkpoint.from_directory(str(folder)), {})
    trial.run_metadata.checkpoint_manager._latest_checkpoint_result = result
    watching.forget_lost_checkpoint(trial)
    assert TuneController._schedule_trial_restore(Controller(), trial) is True
    folder.rmdir()
    watching.forget_lost_checkpoint(trial)
    message = "Ray finds the checkpoint to start from elsewhere"
    assert TuneController._schedule_trial_restore(Controller(), trial) is False, message
    assert scheduled == ["restore"]


def test_fact_11_loggers_go_on_from_the_storages_copy_of_the_results(
    ray_address: str, tmp_path: Path
) -> None:
    trial = Trial("__fake", stub=True, storage=StorageContext(str(tmp_path), "run"), config={})
    trial.init_local_path()
    stored = Path(trial.storage.trial_fs_path)
    stored.mkdir(parents=True)
    local = Path(trial.local_path, "result.json")
    local.write_text("old\nnew\n")
    (stored / "result.json").write_text("old\n")
    checkpoint = _TrainingResult(tune.Checkpoint.from_directory(str(stored)), {})
    trial.run_metadata.checkpoint_manager.register_checkpoint(checkpoint)
    JsonLoggerCallback().log_trial_start(trial)
    assert local.read_text() == "old\n", "Ray keeps the driver's results: upload_results can go"
    local.write_text("old\nnew\n")
    watching.upload_results(trial)
    JsonLoggerCallback().log_trial_start(trial)
    assert local.read_text() == "old\nnew\n", "results since the last upload are lost"
