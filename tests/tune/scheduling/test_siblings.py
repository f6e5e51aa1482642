"""Trials that differ in their seed only share their statistics."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import replace

import pytest
from ray.tune.experiment import Trial

from tests.tune.scheduled import (
    NOT_A_NUMBER,
    OTHER,
    STATISTICS,
    Keeps,
    Study,
)


def test_siblings_share_their_statistics(study: Callable[..., Study]) -> None:
    rule = Keeps()
    s = study(pool="siblings", rule=rule)
    own, sibling = s.add(seed=0), s.add(seed=1, momentum=0.5)
    s.report(sibling, statistics=json.dumps(OTHER.to_dict()), steps=50)
    s.report(own)
    merged = STATISTICS.merge(OTHER)
    # Rules go by the trial's own steps.
    assert rule.asked[-1] == replace(merged, steps=40)
    assert own.last_result["gap/decision"].endswith("Pooled over 2 trials.")


def test_by_default_each_trial_is_judged_by_itself(study: Callable[..., Study]) -> None:
    rule = Keeps()
    s = study(rule=rule)
    own, sibling = s.add(seed=0), s.add(seed=1)
    s.report(sibling, statistics=json.dumps(OTHER.to_dict()))
    s.report(own)
    assert rule.asked[-1] == STATISTICS


def test_other_trials_are_no_siblings(study: Callable[..., Study]) -> None:
    rule = Keeps()
    s = study(pool="siblings", rule=rule)
    own = s.add(seed=0, layers=[1, 2])
    ended = s.add(seed=5, layers=[1, 2])
    strangers = [
        s.add(seed=1, layers=[1, 3]),
        s.add(seed=2, layers=[1, 2], lr=0.2),
        s.add(seed=3, layers=[1, 2], mode="fixed"),
        s.add(seed=4, layers=[1, 2], extra=0),
        ended,
    ]
    for other in strangers:
        s.report(other, statistics=json.dumps(OTHER.to_dict()))
    ended.status = Trial.TERMINATED
    s.report(own)
    assert rule.asked[-1] == STATISTICS


@pytest.mark.parametrize(("steps", "taken"), [(19, False), (20, True), (80, True), (81, False)])
def test_siblings_far_ahead_or_behind_are_left_out(
    study: Callable[..., Study], steps: int, taken: bool
) -> None:
    rule = Keeps()
    s = study(pool="siblings", rule=rule)
    own, sibling = s.add(seed=0), s.add(seed=1)
    s.report(sibling, statistics=json.dumps(replace(OTHER, steps=steps).to_dict()))
    s.report(own)
    assert (rule.asked[-1].weight == 8.0) is taken


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "x" * 10**7,
        json.dumps(NOT_A_NUMBER),
        json.dumps(replace(OTHER, candidates=(0.1, 0.2, 0.3, 0.4)).to_dict()),
        json.dumps(replace(OTHER, dimension=11).to_dict()),
    ],
)
def test_a_sibling_with_unusable_statistics_is_left_out_with_a_warning(
    study: Callable[..., Study], caplog: pytest.LogCaptureFixture, text: str
) -> None:
    rule = Keeps()
    s = study(pool="siblings", rule=rule)
    own, good, bad = (s.add(seed=seed) for seed in range(3))
    with caplog.at_level(logging.WARNING):
        s.report(bad, statistics=text)
        s.report(good, statistics=json.dumps(OTHER.to_dict()))
        s.report(own)
    assert own.last_result["gap/reason"] == "fixed"
    assert rule.asked[-1] == replace(STATISTICS.merge(OTHER), steps=40)
    (warning,) = (r.message for r in caplog.records if "sibling" in r.message)
    assert "t2" in warning


def test_the_key_of_the_seed_can_be_another(study: Callable[..., Study]) -> None:
    rule = Keeps()
    s = study(pool="siblings", seed_key="rng", rule=rule)
    own, sibling = s.add(rng=0), s.add(rng=1)
    s.report(sibling)
    s.report(own)
    assert rule.asked[-1].weight == 8.0
