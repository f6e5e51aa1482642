"""Arms with several trials on a seed: which one counts, and what is said of them."""

from __future__ import annotations

import dataclasses
from typing import Any

import pandas as pd

from gap_tune.records.records import Records
from gap_tune.report import Comparison, summarise, verdict
from tests.report.conftest import MakeRecords


def with_trials(records: Records, *rows: dict[str, Any], **study: Any) -> Records:
    """Return the records with more trials, each made of what it says and an existing one."""
    first = records.trials.iloc[0].to_dict()
    added = pd.DataFrame([{**first, **row} for row in rows])
    trials = pd.concat([records.trials, added], ignore_index=True)
    return dataclasses.replace(records, study={**records.study, **study}, trials=trials)


def trial(arm: str, loss: float, **rest: Any) -> dict[str, Any]:
    return {"arm": arm, "seed": 0, "trial_id": f"{arm}-{loss}", "validation_loss": loss, **rest}


def test_a_trial_that_was_stopped_counts_only_where_none_was_trained_to_its_end(
    make_records: MakeRecords,
) -> None:
    base = make_records({"gap": {0: 0.2}})
    records = with_trials(
        base,
        trial("asha", 0.1, status="stopped", test_loss=float("nan")),
        trial("asha", 0.3, status="finished", test_loss=0.6),
        trial("median", 0.5, status="stopped", test_loss=float("nan")),
        trial("median", 0.4, status="stopped", test_loss=float("nan")),
        trial("median", 0.1, status="failed"),
    )
    finals = Comparison.of(records).finals["validation_loss"]
    assert finals["asha", 0] == 0.3
    assert finals["median", 0] == 0.4
    summary = summarise(records).set_index("arm")
    assert summary.loc["asha", "test_loss_mean"] == 0.6
    assert summary.loc["asha", "trials"] == 2
    assert summary.loc["asha", "steps"] == 2 * summary.loc["gap", "steps"]
    assert summary.loc["median", "failed"] == 1


def test_a_grid_one_of_whose_trials_failed_can_still_be_the_best_fixed_arm(
    make_records: MakeRecords,
) -> None:
    base = make_records({"gap": {0: 0.2}, "fixed:0.9": {0: 0.4}})
    grid = [trial("fixed:grid", 0.3), trial("fixed:grid", 9.0, status="failed")]
    records = with_trials(base, *grid, shared_trials=4)
    assert Comparison.of(records).best_fixed == "fixed:grid"
    text = verdict(records).text
    assert "fixed:grid's result on a seed is the best of 2 trials by validation_loss" in text


def test_a_run_that_failed_before_it_had_a_trial_has_started_none(
    make_records: MakeRecords,
) -> None:
    base = make_records({"gap": {0: 0.2}, "fixed:0.9": {0: 0.4}})
    failed = {"arm": "optuna", "seed": 0, "trial_id": "", "status": "failed", "steps": 0}
    run = {"folder": "optuna_seed0", "arm": "optuna", "seed": 0}
    records = with_trials(base, failed, runs=[run], open_runs=0, shared_trials=2)
    row = summarise(records).set_index("arm").loc["optuna"]
    assert (row["trials"], row["failed"], row["steps"]) == (0, 1, 0)
    assert "not complete" not in verdict(records).headline
    still = dataclasses.replace(records, study={**records.study, "open_runs": 1})
    assert "1 run to come or to end" in verdict(still).headline
