"""Loops over epochs: each a range, and after a resume the rest of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from gap_tune.errors import InvalidValueError
from gap_tune.tune.trial import checkpointing
from gap_tune.tune.trial.session import TrialSession
from tests.tune.alone import session, weight

Function = Callable[[TrialSession], Iterator[Any]]


def two_loops(trial: TrialSession) -> Iterator[Any]:
    for epoch in trial.epochs(3):
        yield "pre-training", epoch
    for epoch in trial.epochs(3):
        yield "fine-tuning", epoch


def early_stop(trial: TrialSession) -> Iterator[Any]:
    for epoch in trial.epochs(10):
        yield "first", epoch
        if epoch == 2:
            break
    for epoch in trial.epochs(2):
        yield "second", epoch


def nested(trial: TrialSession) -> Iterator[Any]:
    for outer in trial.epochs(3):
        for inner in trial.epochs(2):
            yield "a", outer, inner
        for inner in trial.epochs(2):
            yield "b", outer, inner
    for epoch in trial.epochs(2):
        yield "last", epoch


def repeated(trial: TrialSession) -> Iterator[Any]:
    for turn in range(3):
        for epoch in trial.epochs(2):
            yield turn, epoch


def make() -> TrialSession:
    return session(torch.optim.SGD([weight()], lr=0.1, momentum=0.9))


@pytest.mark.parametrize("function", [two_loops, early_stop, nested, repeated])
def test_bug_a_second_loop_over_epochs_yielded_nothing(function: Function) -> None:
    class Ranges:
        def epochs(self, count: int) -> Iterator[int]:
            return iter(range(count))

    expected = list(function(Ranges()))  # type: ignore[arg-type]
    assert list(function(make())) == expected
    assert len(expected) in (6, 5, 14)


@pytest.mark.parametrize("function", [two_loops, early_stop, nested, repeated])
def test_a_trial_that_resumes_does_what_was_left_and_no_more(
    function: Function, tmp_path: Path
) -> None:
    everything = list(function(make()))
    for done in range(1, len(everything) + 1):
        first = make()
        running = function(first)
        for _ in range(done):
            next(running)
        first.save(tmp_path, whole=True)
        second = make()
        second.load(tmp_path)
        rest = list(function(second))
        if function is early_stop and done == 3:
            # Whether to stop early is asked after an epoch, and that epoch was done.
            assert rest[:2] == [("first", 3), ("first", 4)]
        else:
            assert rest == everything[done:], done


def test_a_trial_that_resumes_twice_is_as_far_as_it_was(tmp_path: Path) -> None:
    for done in range(6):
        trial = make()
        if done:
            trial.load(tmp_path)
        # Kept: one that is thrown away is a loop that was left.
        running = two_loops(trial)
        assert next(running) == (("pre-training", "fine-tuning")[done // 3], done % 3)
        trial.save(tmp_path, whole=True)


def test_a_checkpoint_between_two_loops_continues_with_the_second(tmp_path: Path) -> None:
    trial = make()
    for epoch in trial.epochs(5):
        if epoch == 1:
            break
    trial.save(tmp_path, whole=True)
    again = make()
    again.load(tmp_path)
    assert list(again.epochs(5)) == []
    assert list(again.epochs(2)) == [0, 1]


def test_an_iterator_that_is_kept_goes_on_after_a_break() -> None:
    epochs = make().epochs(4)
    for epoch in epochs:
        if epoch == 1:
            break
    assert list(epochs) == [2, 3]


def test_a_wrong_count_is_refused_where_it_is_written() -> None:
    with pytest.raises(InvalidValueError, match="epochs must be an integer of at least 1, but got"):
        make().epochs(0)


def test_a_checkpoint_of_an_earlier_version_has_one_loop(tmp_path: Path) -> None:
    trial = make()
    trial.save(tmp_path, whole=True)
    state: dict[str, Any] = checkpointing.read(tmp_path, {})
    del state["epochs"]
    state["epoch"] = 3
    torch.save(state, tmp_path / checkpointing.FILE)
    again = make()
    again.load(tmp_path)
    assert list(again.epochs(5)) == [3, 4]
    assert list(again.epochs(2)) == [0, 1]
