"""The facts about Ray that delivery rests on; a new Ray that breaks one fails here by name."""

from __future__ import annotations

from pathlib import Path

import pytest
from ray import tune
from ray.train._internal.session import shutdown_session
from ray.train._internal.storage import StorageContext
from ray.tune.experiment import Trial
from ray.tune.trainable.function_trainable import wrap_function

from gap_tune.tune.ray_private import delivery
from tests.contracts import watched
from tests.contracts.watched import DIES_AT, PAUSE_S, ROUNDS, Outcome


@pytest.fixture(scope="module")
def outcome(ray_address: str, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return watched.run(tmp_path_factory.mktemp("contract"))


def test_fact_1_the_trial_exposes_its_actor_while_a_result_is_processed(outcome: Outcome) -> None:
    assert all(outcome.scheduler.actors), "trial.temporary_state.ray_actor is gone"


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


def test_fact_9_a_file_in_the_staging_folder_arrives_in_the_experiment_folder(
    outcome: Outcome,
) -> None:
    file = outcome.folder / "extra.jsonl"
    assert file.exists(), "files in the driver's staging folder are not uploaded"
    assert file.read_text() == "kept\n"


def test_fact_12_what_is_added_to_a_result_is_written_and_kept(outcome: Outcome) -> None:
    for row in outcome.undisturbed + outcome.died:
        assert row.get("added") == row["i"], "loggers write a result without what was added to it"
    assert set(outcome.scheduler.kept) >= set(range(ROUNDS - 1)), "last_result lacks what was added"


def test_fact_15_trials_that_wait_are_live_and_ended_ones_are_not(outcome: Outcome) -> None:
    there, live = outcome.scheduler.there, outcome.scheduler.live
    assert min(there[Trial.PENDING], there[Trial.TERMINATED]) > 0
    assert live[Trial.PENDING] == there[Trial.PENDING], "trials that wait are not all live"
    assert live[Trial.TERMINATED] == 0, "trials that have ended are live"


class SavesNothing(tune.Trainable):  # type: ignore[misc]
    def step(self) -> dict[str, object]:
        return {"loss": 1.0, "done": self.iteration == 2}

    def save(self, checkpoint_dir: str | None = None) -> object:
        return delivery.no_checkpoint(self._last_result)


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
    ray_address: str, tmp_path: Path
) -> None:
    seen: list[tuple[object, object]] = []

    def twice(config: dict[str, object]) -> None:
        before = tune.get_checkpoint()
        seen.append((delivery.start_of_function(), before))
        tune.report({"i": 0}, checkpoint=tune.Checkpoint.from_directory(str(tmp_path / "own")))
        seen.append((delivery.start_of_function(), tune.get_checkpoint()))

    (tmp_path / "own").mkdir()
    assert delivery.start_of_function() is None, "there is a session outside of any trial"
    for name in "ab":
        shutdown_session()
        storage = StorageContext(str(tmp_path), experiment_dir_name="e", trial_dir_name=name)
        trainable = wrap_function(twice)(config={}, storage=storage)
        assert trainable.train()["i"] == 0
        assert "__duplicate__" in trainable.train()
    shutdown_session()
    (first, none), (same, reported), (other, again), _ = seen
    assert first is same is not None, "a function's session is another one after a report"
    assert other is not first, "two starts share a session"
    assert none is again is None
    assert reported is not None, "a function is not handed what it has reported"
