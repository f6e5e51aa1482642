"""The facts about Ray that delivery rests on; a new Ray that breaks one fails here by name."""

from __future__ import annotations

import builtins
import json
import os
import pickle
import signal
import time
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.fs
import pytest
import ray
from ray import tune
from ray.experimental import internal_kv
from ray.train._internal.session import _TrainingResult
from ray.train._internal.storage import StorageContext
from ray.tune.experiment import Trial
from ray.tune.logger import JsonLoggerCallback
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, ResourceChangingScheduler

# gap_tune is imported where it is needed: trials import this module, and torch takes seconds.

ROUNDS = 5
DIES_AT = 3
PAUSE_S = 0.05
NAMESPACE = "gap_tune"


def note(text: str, trainable: Any) -> None:
    """Write into the process that runs it, in order."""
    from ray.tune.trainable import FunctionTrainable

    notes().append((text, str(isinstance(trainable, FunctionTrainable))))


def notes() -> list[tuple[str, str]]:
    if not hasattr(builtins, "gap_tune_notes"):
        builtins.gap_tune_notes = []  # type: ignore[attr-defined]
    kept: list[tuple[str, str]] = builtins.gap_tune_notes  # type: ignore[attr-defined]
    return kept


def function(config: dict[str, Any]) -> None:
    """Report what has arrived in this process; one trial dies once, and goes on."""
    waited, start = PAUSE_S, 0
    arrived = notes()[:]
    checkpoint = tune.get_checkpoint()
    if checkpoint is not None:
        with checkpoint.as_directory() as kept:
            start = json.loads(Path(kept, "i").read_text()) + 1
    for i in range(start, ROUNDS):
        if config["marker"] and i == DIES_AT and checkpoint is None:
            os.kill(os.getpid(), signal.SIGKILL)
        folder = Path(f"state_{i}")
        folder.mkdir()
        (folder / "i").write_text(json.dumps(i))
        letter = internal_kv._internal_kv_get(str(config["marker"]), namespace=NAMESPACE)
        before = time.monotonic()
        tune.report(
            {
                "i": i,
                "waited": waited,
                "notes": [text for text, _ in notes()],
                "called_with_it": [yes for _, yes in notes()],
                "before_training": [text for text, _ in arrived],
                "letter": letter.decode() if letter else "",
                "nested": {"i": i},
            },
            checkpoint=tune.Checkpoint.from_directory(str(folder.absolute())),
        )
        waited = time.monotonic() - before


class Sender(FIFOScheduler):  # type: ignore[misc]
    """Sends a note at every start and result, after a pause that a trial must wait for."""

    _supports_buffered_results = False

    def __init__(self) -> None:
        super().__init__()
        self.actors: list[bool] = []
        self.installed: list[bool] = []
        self.starts: list[tuple[bool, dict[str, Any] | None]] = []
        self.decided: list[int] = []
        self.kept: list[int | None] = []

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        from gap_tune.tune import watching

        self.installed.append(
            watching.watch_trials(tune_controller, started=self.on_start, reported=self.on_report)
        )
        super().on_trial_add(tune_controller, trial)

    def on_start(self, trial: Any) -> None:
        from gap_tune.tune import delivery

        self.starts.append((trial.config["marker"], delivery.checkpoint_metrics(trial)))
        trial.temporary_state.ray_actor.execute.remote(partial(note, "start"))
        key = str(trial.config["marker"])
        internal_kv._internal_kv_put(key, b"from the driver", namespace=NAMESPACE)
        file = delivery.experiment_file(trial, "extra.jsonl")
        assert file is not None
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("kept\n")

    def on_report(self, trial: Any, result: dict[str, Any]) -> None:
        result["added"] = self.decided.pop()

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        self.decided.append(result["i"])
        self.kept.append((trial.last_result or {}).get("added"))
        actor = trial.temporary_state.ray_actor
        self.actors.append(isinstance(actor, ray.actor.ActorHandle))
        time.sleep(PAUSE_S)
        if actor is not None:
            actor.execute.remote(partial(note, f"after {result['i']}"))
        return str(super().on_trial_result(tune_controller, trial, result))


class Outcome:
    """What a study of an undisturbed trial and one that dies has left."""

    def __init__(self, folder: Path, scheduler: Sender, grid: tune.ResultGrid) -> None:
        self.folder, self.scheduler = folder / "bucket" / "run", scheduler
        self.undisturbed, self.died = (self.reported(result) for result in grid)

    def reported(self, result: tune.Result) -> list[dict[str, Any]]:
        path = self.folder / Path(result.path).name / "result.json"
        return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def outcome(ray_address: str, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    folder, scheduler = tmp_path_factory.mktemp("contract"), Sender()
    local = pyarrow.fs.LocalFileSystem()
    grid = tune.Tuner(
        function,
        param_space={"marker": tune.grid_search([False, True])},
        tune_config=tune.TuneConfig(metric="i", mode="max", scheduler=scheduler),
        run_config=tune.RunConfig(
            name="run",
            # Any file system but the local one is remote to Ray.
            storage_path="bucket",
            storage_filesystem=pyarrow.fs.SubTreeFileSystem(str(folder), local),
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=1),
        ),
    ).fit()
    assert not grid.errors, grid.errors
    return Outcome(folder, scheduler, grid)


