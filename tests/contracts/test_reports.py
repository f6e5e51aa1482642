"""The facts about Ray's reports and checkpoints, seen from the process that makes them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import ray.train
from ray import tune
from ray.train._internal.session import shutdown_session
from ray.train._internal.storage import StorageContext
from ray.train.torch import TorchTrainer
from ray.tune.trainable.function_trainable import wrap_function

from gap_tune.tune.ray_private import owners, trainables, workers


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., tune.Trainable]]:
    """Return what starts a function as a trial of a name, in this process."""

    def started(function: Callable[[dict[str, Any]], None], name: str) -> tune.Trainable:
        shutdown_session()
        storage = StorageContext(str(tmp_path), experiment_dir_name="e", trial_dir_name=name)
        return wrap_function(function)(config={}, storage=storage)

    yield started
    shutdown_session()


class SavesNothing(tune.Trainable):  # type: ignore[misc]
    def step(self) -> dict[str, object]:
        return {"loss": 1.0, "done": self.iteration == 2}

    def save(self, checkpoint_dir: str | None = None) -> object:
        return trainables.no_checkpoint(self)


def test_fact_16_a_class_trainable_may_save_without_a_checkpoint(
    ray_address: str, tmp_path: Path
) -> None:
    (result,) = tune.Tuner(
        SavesNothing,
        run_config=tune.RunConfig(
            storage_path=str(tmp_path),
            verbose=0,
            checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=1),
        ),
    ).fit()
    assert result.error is None, "a save without a checkpoint fails the trial"
    assert result.metrics["training_iteration"] == 3
    assert result.checkpoint is None


def test_fact_17_a_worker_can_finish_a_report_whose_checkpoint_was_not_stored() -> None:
    # What it does with them: tests/faults/test_full_temporary_folder.py.
    context = pytest.importorskip("ray.train.v2._internal.execution.context").TrainContext
    assert callable(context._upload_checkpoint), "_upload_checkpoint is gone"
    assert callable(context._wait_then_report), "_wait_then_report is gone"
    assert "report_call_index" in context.__annotations__, "reports are counted otherwise"


def test_fact_21_each_start_of_a_function_can_be_told_from_others(
    ray_address: str, tmp_path: Path, start: Callable[..., tune.Trainable]
) -> None:
    seen: list[tuple[object, object]] = []

    def twice(config: dict[str, object]) -> None:
        before = tune.get_checkpoint()
        seen.append((owners.start_of_function(), before))
        tune.report({"i": 0}, checkpoint=tune.Checkpoint.from_directory(str(tmp_path / "own")))
        seen.append((owners.start_of_function(), tune.get_checkpoint()))

    (tmp_path / "own").mkdir()
    assert owners.start_of_function() is None, "there is a session outside of any trial"
    for name in "ab":
        trainable = start(twice, name)
        assert trainable.train()["i"] == 0
        assert "__duplicate__" in trainable.train()
    (first, none), (same, reported), (other, again), _ = seen
    assert first is same is not None, "a function's session is another one after a report"
    assert other is not first, "two starts share a session"
    assert none is again is None
    assert reported is not None, "a function is not handed what it has reported"


def test_fact_25_a_class_trainable_has_its_latest_result_and_outside_of_tune_no_storage() -> None:
    trainable = SavesNothing()
    assert not trainables.is_stored(trainable), "a trainable outside of Tune has a storage"
    assert trainables.no_checkpoint(trainable).metrics == {}
    result = trainable.train()
    assert trainables.no_checkpoint(trainable).metrics == result, "_last_result is gone"


def test_fact_25_a_class_trainable_has_a_storage_in_tune(ray_address: str, tmp_path: Path) -> None:
    storage = StorageContext(str(tmp_path), experiment_dir_name="e", trial_dir_name="a")
    assert trainables.is_stored(SavesNothing(storage=storage)), "_storage is gone"


def test_fact_27_a_report_whose_checkpoint_cannot_be_stored_may_be_repeated_without(
    ray_address: str,
    start: Callable[..., tune.Trainable],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    def reports(config: dict[str, object]) -> None:
        for i in range(2):
            with tempfile.TemporaryDirectory() as folder:
                try:
                    tune.report({"i": i}, checkpoint=tune.Checkpoint.from_directory(folder))
                except OSError:
                    tune.report({"i": i, "again": True})

    monkeypatch.setattr(StorageContext, "persist_current_checkpoint", full)
    trainable = start(reports, "a")
    for i in range(2):
        result = trainable.train()
        assert (result["i"], result["again"]) == (i, True), "a failed report has sent something"
    assert "__duplicate__" in trainable.train()


def test_fact_28_neither_this_process_nor_a_plain_trials_is_a_worker(
    ray_address: str, start: Callable[..., tune.Trainable]
) -> None:
    def reports(config: dict[str, object]) -> None:
        tune.report({"worker": workers.is_worker()})

    assert not workers.is_worker(), "a process without a trial is taken for a worker"
    assert start(reports, "a").train()["worker"] is False, "a trial is taken for a worker"


@pytest.mark.slow
def test_fact_28_a_worker_of_ray_train_is_one(ray_address: str, tmp_path: Path) -> None:
    def tells() -> None:
        (tmp_path / "worker").write_text(str(workers.is_worker()))

    TorchTrainer(tells, run_config=ray.train.RunConfig(storage_path=str(tmp_path))).fit()
    assert (tmp_path / "worker").read_text() == "True", "a worker is not known as one"
