"""Simulated studies for tests, and what a trial does that nothing disturbs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import optuna
from ray import tune
from ray.tune.search.optuna import OptunaSearch

from gap_tune.simulation import Cluster, QuadraticTask, Simulated, simulate
from gap_tune.simulation.simulated import SimulatedTrial
from gap_tune.tune import GapScheduler, GapSearch, keys

SPACE = {"lr": tune.loguniform(0.01, 1.0)}
KEPT = ("validation_loss", keys.MOMENTUM, keys.SEQ)


def random_points(seed: int = 0) -> OptunaSearch:
    """Return a searcher whose suggestions depend on no result."""
    return OptunaSearch(sampler=optuna.samplers.RandomSampler(seed))


def tuned(cluster: Cluster, *, trials: int = 6, reports: int = 6, seed: int = 0) -> Simulated:
    """Return a study whose momentum GapScheduler changes."""
    task = QuadraticTask(reports=reports, seconds=60.0)
    search = GapSearch(random_points())
    options: dict[str, Any] = {"trials": trials, "cluster": cluster, "space": SPACE, "seed": seed}
    return simulate(task, search=search, scheduler=GapScheduler(), keep=KEPT, **options)


def alone(task: QuadraticTask, config: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what a trial reports whose decisions all reach it, without any Ray."""
    training, scheduler, reports = task.begin(config), GapScheduler(), []
    while not training.done:
        metrics = training.advance().metrics
        reports.append({name: metrics[name] for name in KEPT})
        decision = scheduler.decide(metrics, config)
        if decision.changed:
            training.follow(decision)
    return reports


def check_conserved(done: Simulated, slots: int) -> None:
    """Check what holds of every study that has come to its end."""
    ends = [event.subject for event in done.events if event.kind in ("complete", "error")]
    ended = [trial for trial in done.trials if trial.status != "LOST"]
    # A driver that is killed before it has saved that a trial has ended lets it end again.
    again = done.counts.get("killed", 0) > 0
    assert set(ends) >= {trial.trial_id for trial in ended}
    assert again or sorted(ends) == sorted(trial.trial_id for trial in done.trials)
    times = [event.at for event in done.events if event.kind not in ("lost", "notice", "back")]
    assert times == sorted(times)
    assert done.busy_seconds <= slots * done.seconds * (1 + 1e-9)
    assert sum(trial.seconds for trial in done.trials) <= done.busy_seconds * (1 + 1e-9)
    for trial in done.trials:
        assert trial.ended is None or trial.added <= trial.ended <= done.seconds


def most_at_once(done: Simulated) -> int:
    """Return how many trials trained at once, of a study in which nothing fails."""
    spans = [(r.sent - r.seconds, r.sent) for trial in done.trials for r in trial.reports]
    steps = sorted([(start, 1) for start, _ in spans] + [(end, -1) for _, end in spans])
    now = most = 0
    for _, step in steps:
        now += step
        most = max(most, now)
    return most


def last_of_each(trial: SimulatedTrial) -> dict[int, dict[str, Any]]:
    """Return what a trial reported last at each of its iterations."""
    return {report.iteration: report.metrics for report in trial.reports}
