"""Waits, against queues that are simulated event by event."""

from __future__ import annotations

import heapq
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gap_tune.errors import InvalidValueError
from gap_tune.planning.queueing import Work, blocked, burst, mean_wait, quantile_wait, settled

SERVICE = 0.02


def rain(load: float, results: int = 150_000) -> list[float]:
    """Return how long each result waits that arrives whenever it likes."""
    drawn = random.Random(0)
    now = free = 0.0
    waits = []
    for _ in range(results):
        now += drawn.expovariate(load / SERVICE)
        begun = max(now, free)
        free = begun + SERVICE
        waits.append(begun - now)
    return waits


def trials_that_wait(trials: int, interval: float, results: int = 60_000) -> tuple[float, float]:
    """Return the mean wait of trials that train about an interval between answers, and the load."""
    drawn = random.Random(0)
    due = [(drawn.random() * interval, trial) for trial in range(trials)]
    heapq.heapify(due)
    free, waits = 0.0, []
    for _ in range(results):
        now, trial = heapq.heappop(due)
        begun = max(now, free)
        free = begun + SERVICE
        waits.append(begun - now)
        heapq.heappush(due, (free + interval * drawn.uniform(0.5, 1.5), trial))
    settled = waits[results // 4 :]
    return sum(settled) / len(settled), results * SERVICE / free


def of_results(load: float, service: float = SERVICE) -> float:
    return mean_wait([Work(load / service, service)])


def mixed(works: list[Work], seconds: float = 40_000) -> list[float]:
    """Return how long work of the first kind waits among all kinds, each of which comes anytime."""
    drawn = random.Random(0)
    due = []
    for kind, work in enumerate(works):
        now = 0.0
        while (now := now + drawn.expovariate(work.rate)) < seconds:
            due.append((now, kind))
    free, waits = 0.0, []
    for now, kind in sorted(due):
        begun = max(now, free)
        free = begun + works[kind].seconds
        if kind == 0:
            waits.append(begun - now)
    return sorted(waits)


@pytest.mark.parametrize("load", [0.05, 0.3, 0.6, 0.9])
def test_mean_and_quantile_are_those_of_a_simulated_queue(load: float) -> None:
    waits = sorted(rain(load))
    assert of_results(load) == pytest.approx(sum(waits) / len(waits), rel=0.04)
    for share in (0.5, 0.9, 0.99):
        simulated = waits[int(share * len(waits))]
        assert quantile_wait(load, SERVICE, share) == pytest.approx(
            simulated, rel=0.05, abs=0.02 * SERVICE
        )


def test_a_save_and_suggestions_keep_results_waiting_as_simulated() -> None:
    works = [Work(10.0, 0.004), Work(0.5, 0.2), Work(1 / 20, 1.0)]
    waits = mixed(works)
    assert mean_wait(works) == pytest.approx(sum(waits) / len(waits), rel=0.05)
    high = waits[int(0.99 * len(waits))]
    load = sum(work.load for work in works)
    estimate = quantile_wait(load, 0.004) + blocked(works[1:])
    assert estimate == pytest.approx(high, rel=0.25)


def trial_time(trials: int, interval: float) -> float:
    """Return how long one report takes with its training, of so many trials."""

    def answer(taken: float) -> float:
        return mean_wait([Work(trials / taken, SERVICE)]) + SERVICE

    return interval + settled(interval, 1, answer)


@pytest.mark.parametrize("trials", [20, 250, 450])
def test_trials_that_wait_do_so_a_little_less_than_the_formula_says(trials: int) -> None:
    interval = 10.0
    simulated, load = trials_that_wait(trials, interval)
    taken = trial_time(trials, interval)
    assert trials * SERVICE / taken == pytest.approx(load, rel=0.02)
    wait = taken - interval - SERVICE
    assert simulated <= wait <= 2 * simulated + 0.1 * SERVICE


@pytest.mark.parametrize("trials", [700, 2000])
def test_a_driver_that_falls_behind_serves_as_fast_as_it_can(trials: int) -> None:
    interval = 10.0
    simulated, load = trials_that_wait(trials, interval)
    assert load > 0.999
    taken = trial_time(trials, interval)
    assert taken == pytest.approx(trials * SERVICE, rel=0.02)
    assert taken - interval - SERVICE == pytest.approx(simulated, rel=0.1)


def test_in_a_burst_the_last_one_waits_for_all_others() -> None:
    answered = [SERVICE * place for place in range(1, 401)]
    mean, longest = burst(400, SERVICE)
    assert longest == pytest.approx(max(answered))
    assert mean == pytest.approx(sum(answered) / len(answered))


@given(st.floats(0.0, 0.99), st.floats(0.0, 0.99), st.floats(0.5, 0.999))
def test_who_is_busier_keeps_others_waiting_longer(a: float, b: float, share: float) -> None:
    low, high = sorted((a, b))
    assert of_results(low) <= of_results(high)
    slack = 1e-4 * SERVICE
    assert quantile_wait(low, SERVICE, share) <= quantile_wait(high, SERVICE, share) + slack


@given(st.floats(0.0, 0.99), st.floats(0.5, 0.99), st.floats(1e-6, 10.0))
def test_waits_scale_with_the_service(load: float, share: float, service: float) -> None:
    assert of_results(load, service) == pytest.approx(service * of_results(load, 1.0))
    assert quantile_wait(load, service, share) == pytest.approx(
        service * quantile_wait(load, 1.0, share)
    )


@given(st.integers(1, 20_000), st.floats(0.01, 1000))
def test_a_driver_is_never_busier_than_always(trials: int, interval: float) -> None:
    taken = trial_time(trials, interval)
    assert trials * SERVICE / taken < 1
    assert taken >= interval + SERVICE * (1 - 1e-6)
    assert taken <= trial_time(trials + 1, interval) * (1 + 1e-6)


def test_bug_a_wait_below_the_training_between_two_reports_is_found() -> None:
    # The first guess, the training between two reports, was returned where it was too long.
    found = settled(1.0, 2, lambda taken: max(0.0, 3.0 - 2 * taken))
    assert found == pytest.approx(0.2)


@given(st.floats(0.001, 0.999), st.floats(0.01, 10.0))
def test_whoever_comes_finds_work_in_any_part_of_it(load: float, seconds: float) -> None:
    found = blocked([Work(load / seconds, seconds)], 0.99)
    assert found == pytest.approx(max(0.0, 1 - 0.01 / load) * seconds, abs=1e-6 * seconds + 1e-9)


def test_who_cannot_keep_up_is_waited_for_forever() -> None:
    assert mean_wait([Work(30.0, 0.02), Work(0.5, 0.9)]) == float("inf")


@pytest.mark.parametrize("load", [-0.1, 1.0, float("nan")])
def test_a_load_is_a_share_below_one(load: float) -> None:
    with pytest.raises(InvalidValueError, match="load must be a number in"):
        quantile_wait(load, SERVICE)
