"""summarise against numbers worked out by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pandas as pd
import pytest

from gap_tune.records.records import Records
from gap_tune.report import summarise, write_csv
from gap_tune.report.evidence.paired import PairedDifference


def row(records: Records, arm: str) -> dict:
    return summarise(records).set_index("arm").loc[arm].to_dict()


def test_mean_and_standard_error_over_seeds(make_records):
    gap = row(make_records({"gap": {0: 0.2, 1: 0.4, 2: 0.9}, "fixed:0.9": {0: 1.0}}), "gap")
    # Deviations -0.3, -0.1, 0.4 from 0.5: variance (0.09 + 0.01 + 0.16) / 2 = 0.13.
    assert gap["seeds"] == 3
    assert gap["validation_loss_mean"] == pytest.approx(0.5)
    assert gap["validation_loss_se"] == pytest.approx(math.sqrt(0.13 / 3))
    assert gap["test_loss_mean"] == pytest.approx(1.0)
    assert gap["test_loss_se"] == pytest.approx(2 * math.sqrt(0.13 / 3))


def test_arms_keep_the_order_of_the_study_and_metrics_start_with_its_own(full_study):
    summary = summarise(full_study)
    assert summary["arm"].tolist() == list(full_study.study["arms"])
    means = [name for name in summary if name.endswith("_mean")]
    assert means[0] == "validation_loss_mean"
    assert sorted(means[1:]) == ["test_accuracy_mean", "test_loss_mean", "validation_accuracy_mean"]


def test_regret_is_paired_over_the_seeds_that_both_finished(make_records):
    records = make_records(
        {
            "gap": {0: 0.5, 1: 0.7, 2: 9.0},
            "fixed:0.9": {0: 0.4, 1: 0.4, 3: 0.1},
            "fixed:0": {0: 5.0},
        }
    )
    gap = row(records, "gap")
    # Pairs on seeds 0 and 1: 0.1 and 0.3, so mean 0.2 and error 0.1 * sqrt(2) / sqrt(2).
    assert (gap["regret"], gap["regret_se"]) == pytest.approx((0.2, 0.1))
    assert gap["regret_seeds"] == 2
    assert row(records, "fixed:0.9")["regret"] == 0.0


@pytest.mark.parametrize(("mode", "regret"), [("min", 0.1), ("max", -0.1)])
def test_positive_regret_is_worse_in_either_mode(make_records, mode, regret):
    finals = {"gap": {0: 0.5, 1: 0.6}, "fixed:0.9": {0: 0.4, 1: 0.5}}
    assert row(make_records(finals, mode=mode), "gap")["regret"] == pytest.approx(regret)


def test_best_fixed_arm_is_the_highest_when_the_metric_is_maximised(make_records):
    records = make_records({"fixed:0": {0: 0.5, 1: 0.5}, "fixed:0.9": {0: 0.7, 1: 0.7}}, mode="max")
    assert row(records, "fixed:0.9")["regret"] == 0.0
    assert row(records, "fixed:0")["regret"] == pytest.approx(0.2)


def test_an_arm_that_failed_on_a_seed_does_not_become_best_by_the_other(make_records):
    records = make_records(
        {"fixed:0.9": {0: 0.3, 1: 0.5}, "fixed:0.99": {0: 0.2, 1: 0.2}},
        failed={("fixed:0.99", 1): "boom"},
    )
    assert row(records, "fixed:0.9")["regret"] == 0.0
    assert row(records, "fixed:0.99")["failed"] == 1


def test_best_fixed_arm_is_chosen_on_common_seeds_while_a_study_runs(make_records):
    # On seed 0, which both finished, fixed:0.9 is better; fixed:0 has an easy seed 1 on top.
    records = make_records({"fixed:0": {0: 0.5, 1: 0.1}, "fixed:0.9": {0: 0.4}})
    assert row(records, "fixed:0.9")["regret"] == 0.0


def test_failed_and_unfinished_trials_cost_but_do_not_count(make_records):
    records = make_records(
        {"gap": {0: 0.2, 1: 0.0, 2: 0.0}, "fixed:0.9": {0: 0.3}},
        failed={("gap", 1): "boom"},
        unfinished=[("gap", 2)],
    )
    gap = row(records, "gap")
    assert (gap["seeds"], gap["trials"], gap["failed"], gap["steps"]) == (1, 3, 1, 120)
    assert gap["validation_loss_mean"] == pytest.approx(0.2)


def test_of_several_trials_on_one_seed_the_best_stands_with_all_its_metrics(make_records):
    records = make_records({"optuna": {0: 0.5, 1: 0.3}, "fixed:0.9": {0: 0.4}})
    records = replace(records, trials=records.trials.assign(seed=0))
    optuna = row(records, "optuna")
    assert (optuna["seeds"], optuna["trials"]) == (1, 2)
    assert (optuna["validation_loss_mean"], optuna["test_loss_mean"]) == pytest.approx((0.3, 0.6))


@pytest.mark.parametrize("value", [math.nan, math.inf, "n/a", None])
def test_a_metric_that_is_no_finite_number_is_missing(make_records, value):
    records = make_records({"gap": {0: 0.2, 1: 0.4}, "fixed:0.9": {0: 0.3}})
    trials = records.trials.astype({"test_loss": object, "validation_loss": object})
    trials.loc[1, ["test_loss", "validation_loss"]] = value
    assert row(replace(records, trials=trials), "gap")["seeds"] == 1
    assert row(replace(records, trials=trials), "gap")["test_loss_mean"] == pytest.approx(0.4)


def test_studies_without_test_metrics_without_results_and_without_trials(make_records):
    without = summarise(make_records({"gap": {0: 0.2}}, test_metrics=False))
    assert not [name for name in without if name.startswith("test_")]
    records = make_records({"gap": {}, "fixed:0.9": {}})
    summary = summarise(records)
    assert summary["trials"].tolist() == [0, 0]
    assert summary["validation_loss_mean"].isna().all()


def test_a_difference_needs_two_seeds_for_an_error(make_records):
    one = PairedDifference.between(pd.Series({0: 0.3}), pd.Series({0: 0.2, 1: 0.1}), "min")
    assert one.mean == pytest.approx(0.1)
    assert math.isnan(one.standard_error)
    assert not one.has_spread


def test_csv_files_hold_the_three_tables(full_study, tmp_path):
    paths = write_csv(full_study, tmp_path / "new")
    assert [path.name for path in paths] == ["results.csv", "trials.csv", "summary.csv"]
    tables = {path.stem: pd.read_csv(path) for path in paths}
    assert len(tables["results"]) == len(full_study.results)
    assert len(tables["trials"]) == 21
    pd.testing.assert_frame_equal(
        tables["summary"], summarise(full_study), check_dtype=False, check_exact=False
    )
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == sorted(
        path.name for path in paths
    )
