"""The fact about Ray that an upload of an experiment relies on."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.fs
from ray import tune
from ray.train._internal.storage import StorageContext, _FilesystemSyncer

from gap_tune.tune.ray_private.storage.uploading import upload_whole


def test_fact_31_an_experiment_is_uploaded_by_the_managers_syncer(
    ray_address: str, tmp_path: Path
) -> None:
    """A study's folder holds what Ray's own upload would have brought."""
    seen: list[str] = []
    managers: list[Any] = []

    class Spy(tune.Callback):
        def on_step_end(self, iteration: int, trials: list[object], **info: object) -> None:
            seen.append("step")

    class Scheduler(tune.schedulers.FIFOScheduler):
        def on_trial_add(self, tune_controller: object, trial: object) -> None:
            controller = getattr(tune_controller, "_tune_controller", tune_controller)
            assert upload_whole(controller), "Ray keeps the experiment's storage elsewhere"
            first = controller._checkpoint_manager._storage
            assert upload_whole(controller)
            assert controller._checkpoint_manager._storage is first
            seen.append(type(first.syncer).__name__)
            managers.append(controller._checkpoint_manager)

    def train(config: dict[str, float]) -> None:
        for _ in range(3):
            tune.report({"loss": config["x"]})

    results = tune.Tuner(
        tune.with_resources(train, {"cpu": 0.1}),
        param_space={"x": tune.grid_search([1.0, 2.0])},
        tune_config=tune.TuneConfig(scheduler=Scheduler()),
        run_config=tune.RunConfig(
            name="run", storage_path=str(tmp_path), callbacks=[Spy()], verbose=0
        ),
    ).fit()
    assert not results.errors
    assert {"step", "_FilesystemSyncer"} <= set(seen)
    # Ray has asked for both paths, and they are at the end what they were at its first turn.
    kept = managers[0]._storage
    for name in ("experiment_driver_staging_path", "experiment_fs_path"):
        assert vars(kept)[name] == getattr(kept._context, name)
    assert all(len(result.metrics_dataframe) == 3 for result in results)
    assert StorageContext(str(tmp_path), "run").experiment_fs_path == str(tmp_path / "run")
    names = {path.name.partition("-")[0] for path in (tmp_path / "run").iterdir()}
    assert {"experiment_state", "tuner.pkl"} <= names
    again = tune.Tuner.restore(str(tmp_path / "run"), train).get_results()
    assert len(again) == 2


def test_bug_a_first_upload_that_failed_ended_the_study(tmp_path: Path) -> None:
    staging, stored = tmp_path / "staging", tmp_path / "stored"
    staging.mkdir()
    (staging / "experiment_state-1.json").write_text("{}")
    (tmp_path / "file").touch()
    manager = SimpleNamespace(
        _storage=SimpleNamespace(syncer=_FilesystemSyncer(pyarrow.fs.LocalFileSystem()))
    )
    # Ray's own, before any trial was added: what is in the way of its target is a file.
    assert manager._storage.syncer.sync_up(str(staging), str(tmp_path / "file" / "folder"))
    assert upload_whole(SimpleNamespace(_checkpoint_manager=manager))
    assert manager._storage.syncer.sync_up(str(staging), str(stored))
    manager._storage.syncer.wait()
    assert (stored / "experiment_state-1.json").read_text() == "{}"
