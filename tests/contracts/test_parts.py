"""The facts about Ray that can be seen without a study."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ray import tune
from ray.train._internal.session import _TrainingResult
from ray.train._internal.storage import StorageContext
from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial
from ray.tune.integration import ray_train
from ray.tune.logger import JsonLoggerCallback

from gap_tune.tune.ray_private import results, watching
from gap_tune.tune.ray_private.storage import checkpoints


def test_fact_1_a_pending_trial_has_no_actor() -> None:
    trial = Trial("__fake", stub=True)
    assert trial.temporary_state.ray_actor is None, "a pending trial has an actor"


def test_fact_8_a_train_run_names_its_checkpoints_in_results() -> None:
    assert ray_train.CHECKPOINT_PATH_KEY == results._CHECKPOINT_PATH, (
        "results of a TorchTrainer name its checkpoint by another key"
    )


def test_fact_13_a_trial_without_a_report_has_no_last_result() -> None:
    trial = Trial("__fake", stub=True, trial_id="a")
    assert results.last_result(trial) == {}
    assert trial.last_result == {"trial_id": "a"}, "Ray invents another last result"
    assert results.last_result(trial) == {}
    trial.update_last_result({"loss": 1.0, "trial_id": "a"})
    assert results.last_result(trial)["loss"] == 1.0, "trial.run_metadata.last_result is gone"


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
    checkpoints.replace_lost_checkpoint(trial)
    assert TuneController._schedule_trial_restore(Controller(), trial) is True
    folder.rmdir()
    checkpoints.replace_lost_checkpoint(trial)
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
