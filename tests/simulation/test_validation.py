"""The same studies on real Ray and on the virtual clock: the same decisions, the same hours."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from ray.tune.schedulers import TrialScheduler

from gap_tune.simulation.replay import replay
from tests.simulation.calls import Calls
from tests.simulation.decided import DecidedScheduler, decided_search
from tests.simulation.measured import Measured
from tests.simulation.on_clock import differences, run_in_order_of, run_on_clock
from tests.simulation.on_ray import RealRun, run_on_ray
from tests.simulation.studies import Study, asha, studies

NAMES = [study.name for study in studies(Path())]
# Of the wall clock.
WITHIN = 0.2

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=NAMES)
def real(
    request: pytest.FixtureRequest, ray_address: str, tmp_path_factory: pytest.TempPathFactory
) -> RealRun:
    """A study that has really run, 8 trials at a time."""
    folder = tmp_path_factory.mktemp("failed")
    (study,) = (each for each in studies(folder) if each.name == request.param)
    real = run_on_ray(study, tmp_path_factory.mktemp(study.name))
    assert not real.grid.errors
    return real


def again(real: RealRun, folder: Path) -> Study:
    """Return the study once more, as if no trial of it had failed yet."""
    (study,) = (each for each in studies(folder) if each.name == real.study.name)
    return study


def as_decided(real: RealRun, folder: Path) -> Study:
    """Return the study once more, with the suggestions and decisions of the real one."""
    study = again(real, folder)
    return replace(
        study,
        search=partial(decided_search, real.calls, study.search()),
        scheduler=partial(DecidedScheduler, real.calls),
    )


def test_the_same_events_lead_to_the_same_calls(
    real: RealRun, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    simulated = run_in_order_of(real.calls, again(real, tmp_path), monkeypatch)
    unequal = differences(real.calls, simulated)
    assert not unequal, f"{len(unequal)} calls differ, first {unequal[0]}"
    # Nothing is compared with nothing.
    assert len(simulated.of("scheduler.on_trial_add")) >= real.study.trials
    assert len(simulated.of("scheduler.on_trial_result")) > 3 * real.study.trials


def test_measured_times_lead_to_the_same_wall_clock(real: RealRun, tmp_path: Path) -> None:
    if real.study.name == "pbt":
        pytest.skip("what a pause costs depends on whether Ray has a process at hand: not measured")
    measured = Measured.of(real.calls, real.study.together)
    simulated = run_on_clock(as_decided(real, tmp_path), Calls(), **measured.times)
    assert simulated.counts["result"] == len(real.calls.of("scheduler.on_trial_result"))
    # As the first trials of the real one do, its first processes begin after they have started.
    seconds = simulated.seconds - measured.times["start_seconds"]
    assert seconds == pytest.approx(measured.wall, rel=WITHIN)


def test_as_many_trials_stop_at_each_rung(real: RealRun, tmp_path: Path) -> None:
    measured = Measured.of(real.calls, real.study.together)
    calls = Calls()
    run_on_clock(again(real, tmp_path), calls, **measured.times)
    ours, theirs = stops(real.calls), stops(calls)
    # Trials arrive in another order, by which stopping goes: as different as two samples are.
    for rung in ours.keys() | theirs.keys():
        spread = 2 * (ours[rung] + theirs[rung]) ** 0.5
        assert abs(ours[rung] - theirs[rung]) <= spread + 1


def test_what_asha_would_have_stopped(real: RealRun) -> None:
    if real.study.name != "gap-fifo":
        pytest.skip("asked of an experiment in which every trial ran to its end")
    replayed = replay(real.folder, scheduler=asha())
    assert {trial.status for trial in replayed.trials} == {"TERMINATED"}
    assert any(trial.stopped_early for trial in replayed.trials)
    real_losses = {r.config["lr"]: list(r.metrics_dataframe["validation_loss"]) for r in real.grid}
    for trial in replayed.trials:
        losses = [report.metrics["validation_loss"] for report in trial.reports]
        assert losses == real_losses[trial.config["lr"]][: len(losses)]


def stops(calls: Calls) -> dict[int, int]:
    """Return how many trials were stopped at each of their reports."""
    counted: dict[int, int] = defaultdict(int)
    for call in calls.of("scheduler.on_trial_result"):
        counted[call.report] += call.answer == TrialScheduler.STOP
    return counted
