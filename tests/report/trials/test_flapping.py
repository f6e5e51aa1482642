"""What is said of momentum that goes to and fro."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gap_tune.records.decisions import tuned_trials
from gap_tune.report.trials.flapping import flapping
from gap_tune.rules import AlignmentRule
from gap_tune.tune.statistics_json import parse_one
from tests.report.conftest import MakeRecords


def said(make_records: MakeRecords, momenta: tuple[float, ...], **changed: Any) -> str:
    records = make_records({"gap": {0: 0.2}}, reports=len(momenta), momenta=momenta)
    records = replace(records, results=records.results.assign(**changed))
    (trial,) = tuned_trials(records)
    return flapping(trial, trial.decisions())


def test_momentum_that_goes_to_and_fro_is_called_noise_and_what_calms_it_is_named(
    make_records: MakeRecords,
) -> None:
    text = said(make_records, (0.9, 0.8) * 6 + (0.9,))
    assert text.startswith("12 changes, 11 of them straight back, between 0.8 and 0.9: noise")
    assert "AlignmentRule(hysteresis=0.5) calms it" in text


def test_the_hysteresis_that_is_named_does_calm_it(make_records: MakeRecords) -> None:
    records = make_records({"gap": {0: 0.2}})
    statistics = parse_one(records.results["gap/statistics"].iloc[0])
    calmed = AlignmentRule(hysteresis=0.5, warmup_steps=0)
    assert AlignmentRule(warmup_steps=0).decide(statistics, 0.9).momentum == 0.8
    assert calmed.decide(statistics, 0.9).momentum == 0.9
    assert calmed.decide(statistics, 0.8).momentum == 0.8


@pytest.mark.parametrize(
    "momenta",
    [
        (0.9,) * 10,
        # A search that goes one way.
        (0.8, 0.9, 0.95, 0.99, 0.99, 0.99),
        # It turned once or twice, as a search does.
        (0.9, 0.8, 0.9, 0.8, 0.9, 0.9, 0.9),
        # Many changes, of which few go straight back.
        (0.8, 0.9, 0.95, 0.99, 0.95, 0.9) * 3,
    ],
)
def test_a_search_that_turns_is_not_called_flapping(
    make_records: MakeRecords, momenta: tuple[float, ...]
) -> None:
    assert said(make_records, momenta) == ""


def test_gains_that_differ_by_much_are_not_called_noise(make_records: MakeRecords) -> None:
    momenta = (0.99, 0.8) * 6 + (0.99,)
    text = said(make_records, momenta)
    assert "more than noise" in text
    assert "min_steps" in text


@pytest.mark.parametrize("text", [None, "{", "[]"])
def test_flapping_is_said_without_statistics_too(make_records: MakeRecords, text: Any) -> None:
    momenta = (0.9, 0.8) * 6 + (0.9,)
    found = said(make_records, momenta, **{"gap/statistics": [text] * len(momenta)})
    assert found.startswith("12 changes")
    assert "hysteresis calms it" in found
