"""What TensorBoard, MLflow and W&B are given of one real study, with Ray's own callbacks."""

from __future__ import annotations

import json
import math
import pickle
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from mlflow.tracking import MlflowClient
from ray import tune
from ray.air.integrations.mlflow import MLflowLoggerCallback
from ray.air.integrations.wandb import WandbLoggerCallback
from ray.tune.experiment import Trial
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from wandb.proto.wandb_internal_pb2 import Record

from gap_tune.tune.monitoring import tensorboard
from gap_tune.tune.monitoring.histogram import FOLDER, TAG, MomentumHistogram
from gap_tune.tune.monitoring.tensorboard import DECISION_TAG, TensorBoardSteps
from tests.contracts.insides import StorageContext
from tests.tune.conftest import make_run

REPORTS = 4
SCALARS = ("gap/momentum", "gap/gain", "gap/power", "gap/seq", "gap/steps", "loss")
PLAN: list[dict[str, Any]] = [{"arm": "gap", "seed": seed, "epochs": REPORTS} for seed in (1, 2)]


@dataclass(frozen=True)
class Logged:
    """A study, and where its loggers wrote."""

    results: tune.ResultGrid
    folder: Path
    mlflow: str

    def rows(self) -> dict[int, list[dict[str, Any]]]:
        """Return what each trial reported, by its seed: the oracle."""
        files = Path(self.results.experiment_path).glob("*/result.json")
        trials = [[json.loads(line) for line in f.read_text().splitlines()] for f in files]
        return {rows[0]["config"]["seed"]: rows for rows in trials}


@pytest.fixture(scope="module")
def logged(ray_address: str, tmp_path_factory: pytest.TempPathFactory) -> Logged:
    folder = tmp_path_factory.mktemp("logged")
    uri = f"sqlite:///{folder}/mlflow.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "offline")
        patch.setenv("WANDB_DIR", str(folder))
        callbacks = [
            MomentumHistogram(every_s=0.0),
            TensorBoardSteps(every_s=0.0),
            MLflowLoggerCallback(tracking_uri=uri, experiment_name="gap"),
            # The logging process does not share this one's environment.
            WandbLoggerCallback(project="gap", mode="offline", dir=str(folder)),
        ]
        results = make_run(folder)(PLAN, callbacks=callbacks)
    assert not results.errors
    return Logged(results, folder, uri)


@pytest.mark.slow
def test_tensorboard_has_momentum_gain_and_power_of_every_report(logged: Logged) -> None:
    for result in logged.results:
        rows = logged.rows()[result.config["seed"]]
        events = EventAccumulator(result.path).Reload()
        for key in SCALARS:
            scalars = events.Scalars(f"ray/tune/{key}")
            assert [s.step for s in scalars] == list(range(1, REPORTS + 1))
            assert [s.value for s in scalars] == pytest.approx([row[key] for row in rows])


@pytest.mark.slow
def test_tensorboard_has_every_number_against_optimizer_steps(logged: Logged) -> None:
    for result in logged.results:
        rows = logged.rows()[result.config["seed"]]
        events = EventAccumulator(str(Path(result.path, tensorboard.FOLDER))).Reload()
        steps = [row["gap/steps"] for row in rows]
        assert len(set(steps)) == REPORTS
        for key in SCALARS:
            scalars = events.Scalars(key)
            assert [s.step for s in scalars] == steps
            assert [s.value for s in scalars] == pytest.approx([row[key] for row in rows])
        # Nothing that only Ray counts.
        assert not {"training_iteration", "time_total_s", "pid"} & set(events.Tags()["scalars"])


@pytest.mark.slow
def test_tensorboard_has_decisions_as_text_at_their_steps(logged: Logged) -> None:
    for result in logged.results:
        rows = logged.rows()[result.config["seed"]]
        events = EventAccumulator(str(Path(result.path, tensorboard.FOLDER))).Reload()
        shown = {
            event.step: event.tensor_proto.string_val[0].decode()
            for event in events.Tensors(f"{DECISION_TAG}/text_summary")
        }
        decided = {row["gap/steps"]: row for row in rows if row["gap/decision"]}
        assert shown
        for step, text in shown.items():
            row = decided[step]
            assert text == f"{row['gap/reason']}: {row['gap/decision']}"
        # None is missing that says something new.
        assert set(shown.values()) == {
            f"{row['gap/reason']}: {row['gap/decision']}" for row in decided.values()
        }


@pytest.mark.slow
def test_tensorboard_has_the_momenta_of_the_trials_that_run(logged: Logged) -> None:
    folder = Path(logged.results.experiment_path, FOLDER)
    histograms = EventAccumulator(str(folder), {"histograms": 0}).Reload().Histograms(TAG)
    steps = [histogram.step for histogram in histograms]
    assert steps == sorted(set(steps))
    # No trial ends unseen.
    assert steps[-1] == len(PLAN) * REPORTS
    reported = {row["gap/momentum"] for rows in logged.rows().values() for row in rows}
    for histogram in histograms:
        value = histogram.histogram_value
        assert 1 <= value.num <= len(PLAN)
        assert {value.min, value.max} <= reported
    assert {h.histogram_value.min for h in histograms} | {
        h.histogram_value.max for h in histograms
    } == reported


