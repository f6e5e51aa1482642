"""What a result costs the driver: the last of ten thousand trials no more than the first."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from gap_tune import attach
from gap_tune.tune import keys
from tests.tune.scheduled import Study, reported

# Loggers write each result three times; Ray keeps the last one of every trial.
MOST_BYTES = 1_500
# Python's own count, C functions included, which no load of the machine disturbs: a decision takes
# 190, and 60 microseconds where nothing else runs.
MOST_CALLS = 230


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return Study(tmp_path)


def calls(function: Callable[[], Any]) -> int:
    """Return how many functions a function calls, those in C included."""
    found = [0]

    def count(frame: Any, event: str, argument: Any) -> None:
        found[0] += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        function()
    finally:
        sys.setprofile(None)
    return found[0]


def held(thing: Any, seen: set[int] | None = None) -> int:
    """Return how many things gap_tune keeps in an object: entries of all its containers."""
    seen = set() if seen is None else seen
    if id(thing) in seen:
        return 0
    seen.add(id(thing))
    if isinstance(thing, dict):
        return len(thing) + sum(held(each, seen) for each in thing.values())
    if isinstance(thing, (list, set, tuple)) or type(thing).__name__ == "deque":
        return len(thing) + sum(held(each, seen) for each in thing)
    own = type(thing).__module__.startswith("gap_tune")
    return held(vars(thing), seen) if own and hasattr(thing, "__dict__") else 0


def test_a_result_costs_the_same_however_many_trials_there_are(study: Study) -> None:
    trials = [study.add() for _ in range(5)]

    def cost(steps: int) -> int:
        statistics = json.loads(reported()[keys.STATISTICS]) | {"steps": steps}
        result = reported(statistics=json.dumps(statistics), momentum=0.95)
        answer = study.scheduler.on_trial_result
        return calls(lambda: answer(study.controller, trials[0], result))

    # The first opens the log.
    cost(41)
    before = cost(42)
    trials += [study.add() for _ in range(300)]
    for trial in trials[5:]:
        study.report(trial)
    assert abs(cost(43) - before) <= 20, "the log may be opened again, once a second"
    assert min(before, cost(44), cost(45)) <= MOST_CALLS


@pytest.mark.parametrize("ends", ["completed", "failed"])
def test_bug_trials_that_failed_were_never_forgotten(study: Study, ends: str) -> None:
    sizes = []
    for _ in range(20):
        trial = study.add()
        study.report(trial)
        result = reported(loss=float("nan"))
        study.scheduler.on_trial_result(study.controller, trial, result)
        if ends == "failed":
            study.scheduler.on_trial_error(study.controller, trial)
        else:
            study.scheduler.on_trial_complete(study.controller, trial, reported())
        sizes.append(held(study.scheduler))
    assert sizes[-1] == sizes[0]


@pytest.mark.parametrize("width", [10, 100_000])
def test_what_a_report_adds_to_a_result_does_not_grow_with_the_model(width: int) -> None:
    weight = torch.nn.Parameter(torch.randn(width))
    optimizer = torch.optim.SGD([weight], lr=0.1, momentum=0.9)
    trial = attach(optimizer, {"gap": {"mode": "scheduler"}})
    for _ in range(30):
        weight.grad = torch.randn(width)
        optimizer.step()
    assert len(json.dumps(trial.result({"loss": 1.0}))) <= MOST_BYTES
