"""Whatever dies, no decision is lost or doubled, and a study ends as if nothing had."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ray.tune.schedulers import ASHAScheduler

from gap_tune.simulation import (
    Cluster,
    DriverKills,
    NodeLoss,
    Preemption,
    QuadraticTask,
    Restart,
    Simulated,
    simulate,
)
from gap_tune.simulation.simulated import LOST, SimulatedTrial
from gap_tune.tune import keys
from tests.simulation import running

REPORTS, TRIALS = 6, 5
TASK = QuadraticTask(reports=REPORTS, seconds=60.0)

faults = st.fixed_dictionaries(
    {
        "node_loss": st.builds(
            NodeLoss,
            per_hour=st.floats(0.0, 30.0),
            back_after_seconds=st.floats(0.0, 200.0),
            noticed_after_seconds=st.floats(0.0, 90.0),
        ),
        "preemption": st.builds(
            Preemption, per_hour=st.floats(0.0, 10.0), notice_seconds=st.sampled_from([0.0, 45.0])
        ),
        "restart": st.builds(
            Restart, checkpoint_every=st.sampled_from([1, 2, 4]), max_failures=st.just(-1)
        ),
        "driver_kills": st.builds(
            DriverKills,
            after_turns=st.lists(st.integers(1, 70), max_size=2).map(tuple),
            save_every_seconds=st.sampled_from([0.0, 10.0, 150.0]),
        ),
        "start_seconds": st.sampled_from([0.0, 20.0]),
        "report_latency": st.sampled_from([0.0, 0.5]),
        "seconds_per_result": st.sampled_from([0.0, 2.0]),
    }
)


@given(faults, st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_whatever_dies_each_trial_goes_the_way_that_it_goes_alone(
    kinds: dict[str, object], seed: int
) -> None:
    """Also of a study that is interrupted at any of its turns, and restored.

    What Ray itself loses: trials that were made after it saved the study's state last are unknown
    to the restored one, and others take their place; training since a trial's last checkpoint is
    done again; a trial without a checkpoint begins anew; of the scheduler nothing is left.
    """
    cluster = Cluster(nodes=2, trials_per_node=2, **kinds)  # type: ignore[arg-type]
    done = running.tuned(cluster, trials=TRIALS, reports=REPORTS, seed=seed)
    running.check_conserved(done, slots=4)
    kept = [trial for trial in done.trials if trial.status != LOST]
    assert [trial.status for trial in kept] == ["TERMINATED"] * TRIALS
    for trial in done.trials:
        expected = running.alone(TASK, trial.config)
        for report in trial.reports:
            assert report.metrics == expected[report.iteration - 1]
        if trial.status != LOST:
            assert list(running.last_of_each(trial)) == list(range(1, REPORTS + 1))
            assert trial.reports[-1].iteration == REPORTS
        check_decisions(trial)
    check_same_points(done)


def check_decisions(trial: SimulatedTrial) -> None:
    """Check that each decision was applied once, or its report is gone behind."""
    taken = 0
    for place, sent in enumerate(trial.decisions):
        assert 1 <= sent.seq <= taken + 1
        if sent.applied:
            taken = sent.seq
            continue
        # Its process died before it went on: it was sent again, or its report was made again.
        later = [each.seq for each in trial.decisions[place + 1 :]]
        again = [report for report in trial.reports if report.sent > sent.sent]
        assert not later or min(later) <= sent.seq
        assert not again or any(report.metrics[keys.SEQ] < sent.seq for report in again) or later
    if trial.status != LOST:
        final = [sent.seq for sent in trial.decisions if sent.applied]
        assert max(final, default=0) == trial.reports[-1].metrics[keys.SEQ]


def check_same_points(done: Simulated) -> None:
    """Check that the study has tried what it would have tried undisturbed."""
    undisturbed = running.tuned(Cluster(nodes=4), trials=TRIALS, reports=REPORTS)
    kept = [trial.config["lr"] for trial in done.trials if trial.status != LOST]
    assert sorted(kept) == sorted(trial.config["lr"] for trial in undisturbed.trials)


@pytest.mark.parametrize(("seed", "reuse"), [(0, False), (1, False), (2, True)])
def test_trials_that_are_stopped_early_may_die_at_the_same_time(seed: int, reuse: bool) -> None:
    cluster = Cluster(
        nodes=2,
        trials_per_node=3,
        start_seconds=20.0,
        # A driver that is busy hears of a death after it has decided to stop the trial.
        seconds_per_result=15.0,
        node_loss=NodeLoss(per_hour=20.0, back_after_seconds=30.0, noticed_after_seconds=60.0),
        restart=Restart(checkpoint_every=1, max_failures=-1),
        reuse_actors=reuse,
    )
    task, space = QuadraticTask(reports=9, seconds=60.0), {**running.SPACE, "momentum": 0.9}
    scheduler = ASHAScheduler(grace_period=1, max_t=100)
    options = {"trials": 20, "space": space, "seed": seed}
    done = simulate(task, scheduler=scheduler, cluster=cluster, **options)
    running.check_conserved(done, slots=6)
    # Ray handles the death of a process that it resets twice, and then its trial has failed for
    # good, whatever max_failures says.
    failed = {trial.status for trial in done.trials} - {"TERMINATED"}
    assert failed == ({"ERROR"} if reuse else set())
    assert any(trial.stopped_early for trial in done.trials)
    assert done.counts["recover"] > 0


def test_trials_fail_for_good_after_max_failures() -> None:
    often = NodeLoss(per_hour=60.0, back_after_seconds=1.0)
    cluster = Cluster(node_loss=often, restart=Restart(max_failures=1))
    done = running.tuned(cluster, trials=4)
    failed = [trial for trial in done.trials if trial.status == "ERROR"]
    assert failed
    assert all(trial.failures == 2 for trial in failed)
    running.check_conserved(done, slots=1)


@pytest.mark.parametrize("notice", [0.0, 30.0])
def test_preemption_counts_as_failure_without_notice_only(notice: float) -> None:
    spot = Preemption(per_hour=40.0, notice_seconds=notice, back_after_seconds=10.0)
    cluster = Cluster(preemption=spot, restart=Restart(checkpoint_every=1, max_failures=0))
    done = running.tuned(cluster, trials=4)
    assert done.counts["lost"] > 0
    assert any(trial.status == "ERROR" for trial in done.trials) == (notice == 0.0)


def test_nothing_starts_on_a_node_that_is_about_to_be_taken() -> None:
    spot = Preemption(per_hour=30.0, notice_seconds=100.0, back_after_seconds=500.0)
    restart = Restart(checkpoint_every=1, max_failures=-1)
    done = running.tuned(Cluster(preemption=spot, restart=restart), trials=4, reports=3)
    told = ("start", "notice", "lost", "back")
    kinds = [event.kind for event in done.events if event.kind in told]
    assert "notice" in kinds
    announced = False
    for kind in kinds:
        assert not (announced and kind == "start")
        announced = kind in ("notice", "lost") or (announced and kind != "back")


def test_a_driver_that_is_killed_before_it_saved_anything_begins_anew() -> None:
    never = DriverKills(after_turns=(20,), save_every_seconds=1e9)
    done = running.tuned(Cluster(nodes=2, driver_kills=never))
    # The first turn saves, when there is one trial.
    lost = [trial for trial in done.trials if trial.status == LOST]
    assert len(done.trials) - len(lost) == 6
    assert lost
