"""Directives that go with the controller's own call, which has a trial train."""

from __future__ import annotations

import gc
from types import SimpleNamespace
from typing import Any
from weakref import ref

import pytest
import ray

from gap_tune.tune.ray_private import delivery
from gap_tune.tune.ray_private.delivery import Directive


class Trains:
    """Returns what it was called with, and the number of the directive that had arrived."""

    def execute(self, function: Any) -> Any:
        return function(self)

    def train(self) -> tuple[int, ...]:
        return self.train_buffered()

    def train_buffered(self, *arguments: int) -> tuple[int, ...]:
        directive = delivery.take("trial")
        return (*arguments, 0 if directive is None else directive.seq)


class TrainsOnly:
    """A class trainable of Ray's, which has no ``execute``."""

    def train(self) -> str:
        return "trained"


@pytest.fixture
def trains(ray_address: str) -> Any:
    return ray.remote(Trains).options(num_cpus=0).remote()


def trial_of(actor: Any) -> Any:
    return SimpleNamespace(trial_id="trial", temporary_state=SimpleNamespace(ray_actor=actor))


def test_a_directive_arrives_with_the_next_call_to_train_and_with_no_other(trains: Any) -> None:
    delivery.send(trial_of(trains), Directive(7), trains=True)
    before = trains.execute.remote(lambda trainable: delivery.take("trial"))
    assert ray.get(before) is None, "it did not wait for the call"
    assert ray.get([trains.train.remote(), trains.train.remote()]) == [(7,), (0,)]


@pytest.mark.parametrize("trains", [True, False])
def test_where_the_controller_trains_in_another_way_later_directives_go_alone(
    ray_address: str, trains: bool
) -> None:
    actor = ray.remote(Trains).options(num_cpus=0).remote()
    delivery.send(trial_of(actor), Directive(7), trains=True)
    # Whoever calls has another handle.
    actor.execute.remote(lambda trainable: trainable.train())
    for seq in (8, 9):
        delivery.send(trial_of(actor), Directive(seq), trains=trains)
        arrived = actor.execute.remote(lambda trainable: trainable.train())
        assert ray.get(arrived) == (seq,)
    assert ray.get(actor.train.remote()) == (0,), "the first one came late"


def test_it_arrives_where_results_are_buffered(trains: Any) -> None:
    delivery.send(trial_of(trains), Directive(7), trains=True)
    assert ray.get(trains.train_buffered.remote(3, 5)) == (3, 5, 7)
    assert ray.get([trains.train.remote(), trains.train_buffered.remote(2)]) == [(0,), (2, 0)]


def test_an_actor_that_cannot_be_told_says_so_at_once_and_trains_on(ray_address: str) -> None:
    actor = ray.remote(TrainsOnly).options(num_cpus=0).remote()
    with pytest.raises(AttributeError, match="execute"):
        delivery.send(trial_of(actor), Directive(7), trains=True)
    assert ray.get(actor.train.remote()) == "trained"


class Unpicklable:
    def __reduce__(self) -> Any:
        raise TypeError("not to be pickled")


def no_class_of_here() -> None:
    raise ImportError("the class is not here")


class Unreadable:
    def __reduce__(self) -> Any:
        return no_class_of_here, ()


def test_bug_a_decision_that_cannot_be_pickled_reached_the_controllers_call(trains: Any) -> None:
    odd: Any = Unpicklable()
    with pytest.raises(TypeError, match="not to be pickled"):
        delivery.send(trial_of(trains), Directive(7, odd), trains=True)
    assert ray.get(trains.train.remote()) == (0,)


def test_bug_a_decision_that_cannot_be_read_failed_the_trial(trains: Any) -> None:
    odd: Any = Unreadable()
    delivery.send(trial_of(trains), Directive(7, odd), trains=True)
    assert ray.get([trains.train.remote(), trains.train.remote()]) == [(0,), (0,)]


def test_a_directive_that_waits_keeps_no_actor_alive(ray_address: str) -> None:
    actor = ray.remote(Trains).options(num_cpus=0).remote()
    ray.get(actor.train.remote())
    gc.disable()
    try:
        delivery.send(trial_of(actor), Directive(7), trains=True)
        weak = ref(actor)
        del actor
        assert weak() is None, "Ray would not end the actor until garbage is collected"
    finally:
        gc.enable()
