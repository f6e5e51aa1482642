"""Simulated studies against closed forms, and laws that hold of each of them."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ray import tune
from ray.tune.schedulers import ASHAScheduler, MedianStoppingRule, PopulationBasedTraining
from ray.tune.search import ConcurrencyLimiter

from gap_tune.errors import InvalidValueError, UnsupportedError
from gap_tune.simulation import Cluster, QuadraticTask, Restart, simulate
from gap_tune.tune import GapScheduler, GapSearch
from tests.simulation import running

PLAIN = {**running.SPACE, "momentum": 0.9}


@given(
    trials=st.integers(1, 12),
    nodes=st.integers(1, 3),
    per_node=st.integers(1, 2),
    reports=st.integers(1, 5),
)
@settings(max_examples=15, deadline=None)
def test_equal_trials_take_as_long_as_their_rounds(
    trials: int, nodes: int, per_node: int, reports: int
) -> None:
    task, cluster = QuadraticTask(reports=reports), Cluster(nodes=nodes, trials_per_node=per_node)
    done = simulate(task, trials=trials, cluster=cluster, space=PLAIN)
    rounds = math.ceil(trials / cluster.slots)
    assert done.seconds == pytest.approx(rounds * reports * task.seconds)
    assert done.busy_seconds == pytest.approx(trials * reports * task.seconds)
    assert running.most_at_once(done) == min(trials, cluster.slots)


def test_a_searcher_without_limit_starts_processes_one_after_another() -> None:
    # Ray keeps one trial pending, and a trial is pending until its process runs.
    cluster = Cluster(nodes=4, start_seconds=50.0)
    options: dict[str, Any] = {"trials": 4, "cluster": cluster, "space": PLAIN}
    task = QuadraticTask(reports=1, seconds=10.0)
    single = simulate(task, search=running.random_points(), **options)
    assert [trial.reports[0].sent for trial in single.trials] == [60.0, 110.0, 160.0, 210.0]
    limited = ConcurrencyLimiter(running.random_points(), max_concurrent=4)
    at_once = simulate(task, search=limited, **options)
    assert [trial.reports[0].sent for trial in at_once.trials] == [60.0] * 4


@pytest.mark.parametrize("trials", [1, 3, 8])
def test_a_driver_that_is_the_bottleneck_serves_one_result_after_another(trials: int) -> None:
    # With c customers that think for Z and a server that takes S, one result comes every
    # max(S, (Z + S) / c): the asymptote of a closed D/D/1 queue.
    think, service, reports = 10.0, 4.0, 40
    task = QuadraticTask(reports=reports, seconds=think)
    cluster = Cluster(nodes=trials, seconds_per_result=service)
    done = simulate(task, trials=trials, cluster=cluster, space=PLAIN)
    expected = reports * trials * max(service, (think + service) / trials)
    assert done.seconds == pytest.approx(expected, rel=0.03)
    assert done.driver_seconds == pytest.approx(reports * trials * service)


def test_messages_take_their_time_both_ways() -> None:
    task = QuadraticTask(reports=3, seconds=10.0)
    done = simulate(task, trials=1, cluster=Cluster(report_latency=0.5), space=PLAIN)
    sent = [report.sent for report in done.trials[0].reports]
    # The start is asked for and told, then each report is asked for and told.
    assert sent == pytest.approx([11.5, 22.5, 33.5])
    assert [r.answered - r.sent for r in done.trials[0].reports] == pytest.approx([0.5] * 3)


SCHEDULERS = {
    "fifo": lambda: None,
    "asha": lambda: ASHAScheduler(grace_period=2, max_t=100),
    "median": lambda: MedianStoppingRule(grace_period=60.0, min_samples_required=2),
    "gap": GapScheduler,
    "gap-asha": lambda: GapScheduler(ASHAScheduler(grace_period=2, max_t=100)),
}


@pytest.mark.parametrize("name", SCHEDULERS)
def test_the_same_arguments_give_an_equal_study_that_conserves_what_it_has(name: str) -> None:
    def run() -> Any:
        own = GapSearch if name.startswith("gap") else lambda search: search
        cluster = Cluster(nodes=3, start_seconds=5.0, start_jitter=0.5, seconds_per_result=0.1)
        task = QuadraticTask(reports=6)
        options: dict[str, Any] = {"trials": 9, "cluster": cluster, "seed": 3}
        space = running.SPACE if name.startswith("gap") else PLAIN
        search = own(running.random_points())
        return simulate(task, search=search, scheduler=SCHEDULERS[name](), space=space, **options)

    done = run()
    assert done == run()
    running.check_conserved(done, slots=3)
    assert running.most_at_once(done) <= 3
    assert len(done.trials) == done.counts["suggestions"] == 9
    stopped = [trial for trial in done.trials if trial.stopped_early]
    assert bool(stopped) == (name in ("asha", "median", "gap-asha"))
    whole = [trial for trial in done.trials if not trial.stopped_early]
    # The median rule pauses trials that it cannot judge yet, which without a checkpoint begin anew.
    assert all(trial.reports[-1].iteration == 6 for trial in whole)
    assert all(len(trial.reports) == 6 for trial in whole) or name == "median"


def test_another_seed_gives_another_study() -> None:
    first, second = (
        running.tuned(Cluster(start_jitter=1.0, start_seconds=9.0), seed=s) for s in (0, 1)
    )
    assert first.events != second.events


def test_asha_decides_as_its_paper_says() -> None:
    """Successive halving, without brackets: stop whoever is not in the best 1/rf at a milestone."""
    task = QuadraticTask(reports=9)
    scheduler = ASHAScheduler(grace_period=1, max_t=9, reduction_factor=3)
    done = simulate(
        task, scheduler=scheduler, trials=27, cluster=Cluster(nodes=4), space=PLAIN, seed=5
    )
    rungs: dict[int, list[float]] = {1: [], 3: []}
    stopped = set()
    order = [event.subject for event in done.events if event.kind == "result"]
    seen: dict[str, int] = {}
    by_id = {trial.trial_id: trial for trial in done.trials}
    assert len(order) == sum(len(trial.reports) for trial in done.trials)
    for trial_id in order:
        trial, place = by_id[trial_id], seen.get(trial_id, 0)
        seen[trial_id] = place + 1
        report = trial.reports[place]
        if report.iteration not in rungs:
            continue
        losses, loss = rungs[report.iteration], report.metrics["validation_loss"]
        # Whoever comes first is kept; the cutoff is a quantile with interpolation.
        if losses and loss > quantile(losses, 1 / 3):
            stopped.add(trial_id)
        losses.append(loss)
    assert stopped == {trial.trial_id for trial in done.trials if trial.stopped_early}
    assert stopped


def quantile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


@pytest.mark.parametrize("synch", [False, True])
def test_population_based_training_exchanges_checkpoints(synch: bool) -> None:
    scheduler = PopulationBasedTraining(
        time_attr="training_iteration",
        perturbation_interval=2,
        hyperparam_mutations={"lr": tune.loguniform(0.01, 1.0)},
        synch=synch,
    )

    def run() -> Any:
        return simulate(
            QuadraticTask(reports=8),
            scheduler=copy.deepcopy(scheduler),
            trials=4,
            cluster=Cluster(nodes=4, restart=Restart(checkpoint_every=1, num_to_keep=None)),
            space={"lr": tune.loguniform(0.01, 1.0), "momentum": 0.9},
            stop={"training_iteration": 8},
            seed=2,
        )

    done = run()
    assert done == run()
    assert {trial.status for trial in done.trials} == {"TERMINATED"}
    # Whoever took another's checkpoint started again, from its loss.
    assert done.counts["start"] > 4
    losses = [sorted(r.metrics["validation_loss"] for r in t.reports) for t in done.trials]
    assert len(set(map(tuple, losses))) == 4


@pytest.mark.parametrize("known", [True, False])
def test_a_metric_that_is_not_finite_fails_its_trial_and_no_other(known: bool) -> None:
    """By the trial itself where GapSearch has told it of the metric, else by the scheduler."""
    task = QuadraticTask(reports=4, seconds=10.0)
    space: dict[str, Any] = {"lr": tune.grid_search([0.1, 1e300]), "momentum": 0.9}
    if known:
        space["gap"] = {"mode": "scheduler", "metric": "validation_loss"}
    done = simulate(task, scheduler=GapScheduler(), trials=1, space=space)
    good, bad = done.trials
    assert (good.status, bad.status, done.best) == ("TERMINATED", "ERROR", good)
    assert [len(good.reports), len(bad.reports)] == [4, 0 if known else 1]
    assert bad.ended == pytest.approx(50.0)


def test_what_cannot_be_simulated_is_refused() -> None:
    own = ASHAScheduler(metric="validation_loss", mode="min")
    with pytest.raises(UnsupportedError, match=r"AsyncHyperBandScheduler with its own"):
        simulate(QuadraticTask(), scheduler=own, trials=1, space=PLAIN)
    with pytest.raises(InvalidValueError, match="trials must be"):
        simulate(QuadraticTask(), trials=0, space=PLAIN)
    with pytest.raises(InvalidValueError, match="nodes must be"):
        Cluster(nodes=0)
    with pytest.raises(UnsupportedError, match="restart must be a Restart"):
        Cluster(restart=3)  # type: ignore[arg-type]
