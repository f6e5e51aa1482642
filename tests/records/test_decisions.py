"""Decisions read back from reports."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gap_tune.records.decisions import tuned_trials

MALFORMED = [
    None,
    float("nan"),
    "",
    "{",
    "[]",
    "[" * 100_000,
    '{"version": 2}',
    '{"version": 1, "steps": Infinity}',
    7,
]


def test_runs_of_kept_momentum_are_one_line(make_records):
    momenta = (0.9, 0.9, 0.9, 0.8, 0.8, 0.95)
    records = make_records({"gap": {0: 0.2}}, reports=6, momenta=momenta)
    runs = tuned_trials(records)[0].decisions()
    seen = [(r.first_step, r.last_step, r.previous, r.momentum, r.reason, r.count) for r in runs]
    assert seen == [
        (10, 20, 0.9, 0.9, "already best", 2),
        (30, 30, 0.9, 0.8, "best gain", 1),
        (40, 40, 0.8, 0.8, "already best", 1),
        (50, 50, 0.8, 0.95, "best gain", 1),
    ]
    assert [run.changed for run in runs] == [False, True, False, True]


def test_reports_on_which_nothing_was_decided_add_none(make_records):
    records = make_records({"gap": {0: 0.2}}, reports=4)
    records.results["gap/reason"] = ["best gain", "", float("nan"), ""]
    assert [run.first_step for run in tuned_trials(records)[0].decisions()] == [10]


def test_what_a_trial_decides_itself_shows_in_the_report_after_it(make_records):
    records = make_records({"gap": {0: 0.2}}, reports=4, momenta=(0.9, 0.8, 0.8, 0.95))
    records.results["gap/mode"] = "trial"
    records.results["gap/reason"] = ["warm-up", "best gain", "hysteresis", "bounds"]
    runs = tuned_trials(records)[0].decisions()
    assert [(r.first_step, r.previous, r.momentum, r.reason) for r in runs] == [
        (10, 0.9, 0.8, "best gain"),
        (30, 0.8, 0.95, "bounds"),
    ]


def test_statistics_are_paired_with_the_momentum_chosen_from_them(make_records):
    records = make_records({"gap": {0: 0.2}}, reports=3, momenta=(0.9, 0.8, 0.95))
    judged = tuned_trials(records)[0].judged(5)
    assert [(step, chosen) for step, _, chosen in judged] == [(10, 0.8), (20, 0.95)]
    # J = sqrt(1 - 0.64) * (0.3 * 2 + 0.8 * 1), by hand.
    assert judged[0][1].gain()[0] == pytest.approx(0.6 * 1.4)


def test_a_few_decisions_are_spread_from_the_first_to_the_last(make_records):
    judged = tuned_trials(make_records({"gap": {0: 0.2}}, reports=10))[0].judged(3)
    assert [step for step, _, _ in judged] == [10, 50, 90]


@pytest.mark.parametrize("text", MALFORMED)
def test_malformed_statistics_are_left_out(make_records, text):
    records = make_records({"gap": {0: 0.2}}, reports=3)
    results = records.results.astype({"gap/statistics": object})
    results.at[0, "gap/statistics"] = text
    judged = tuned_trials(replace(records, results=results))[0].judged(5)
    assert [step for step, _, _ in judged] == [20]


def test_fixed_arms_and_foreign_results_have_no_tuned_trials(make_records):
    assert tuned_trials(make_records({"fixed:0.9": {0: 0.2}})) == []
    records = make_records({"gap": {0: 0.2}})
    assert tuned_trials(replace(records, results=records.results[["arm", "seed"]])) == []
    assert tuned_trials(replace(records, results=records.results[:0])) == []


def test_reports_without_numbers_for_momentum_are_left_out(make_records):
    records = make_records({"gap": {0: 0.2}}, reports=3)
    results = records.results.astype({"gap/momentum": object})
    results.at[0, "gap/momentum"] = "high"
    assert len(tuned_trials(replace(records, results=results))[0].rows) == 2
