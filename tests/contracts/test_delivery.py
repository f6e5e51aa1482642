"""The facts about Ray that delivery rests on; a new Ray that breaks one fails here by name."""

from __future__ import annotations

import pytest
from ray.tune.experiment import Trial

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


def test_fact_3_what_is_sent_at_a_result_is_there_when_that_report_returns(
    outcome: Outcome,
) -> None:
    for i, row in enumerate(outcome.undisturbed):
        assert row["notes"] == ["start"] + [f"after {j}" for j in range(i)], (
            "report() returned before the scheduler's message of that result had arrived"
        )


def test_fact_4_a_report_waits_for_the_scheduler(outcome: Outcome) -> None:
    waited = min(row["waited"] for row in outcome.undisturbed)
    assert waited >= PAUSE_S, "report() does not wait for the scheduler"


def test_fact_5_the_scheduler_sees_a_result_before_that_report_returns(outcome: Outcome) -> None:
    for row in outcome.undisturbed[1:]:
        assert row["notes"][-1] == f"after {row['i'] - 1}", "on_trial_result runs after report()"


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


def test_fact_36_after_a_result_train_of_the_trials_own_handle_is_called(outcome: Outcome) -> None:
    scheduler = outcome.scheduler
    assert len(scheduler.went_on) >= 2 * (ROUNDS - 1)
    assert sorted(scheduler.trained) == sorted(scheduler.went_on), (
        "the controller has a trial train in another way than by its handle's train"
    )
