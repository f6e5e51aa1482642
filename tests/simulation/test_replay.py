"""A finished experiment, made by real Ray, replayed: the same reports, and nothing made up."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ray.tune.schedulers import ASHAScheduler, TrialScheduler
from ray.tune.search import Searcher

from gap_tune import GapScheduler
from gap_tune.errors import InvalidValueError, StateError
from gap_tune.rules import Decision, Reason
from gap_tune.simulation import Cluster, simulate
from gap_tune.simulation.replay import (
    NotRecordedError,
    Recording,
    ReplayedTask,
    read_task,
    replay,
)
from gap_tune.simulation.task import Report
from tests.simulation.noisy_quadratic import NoisyQuadratic
from tests.simulation.on_ray import RealRun, run_on_ray
from tests.simulation.studies import Study, gap_random

TRIALS, REPORTS = 6, 4


@pytest.fixture(scope="module")
def real(ray_address: str, tmp_path_factory: pytest.TempPathFactory) -> RealRun:
    """A study that let every trial run to its end, two at a time."""
    task = NoisyQuadratic(reports=REPORTS, seconds=0.02)
    study = Study("recorded", task, gap_random, GapScheduler, trials=TRIALS, at_once=2, together=2)
    return run_on_ray(study, tmp_path_factory.mktemp("recorded"))


@pytest.fixture(scope="module")
def recorded(real: RealRun) -> ReplayedTask:
    return read_task(real.folder)


def reported(real: RealRun) -> dict[float, list[dict[str, Any]]]:
    """Return what Ray itself says that each trial has reported, by its learning rate."""
    return {
        result.config["lr"]: result.metrics_dataframe.to_dict("records") for result in real.grid
    }


def test_a_replayed_experiment_reports_what_the_real_one_did(real: RealRun) -> None:
    expected = reported(real)
    replayed = replay(real.folder)
    assert len(replayed.trials) == TRIALS
    for trial in replayed.trials:
        rows = expected.pop(trial.config["lr"])
        assert trial.status == "TERMINATED"
        for name in ("validation_loss", "gap/momentum", "gap/lr"):
            assert [r.metrics[name] for r in trial.reports] == [row[name] for row in rows]
        taken = [row["time_this_iter_s"] for row in rows]
        assert [r.seconds for r in trial.reports] == pytest.approx(taken)
        # A decision that the trial took is the momentum of its next report; that on the last has
        # none.
        taken_up = [d.momentum for d in trial.decisions if d.applied]
        used = [row["gap/momentum"] for row in rows]
        changes = [b for a, b in pairwise(used) if a != b]
        assert taken_up[: len(changes)] == changes
        assert len(taken_up) <= len(changes) + 1
    assert not expected
    assert any(trial.decisions for trial in replayed.trials)


def test_trials_are_suggested_in_their_order(real: RealRun, recorded: ReplayedTask) -> None:
    suggested = [call for call in real.calls if call.what == "scheduler.on_trial_add"]
    searcher = recorded.searcher()
    for call, recording in zip(suggested, recorded.recordings, strict=True):
        assert f'"lr": {recording.config["lr"]!r}' in call.answer
        assert searcher.suggest("a trial") == recording.config
    assert searcher.suggest("one more") == Searcher.FINISHED


def test_as_many_ran_at_once_as_the_study_allowed(recorded: ReplayedTask) -> None:
    assert recorded.at_once <= 2
    assert recorded.tuned
    assert (recorded.metric, recorded.mode, recorded.reports) == ("validation_loss", "min", REPORTS)


def test_asha_stops_what_it_stops_when_asked_by_hand(real: RealRun) -> None:
    replayed = replay(real.folder, scheduler=ASHAScheduler(grace_period=1, reduction_factor=2))
    by_hand = ASHAScheduler("training_iteration", "validation_loss", "min", reduction_factor=2)
    trials = {t.trial_id: SimpleNamespace(trial_id=t.trial_id) for t in replayed.trials}
    for trial in trials.values():
        by_hand.on_trial_add(None, trial)
    stopped: dict[str, int] = {}
    reports = {t.trial_id: iter(t.reports) for t in replayed.trials}
    for event in replayed.events:
        if event.kind == "result":
            report = next(reports[event.subject])
            result = {"training_iteration": report.iteration, **report.metrics}
            action = by_hand.on_trial_result(None, trials[event.subject], result)
            # After its last report a trial ends whatever ASHA says.
            if action == TrialScheduler.STOP and report.iteration < REPORTS:
                stopped[event.subject] = report.iteration
    assert stopped == {t.trial_id: len(t.reports) for t in replayed.trials if t.stopped_early}
    assert 0 < len(stopped) < TRIALS


def test_what_a_stopped_trial_would_have_reported_is_not_known(recorded: ReplayedTask) -> None:
    first, *others = recorded.recordings
    stopped = replace(first, reports=first.reports[:2], ended="it was stopped after 2 reports")
    task = ReplayedTask("stopped", [stopped, *others], "validation_loss", "min")
    simulated = simulate(
        task,
        search=task.searcher(),
        scheduler=GapScheduler(),
        trials=TRIALS,
        cluster=Cluster(trials_per_node=2),
        space={},
    )
    assert [trial.status for trial in simulated.trials] == ["ERROR"] + ["TERMINATED"] * (TRIALS - 1)
    assert len(simulated.trials[0].reports) == 2
    (why,) = task.unknown
    assert why.endswith("would have reported next is not recorded: it was stopped after 2 reports.")


def test_another_momentum_than_the_real_one_is_not_known(
    real: RealRun, caplog: pytest.LogCaptureFixture
) -> None:
    unchanged = {
        lr: len({row["gap/momentum"] for row in rows}) == 1 for lr, rows in reported(real).items()
    }
    assert not all(unchanged.values())
    replayed = replay(real.folder, scheduler=GapScheduler(min_steps=10_000))
    for trial in replayed.trials:
        known = unchanged[trial.config["lr"]]
        assert trial.status == ("TERMINATED" if known else "ERROR")
        assert len({report.metrics["gap/momentum"] for report in trial.reports}) == 1
    lost = sum(not known for known in unchanged.values())
    assert f"{lost} of {TRIALS} trials end where the experiment does not say" in caplog.text


def test_a_configuration_that_never_ran_is_not_known(recorded: ReplayedTask) -> None:
    with pytest.raises(NotRecordedError, match="must be among the 6 that were recorded"):
        recorded.begin({"lr": 0.5})


def test_a_configuration_that_a_task_refuses_fails_its_trial_and_not_the_study() -> None:
    trials = [Recording({"lr": lr}, (Report({"loss": lr}, 1.0),)) for lr in (0.1, 0.2, 0.3)]
    known = ReplayedTask("two", trials[:2], "loss", "min")
    suggesting = ReplayedTask("three", trials, "loss", "min").searcher()
    done = simulate(known, search=suggesting, trials=3, space={})
    assert [trial.status for trial in done.trials] == ["TERMINATED", "TERMINATED", "ERROR"]


def test_a_folder_without_trials_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="whose trials have reported, but it has no trial"):
        replay(tmp_path)


def test_a_metric_is_asked_for_where_none_is_saved(real: RealRun, tmp_path: Path) -> None:
    copied = tmp_path / "copied"
    for path in real.folder.glob("trial_*/*.json"):
        (copied / path.parent.name).mkdir(parents=True, exist_ok=True)
        (copied / path.parent.name / path.name).write_bytes(path.read_bytes())
    with pytest.raises(InvalidValueError, match="--mode must be given"):
        read_task(copied)
    task = read_task(copied, metric="test_loss", mode="max")
    assert (task.metric, task.mode, len(task.recordings)) == ("test_loss", "max", TRIALS)


def test_a_searcher_goes_on_from_where_it_was_saved(tmp_path: Path) -> None:
    recordings = [Recording({"lr": lr}, (Report({"loss": lr}, 1.0),)) for lr in (0.1, 0.2, 0.3)]
    task = ReplayedTask("three", recordings, "loss", "min")
    searcher, after = task.searcher(), task.searcher()
    searcher.suggest("0")
    searcher.save(str(tmp_path / "saved"))
    after.restore(str(tmp_path / "saved"))
    assert after.suggest("1") == {"lr": 0.2}


@given(
    lengths=st.lists(st.integers(1, 5), min_size=1, max_size=5),
    whole=st.lists(st.booleans(), min_size=5, max_size=5),
)
def test_training_reports_what_is_recorded_and_no_more(
    lengths: list[int], whole: list[bool]
) -> None:
    # All of one configuration, as a study of several seeds without a key for them has them.
    recordings = [
        Recording(
            {"lr": 0.1},
            tuple(Report({"loss": float(10 * trial + i)}, 1.0) for i in range(length)),
            "" if is_whole else "it was stopped",
        )
        for trial, (length, is_whole) in enumerate(zip(lengths, whole, strict=False))
    ]
    task = ReplayedTask("drawn", recordings, "loss", "min")
    for recording in recordings:
        training = task.begin({"lr": 0.1})
        for report in recording.reports:
            assert not training.done
            copied = training.copy()
            assert training.advance() == copied.advance() == report
        assert training.done == (not recording.ended)
        with pytest.raises(NotRecordedError):
            training.advance()


@given(spans=st.lists(st.tuples(st.floats(0, 9), st.floats(0.1, 9)), min_size=1, max_size=8))
def test_at_once_is_the_most_that_any_moment_saw(spans: list[tuple[float, float]]) -> None:
    recordings = [
        Recording({"trial": i}, (Report({"loss": 0.0}, seconds),), began=began)
        for i, (began, seconds) in enumerate(spans)
    ]
    task = ReplayedTask("spans", recordings, "loss", "min")
    seen = defaultdict(int)
    for moment, _ in spans:
        seen[moment] = sum(began <= moment < began + seconds for began, seconds in spans)
    assert task.at_once == max(seen.values())


def test_a_changed_configuration_is_not_known() -> None:
    recording = Recording({"lr": 0.1}, (Report({"loss": 1.0}, 1.0),))
    training = ReplayedTask("one", [recording], "loss", "min").begin({"lr": 0.1})
    training.change({"lr": 0.1})
    with pytest.raises(NotRecordedError, match="must keep its configuration"):
        training.change({"lr": 0.2})


def test_a_fixed_trial_takes_no_notice_of_momentum() -> None:
    reports = tuple(Report({"loss": 1.0, "gap/momentum": m}, 1.0) for m in (0.9, 0.95))
    for mode, known in (("trial", True), ("scheduler", False)):
        config = {"gap": {"mode": mode}}
        training = ReplayedTask("own", [Recording(config, reports)], "loss", "min").begin(config)
        training.advance()
        if known:
            assert training.advance() == reports[1]
        else:
            with pytest.raises(NotRecordedError, match=r"with momentum 0\.9 is not recorded"):
                training.advance()
            training.follow(Decision(0.95, 0.9, Reason.BEST_GAIN, "0.95 is better."))
            assert training.advance() == reports[1]
