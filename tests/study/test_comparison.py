"""Comparisons whose arms search: runs of their own, budgets, and what the table says of them."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest

from gap_tune import Study
from gap_tune.report import summarise, summary_table, verdict
from gap_tune.study import Arm, Records, Resources, read_records
from gap_tune.study.methods.optuna import Optuna

# 256 samples in batches of 32; a tenth, 26, is held out for gap-validation.
SMALL: dict[str, Any] = {
    "workload": "quadratic",
    "workload_options": {"dimension": 10, "samples": 256},
    "seeds": 1,
    # One trial at a time: each run starts its processes anew, which takes longer than training.
    "resources": Resources(cpus=2, cpus_per_trial=2),
}
ARMS = ("gap", "gap-trial", "gap-validation", "fixed:0.5|0.9", "optuna:2", "broken")
STEPS = 2 * 7


def rows_of(folder: Path, pattern: str) -> list[list[dict[str, Any]]]:
    """Return what each trial of a run reported, its configuration included."""
    paths = sorted(folder.glob(f"{pattern}/result.json"))
    return [[json.loads(line) for line in path.read_text().splitlines()] for path in paths]


@pytest.fixture(scope="module")
def study(ray_address: str, tmp_path_factory: pytest.TempPathFactory) -> Study:
    broken = Arm("broken", family="prodigy", search=Optuna(2))
    study = Study(
        arms=[*ARMS[:-1], broken],
        epochs=2,
        reports_per_epoch=2,
        storage=tmp_path_factory.mktemp("study"),
        **SMALL,
    )
    study.run()
    return study


@pytest.fixture(scope="module")
def records(study: Study) -> Records:
    return study.records()


@pytest.mark.slow
def test_every_arm_has_its_trials_on_the_same_samples(records: Records) -> None:
    summary = summarise(records).set_index("arm")
    assert list(summary.index) == list(ARMS)
    assert summary["trials"].to_list() == [1, 1, 1, 2, 2, 0]
    assert summary["steps"].to_list() == [STEPS, STEPS, STEPS, 2 * STEPS, 2 * STEPS, 0]
    assert summary["seeds"].to_list() == [1, 1, 1, 1, 1, 0]
    assert summary["test_loss_mean"][:-1].notna().all()


@pytest.mark.slow
def test_a_run_that_fails_as_a_whole_shows_and_the_others_go_on(records: Records) -> None:
    broken = records.trials[records.trials["arm"] == "broken"]
    assert broken["status"].to_list() == ["failed"]
    assert "must have a family with momentum to search, but got prodigy" in broken["error"].item()
    assert summarise(records).set_index("arm").loc["broken", "failed"] == 1
    assert "not complete" not in verdict(records).headline


@pytest.mark.slow
def test_only_gap_validation_is_judged_by_held_out_gradients(records: Records) -> None:
    weights = {
        row["arm"]: json.loads(row["gap/statistics"])["validation_weight"]
        for row in records.trials[records.trials["arm"] != "broken"].to_dict("records")
    }
    assert weights.pop("gap-validation") > 0.0
    assert set(weights.values()) == {0.0}
    assert set(weights) == set(ARMS) - {"gap-validation", "broken"}


@pytest.mark.slow
def test_a_search_begins_with_the_recipe_and_trains_as_the_fixed_arm_does(
    study: Study, records: Records
) -> None:
    searched = rows_of(study.storage / "runs" / "optuna-2_seed0", "optuna-2_seed0_*")
    configs = [rows[0]["config"] for rows in searched]
    (first,) = (c for c in configs if c["lr"] == 0.1)
    (other,) = (c for c in configs if c["lr"] != 0.1)
    assert first["momentum"] == 0.9
    assert 0.01 <= other["lr"] <= 0.3
    assert 0.0 <= other["momentum"] <= 0.99
    assert {c["gap"]["mode"] for c in configs} == {"fixed"}
    trials = records.trials.groupby("arm")["validation_loss"].apply(list)
    grid = rows_of(study.folder, "fixed-0.5-0.9_seed0_*")
    (same,) = (r[-1]["validation_loss"] for r in grid if r[-1]["config"]["momentum"] == 0.9)
    assert same in trials["optuna:2"]


@pytest.mark.slow
def test_the_best_trial_by_validation_stands_for_an_arm(records: Records) -> None:
    trials = records.trials.groupby("arm")["validation_loss"].apply(list)
    summary = summarise(records).set_index("arm")["validation_loss_mean"]
    for arm in ("fixed:0.5|0.9", "optuna:2"):
        assert len(set(trials[arm])) == 2
        assert summary[arm] == min(trials[arm])


@pytest.mark.slow
def test_table_and_study_say_which_budget_is_compared(records: Records) -> None:
    from rich.console import Console

    console = Console(width=80, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(summary_table(records))
    text = " ".join(console.export_text().split())
    assert "Compared: each arm at its own cost." in text
    assert "without the samples held out for gap-validation" in text
    assert records.study["budget"] == "own"


@pytest.mark.slow
def test_what_has_finished_is_not_repeated(study: Study, records: Records) -> None:
    # "broken" cannot be restored by name; what is read of the others must not change.
    again = study.resume()
    assert again.trials["trial_id"].to_list() == records.trials["trial_id"].to_list()
    assert again.results["timestamp"].to_list() == records.results["timestamp"].to_list()


@pytest.mark.slow
def test_a_study_whose_searches_have_not_run_yet_is_incomplete(
    study: Study, tmp_path: Path
) -> None:
    shutil.copytree(study.folder, tmp_path / "experiment")
    early = read_records(tmp_path / "experiment")
    assert set(early.trials["arm"]) == set(ARMS[:4])
    assert verdict(early).headline == (
        "Undecided: the study is not complete, 5 of 5 trials ended, 2 runs to come or to end."
    )


@pytest.fixture(scope="module")
def equal_steps(ray_address: str, tmp_path_factory: pytest.TempPathFactory) -> Study:
    study = Study(
        arms=["gap", "asha", "median", "pbt"],
        budget="steps:4x",
        epochs=4,
        reports_per_epoch=2,
        storage=tmp_path_factory.mktemp("steps"),
        **SMALL,
    )
    study.run()
    return study


@pytest.mark.slow
def test_at_equal_steps_no_arm_spends_more_than_the_others(equal_steps: Study) -> None:
    records = equal_steps.records()
    summary = summarise(records).set_index("arm")
    full = 4 * 8
    assert summary["steps"].loc[["gap", "pbt"]].to_list() == [4 * full, 4 * full]
    assert summary["trials"].loc[["gap", "pbt"]].to_list() == [4, 4]
    for arm in ("asha", "median"):
        own = records.trials[records.trials["arm"] == arm]
        assert 3 * full < own["steps"].sum() <= 4 * full
        stopped = own[own["status"] == "stopped"]
        assert len(own) == 4 + (len(stopped) > 0) * (len(own) - 4)
        assert (stopped["steps"] < full).all()
        assert (own["status"] == "finished").any()
    assert summary["test_loss_mean"].notna().all()
    assert "every arm within the steps of 4 full trials" in records.study["budget_text"]


@pytest.mark.slow
def test_gap_searches_its_learning_rate_where_others_do(equal_steps: Study) -> None:
    trials = rows_of(equal_steps.storage / "runs" / "gap_seed0", "gap_seed0_*")
    assert {rows[0]["config"]["gap"]["mode"] for rows in trials} == {"scheduler"}
    rates = [rows[0]["config"]["lr"] for rows in trials]
    assert 0.1 in rates
    assert len(set(rates)) == 4
    assert all(0.01 <= lr <= 0.3 for lr in rates)


@pytest.mark.slow
def test_what_population_based_training_perturbs_takes_effect(equal_steps: Study) -> None:
    trials = rows_of(equal_steps.storage / "runs" / "pbt_seed0", "pbt_seed0_*")
    changed = 0
    for rows in trials:
        assert [row["gap/steps"] for row in rows] == [4 * (i + 1) for i in range(8)]
        for row in rows:
            assert row["gap/momentum"] == pytest.approx(row["config"]["momentum"])
            assert 0.01 <= row["config"]["lr"] <= 0.3
            assert row["config"]["momentum"] < 1.0
        changed += len({row["config"]["lr"] for row in rows}) > 1
        assert math.isfinite(rows[-1]["test_loss"])
    assert changed
