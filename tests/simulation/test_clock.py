"""Clock: time never goes back, and each message is taken once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gap_tune.simulation.clock import Clock, Message

plans = st.lists(st.tuples(st.floats(0.0, 100.0), st.floats(0.0, 5.0), st.booleans()), max_size=30)


def nothing() -> None:
    """Do nothing."""


@given(plans, st.integers(0, 9))
def test_each_message_is_taken_once_when_the_driver_is_free(
    planned: list[tuple[float, float, bool]], seed: int
) -> None:
    clock, taken = Clock(seed), []
    sent = [clock.send(at, Message(nothing, cost, urgent)) for at, cost, urgent in planned]
    before = 0.0
    while (message := clock.next_message()) is not None:
        assert clock.now - message.seconds >= before - 1e-6
        assert message.arrived is not None
        assert clock.now >= message.arrived + message.seconds - 1e-6
        # Nobody who waited before it was more urgent.
        if not message.urgent:
            started = clock.now - message.seconds
            left = [each for each in sent if each.urgent and id(each) not in set(map(id, taken))]
            arrivals = {id(each): at for each, (at, _, _) in zip(sent, planned, strict=True)}
            assert all(arrivals[id(each)] > started - 1e-6 for each in left)
        before = clock.now
        taken.append(message)
    assert sorted(map(id, taken)) == sorted(map(id, sent))
    assert clock.busy == pytest.approx(sum(message.seconds for message in taken))


def test_messages_that_wait_are_taken_in_any_order_and_the_same_by_seed() -> None:
    def order(seed: int) -> list[float]:
        clock = Clock(seed)
        sent = [clock.send(1.0, Message(nothing)) for _ in range(20)]
        places = {id(message): place for place, message in enumerate(sent)}
        return [places[id(message)] for message in iter(clock.next_message, None) if message]

    assert order(1) == order(1)
    assert order(1) != order(2)
    assert sorted(order(1)) == list(range(20))


def test_what_happens_by_itself_happens_in_its_turn_and_nobody_waits_for_a_loss() -> None:
    clock, happened = Clock(0), []
    clock.plan(50.0, happened.append, awaited=False)
    clock.plan(5.0, happened.append)
    clock.send(10.0, Message(nothing))
    assert clock.next_message() is not None
    assert happened == [5.0]
    assert clock.next_message() is None
    assert clock.now == 10.0
    clock.rest(60.0)
    assert happened == [5.0, 50.0]


def test_a_message_that_nobody_waits_for_costs_nothing() -> None:
    clock = Clock(0)
    dropped = clock.send(1.0, Message(nothing, seconds=9.0))
    dropped.dropped = True
    assert clock.next_message() is None
    assert clock.busy == 0.0
