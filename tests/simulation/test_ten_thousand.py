"""Ten thousand trials on a hundred nodes: how long the real classes take, and what they keep."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import pytest
from ray import cloudpickle, tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search import ConcurrencyLimiter, Searcher

from gap_tune.simulation import Cluster, QuadraticTask, simulate
from gap_tune.tune import GapScheduler, GapSearch

CLUSTER = Cluster(nodes=100, trials_per_node=4, start_seconds=5.0, start_jitter=0.5)
_WORK = [{"name": f"trial {i}", "loss": i / 7} for i in range(50)]
SPACE = {"lr": tune.loguniform(0.01, 1.0)}


class Uniform(Searcher):  # type: ignore[misc]
    """Random search that keeps nothing, so that what GapSearch keeps is seen."""

    def suggest(self, trial_id: str) -> dict[str, Any]:
        return {"lr": SPACE["lr"].sample()}

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        """Keep nothing."""

    def save(self, checkpoint_path: str) -> None:
        """Save nothing."""

    def restore(self, checkpoint_path: str) -> None:
        """Restore nothing."""


class Stopwatch:
    """Times by the thread's own clock, beside the same piece of work: machines slow down."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._paces: list[float] = []

    def note(self, seconds: float) -> None:
        self.seconds.append(seconds)
        if len(self.seconds) % 10 == 1:
            before = time.thread_time()
            json.loads(json.dumps(_WORK))
            self._paces.append(time.thread_time() - before)

    def first(self, share: float) -> float:
        """Return the median of the first ones, in pieces of work at that time."""
        return self._paced(lambda times: times[: int(share * len(times))])

    def last(self, share: float) -> float:
        """Return the median of the last ones, in pieces of work at that time."""
        return self._paced(lambda times: times[-int(share * len(times)) :])

    def _paced(self, part: Callable[[list[float]], list[float]]) -> float:
        return statistics.median(part(self.seconds)) / statistics.median(part(self._paces))


class TimedSearch(GapSearch):
    """Notes how long suggestions take."""

    def __init__(self) -> None:
        super().__init__(Uniform())
        self.watch = Stopwatch()

    def suggest(self, trial_id: str) -> Any:
        before = time.thread_time()
        suggestion = super().suggest(trial_id)
        self.watch.note(time.thread_time() - before)
        return suggestion


class TimedScheduler(GapScheduler):
    """Notes how long decisions take."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self.watch = Stopwatch()

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        before = time.thread_time()
        action = super().on_trial_result(tune_controller, trial, result)
        self.watch.note(time.thread_time() - before)
        return action


def limited(search: Searcher) -> ConcurrencyLimiter:
    return ConcurrencyLimiter(search, max_concurrent=CLUSTER.slots)


@pytest.mark.slow
def test_ten_thousand_trials_with_early_stopping_decide_quickly_to_the_end() -> None:
    search = TimedSearch()
    scheduler = TimedScheduler(ASHAScheduler(grace_period=2, max_t=100))
    task = QuadraticTask(reports=20)
    options: dict[str, Any] = {"trials": 10_000, "cluster": CLUSTER, "space": SPACE, "keep": ()}
    done = simulate(task, search=limited(search), scheduler=scheduler, **options)
    assert {trial.status for trial in done.trials} == {"TERMINATED"}
    assert len(done.trials) == 10_000
    for watch, most in ((search.watch, 0.010), (scheduler.watch, 0.001)):
        assert statistics.median(watch.seconds[-len(watch.seconds) // 10 :]) <= most
        # The last tenth is as quick as any: nothing grows with the number of trials.
        assert watch.last(0.1) <= 2 * watch.first(0.2)


def kept_by(trials: int) -> int:
    """Return how many bytes searcher and scheduler hold after so many trials, pickled.

    Of the rest of the driver's memory Ray has the most, which keeps every trial and its
    configuration.
    """
    search, scheduler = GapSearch(Uniform()), GapScheduler()
    cluster = Cluster(nodes=20)
    task, options = QuadraticTask(reports=2, steps=6), {"space": SPACE, "keep": ()}
    simulate(task, search=search, scheduler=scheduler, trials=trials, cluster=cluster, **options)
    return len(cloudpickle.dumps((search, scheduler)))


@pytest.mark.slow
def test_searcher_and_scheduler_keep_no_more_of_more_trials() -> None:
    # GapSearch keeps the first reports of the latest 256 trials.
    few, many = kept_by(600), kept_by(1800)
    assert few > 10_000, "what was learned is not among it"
    assert many <= few + 10_000