def test_fact_1_the_trial_exposes_its_actor_while_a_result_is_processed(outcome: Outcome) -> None:
    assert all(outcome.scheduler.actors), "trial.temporary_state.ray_actor is gone"


def test_fact_1_a_pending_trial_has_no_actor() -> None:
    trial = Trial("__fake", stub=True)
    assert trial.temporary_state.ray_actor is None, "a pending trial has an actor"


def test_fact_2_execute_runs_a_function_on_the_trainable(outcome: Outcome) -> None:
    called_with_it = outcome.undisturbed[-1]["called_with_it"]
    assert set(called_with_it) == {"True"}, "execute() did not pass the trial's trainable"


def test_facts_3_to_5_what_is_sent_at_a_result_is_there_when_that_report_returns(
    outcome: Outcome,
) -> None:
    for i, row in enumerate(outcome.undisturbed):
        assert row["notes"] == ["start"] + [f"after {j}" for j in range(i)], (
            "report() returned before the scheduler's message of that result had arrived"
        )


def test_fact_4_a_report_waits_for_the_scheduler(outcome: Outcome) -> None:
    waited = min(row["waited"] for row in outcome.undisturbed)
    assert waited >= PAUSE_S, "report() does not wait for the scheduler"


def test_fact_5_a_scheduler_can_refuse_buffered_results() -> None:
    message = "schedulers can no longer refuse buffered results, with which report() does not wait"
    assert FIFOScheduler().supports_buffered_results is True, message
    assert Sender().supports_buffered_results is False, message


def test_fact_6_what_the_driver_puts_into_the_internal_kv_is_there_in_other_processes(
    outcome: Outcome,
) -> None:
    letters = {row["letter"] for row in outcome.undisturbed + outcome.died}
    assert letters == {"from the driver"}, "internal KV: a trial's process cannot read an entry"


def test_fact_7_a_call_can_be_installed_and_runs_when_a_trial_starts(outcome: Outcome) -> None:
    assert all(outcome.scheduler.installed), "the controller's CallbackList is gone"
    died = [marker for marker, _ in outcome.scheduler.starts]
    assert sorted(died) == [False, True, True], "on_trial_start is not called once per start"


def test_fact_7_what_is_sent_when_a_trial_starts_is_there_before_it_trains(
    outcome: Outcome,
) -> None:
    restarted = outcome.died[DIES_AT:]
    assert len(outcome.died) == ROUNDS
    for row in outcome.undisturbed + restarted:
        assert row["before_training"] == ["start"], (
            "the training function began before what on_trial_start sent had arrived"
        )


def test_fact_8_a_restarted_trial_has_the_result_that_came_with_its_checkpoint(
    outcome: Outcome,
) -> None:
    metrics = [metrics for _, metrics in outcome.scheduler.starts]
    (last,) = [m for m in metrics if m is not None]
    expected = {**outcome.died[DIES_AT - 1], "nested/i": DIES_AT - 1}
    del expected["nested"]
    seen = {key: last.get(key) for key in ("i", "notes", "nested/i")}
    assert seen == {key: expected[key] for key in seen}, (
        "trial.latest_checkpoint_result.metrics is not the result of the last checkpoint"
    )


def test_fact_8_a_train_run_names_its_checkpoints_in_results() -> None:
    from ray.tune.integration import ray_train

    from gap_tune.tune import delivery

    assert ray_train.CHECKPOINT_PATH_KEY == delivery._CHECKPOINT_PATH, (
        "results of a TorchTrainer name its checkpoint by another key"
    )


def test_fact_9_a_file_in_the_staging_folder_arrives_in_the_experiment_folder(
    outcome: Outcome,
) -> None:
    file = outcome.folder / "extra.jsonl"
    assert file.exists(), "files in the driver's staging folder are not uploaded"
    assert file.read_text() == "kept\n"


def test_fact_10_a_resource_changing_scheduler_shows_what_it_wraps() -> None:
    from gap_tune.tune import delivery

    inner = ASHAScheduler()
    assert delivery.base_scheduler(ResourceChangingScheduler(inner)) is inner, (
        "ResourceChangingScheduler no longer has _base_scheduler"
    )