@pytest.mark.slow
def test_mlflow_is_given_settings_and_every_report(logged: Logged) -> None:
    client = MlflowClient(logged.mlflow)
    experiment = client.get_experiment_by_name("gap")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    assert {int(run.data.params["seed"]) for run in runs} == {1, 2}
    for run in runs:
        assert run.info.status == "FINISHED"
        assert run.data.params["arm"] == "gap"
        assert run.data.params["gap/mode"] == "scheduler"
        rows = logged.rows()[int(run.data.params["seed"])]
        for key in SCALARS:
            history = sorted(client.get_metric_history(run.info.run_id, key), key=lambda m: m.step)
            assert [metric.step for metric in history] == list(range(1, REPORTS + 1))
            assert [metric.value for metric in history] == pytest.approx([r[key] for r in rows])


@pytest.mark.slow
def test_wandb_is_given_settings_and_every_report(logged: Logged) -> None:
    files = list(logged.folder.rglob("run-*.wandb"))
    assert len(files) == len(PLAN)
    for file in files:
        config, history = offline_run(file)
        assert config["arm"] == "gap"
        rows = logged.rows()[config["seed"]]
        for key in SCALARS:
            assert [row[key] for row in history] == pytest.approx([row[key] for row in rows])
        assert [row["gap/reason"] for row in history if "gap/reason" in row] == []


def offline_run(file: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the settings and the reports that an offline run has on disk."""
    config: dict[str, Any] = {}
    history: list[dict[str, Any]] = []
    for data in records(file.read_bytes()):
        record = Record()
        record.ParseFromString(data)
        for update in (*record.run.config.update, *record.config.update):
            config[update.key or "/".join(update.nested_key)] = json.loads(update.value_json)
        items = record.history.item
        if items:
            history.append(
                {i.key or "/".join(i.nested_key): json.loads(i.value_json) for i in items}
            )
    return config, history


def records(data: bytes) -> Iterator[bytes]:
    """Yield the records of a W&B file: a header of 7 bytes, then a log as LevelDB writes it."""
    block, head, whole, last = 32768, 7, 1, 4
    place, parts = head, b""
    while place + head <= len(data):
        left = block - place % block
        if left < head:
            place += left
            continue
        length, kind = struct.unpack_from("<HB", data, place + 4)
        place += head
        parts += data[place : place + length]
        place += length
        if kind in (whole, last):
            yield parts
            parts = b""


def test_a_histogram_goes_on_counting_when_the_study_is_restored() -> None:
    before = MomentumHistogram()
    before.set_state({"reports": 7})
    after = pickle.loads(pickle.dumps(before))
    after.set_state(before.get_state())
    assert after.get_state() == {"reports": 7}


def make_trial(folder: Path) -> Any:
    storage = StorageContext(str(folder), "run", trial_dir_name="trial")
    return Trial("__fake", stub=True, trial_id="t1", storage=storage)


def test_a_trial_that_goes_back_to_a_checkpoint_takes_back_what_it_wrote_beyond_it(
    tmp_path: Path,
) -> None:
    trial, callback = make_trial(tmp_path), TensorBoardSteps(every_s=0.0)

    def report(steps: int, loss: float) -> None:
        result = {"gap/steps": steps, "loss": loss, "training_iteration": steps}
        callback.on_trial_result(0, [], trial, result)

    for steps, loss in ((10, 1.0), (20, 0.9), (30, 0.8), (20, 0.7), (30, 0.6)):
        report(steps, loss)
    # A study that was killed saves its callbacks, and goes on with others.
    callback.on_experiment_end([])
    callback = pickle.loads(pickle.dumps(callback))
    report(40, 0.5)
    report(50, math.nan)
    callback.on_trial_complete(0, [], trial)
    events = EventAccumulator(str(next(tmp_path.rglob(tensorboard.FOLDER)))).Reload()
    shown = {scalar.step: scalar.value for scalar in events.Scalars("loss")}
    assert shown == pytest.approx({10: 1.0, 20: 0.7, 30: 0.6, 40: 0.5})


def test_results_without_steps_and_trials_without_a_folder_cost_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    callback = TensorBoardSteps()
    callback.on_trial_result(0, [], make_trial(tmp_path), {"loss": 1.0})
    lost = make_trial(tmp_path)
    lost.storage = None
    callback.on_trial_result(0, [], lost, {"loss": 1.0, "gap/steps": 3})
    callback.on_trial_complete(0, [], lost)
    callback.on_experiment_end([])
    assert not list(tmp_path.rglob(tensorboard.FOLDER))
    assert not caplog.records


def test_a_folder_that_cannot_be_written_does_not_end_the_study(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trial = make_trial(tmp_path)
    folder = Path(trial.storage.trial_fs_path)
    folder.parent.mkdir(parents=True, exist_ok=True)
    # A file in the folder's place: permissions do not stop the superuser.
    folder.write_text("")
    TensorBoardSteps().on_trial_result(0, [], trial, {"loss": 1.0, "gap/steps": 3})
    assert "TensorBoardSteps.on_trial_result failed" in caplog.text