def test_fact_12_what_is_added_to_a_result_is_written_and_kept(outcome: Outcome) -> None:
    for row in outcome.undisturbed + outcome.died:
        assert row.get("added") == row["i"], "loggers write a result without what was added to it"
    assert set(outcome.scheduler.kept) >= set(range(ROUNDS - 1)), "last_result lacks what was added"


def test_a_mailbox_keeps_a_directive_until_it_is_cleared(ray_address: str) -> None:
    from gap_tune import Decision, Reason
    from gap_tune.tune import delivery

    trial = running_trial()
    sent = delivery.Directive(3, Decision(0.9, 0.8, Reason.BEST_GAIN, "Best."))
    assert delivery.send(trial, sent, mailbox="box")
    assert delivery.wait("box", 2, 0.0) is None
    assert delivery.wait("box", 3, 0.0) == delivery.wait("box", 3, 0.0) == sent
    delivery.clear("box")
    assert delivery.wait("box", 3, 0.05) is None


def test_a_failure_reaches_whoever_waits_for_a_decision(ray_address: str) -> None:
    from gap_tune.tune import delivery

    failure = delivery.Directive(0, failure="loss is NaN")
    delivery.send(running_trial(), failure, mailbox="failing")
    assert delivery.wait("failing", 7, 1.0) == failure
    delivery.clear("failing")


def test_an_installed_call_replaces_the_one_before_and_leaves_the_users_list_alone() -> None:
    from ray.tune.callback import CallbackList

    from gap_tune.tune import watching

    class Controller:
        def __init__(self, callbacks: list[tune.Callback]) -> None:
            self._callbacks = CallbackList(callbacks)

    mine = [tune.Callback()]
    controller, called = Controller(mine), []
    for name in ("first", "second"):
        assert watching.watch_trials(
            controller,
            started=lambda trial, n=name: called.append((n, trial)),
            reported=lambda trial, result, n=name: called.append((n, trial, result)),
        )
    trial = Trial("__fake", stub=True)
    controller._callbacks.on_trial_start(iteration=0, trials=[], trial=trial)
    controller._callbacks.on_trial_result(iteration=0, trials=[], trial=trial, result={"i": 1})
    assert called == [("second", trial), ("second", trial, {"i": 1})]
    assert len(mine) == 1
    assert len(pickle.loads(pickle.dumps(controller._callbacks._callbacks))) == 2
    assert not watching.watch_trials(None, started=print, reported=print)


def test_fact_13_a_trial_without_a_report_has_no_last_result() -> None:
    from gap_tune.tune import delivery

    trial = Trial("__fake", stub=True, trial_id="a")
    assert delivery.last_result(trial) == {}
    assert trial.last_result == {"trial_id": "a"}, "Ray invents another last result"
    assert delivery.last_result(trial) == {}
    trial.update_last_result({"loss": 1.0, "trial_id": "a"})
    assert delivery.last_result(trial)["loss"] == 1.0, "trial.run_metadata.last_result is gone"


def test_fact_14_a_trial_whose_checkpoint_is_gone_starts_anew(tmp_path: Path) -> None:
    from ray.tune.execution.tune_controller import TuneController

    from gap_tune.tune import watching

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


def test_what_a_trial_has_reported_is_uploaded_when_it_starts_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from ray.tune.callback import CallbackList

    from gap_tune.tune import watching

    def upload(trial: Any) -> None:
        uploaded.append(trial.trial_id)
        raise OSError("no connection")

    class Controller:
        _callbacks = CallbackList([])

    controller, uploaded = Controller(), []
    monkeypatch.setattr(watching, "upload_results", upload)
    trials = [Trial("__fake", stub=True, trial_id=name) for name in ("a", "b")]
    for trial in trials:
        watching.watch_trials(controller)
        controller._callbacks.on_trial_start(iteration=0, trials=[], trial=trial)
        controller._callbacks.on_trial_result(iteration=0, trials=[], trial=trial, result={})
    # Neither has started anew yet; asking again has not made it forget.
    assert uploaded == []
    watching.watch_trials(controller)
    controller._callbacks.on_trial_start(iteration=0, trials=[], trial=trials[0])
    assert uploaded == ["a"]
    assert "Results of trial a may be missing: OSError('no connection')" in caplog.text
    controller._callbacks.on_trial_complete(iteration=0, trials=[], trial=trials[0])
    controller._callbacks.on_trial_error(iteration=0, trials=[], trial=trials[1])
    for trial in trials:
        controller._callbacks.on_trial_start(iteration=0, trials=[], trial=trial)
    assert uploaded == ["a"]


def running_trial() -> Any:
    trial = Trial("__fake", stub=True)
    trial.temporary_state.ray_actor = object()
    return trial


def test_fact_11_loggers_go_on_from_the_storages_copy_of_the_results(
    ray_address: str, tmp_path: Path
) -> None:
    from gap_tune.tune import watching

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
