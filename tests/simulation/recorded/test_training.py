"""Simulated trainings: laws that hold whatever was recorded, on a table of two settings."""

from __future__ import annotations

import math
import pickle
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gap_tune.errors import InvalidValueError, StateError
from gap_tune.rules import Decision, Reason
from gap_tune.simulation.recorded import RecordedRuns, RecordedTask, RecordedTraining, pack
from gap_tune.simulation.recorded.files import Tables
from gap_tune.theory.momentum import coupling_factor
from gap_tune.tune import GapScheduler, keys
from gap_tune.tune.statistics_json import parse_one
from tests.simulation.recorded import made_up

DATA = Path(__file__).with_name("data")
SGD, ADAMW = "mlp, sgd, batch 256, 20 % noise", "diabetes, adamw, batch 64, constant"
RUNS, TABLES = RecordedRuns.load(DATA), Tables(DATA)
NAMES = st.sampled_from([SGD, ADAMW])
SCHEDULER = GapScheduler()
BEST = Reason.BEST_GAIN


def fixed(lr: float, momentum: float, **more: Any) -> dict[str, Any]:
    return {"lr": lr, "momentum": momentum, "seed": 0, "gap": {"mode": "fixed"}, **more}


def tuned(lr: float, **section: Any) -> dict[str, Any]:
    own = {"mode": "scheduler", "reference_momentum": 0.9, **section}
    return {"lr": lr, "momentum": 0.9, "seed": 0, "gap": own}


def configuration(arm: str, lr: float) -> dict[str, Any]:
    """Return the configuration that an arm was recorded with."""
    if arm.startswith("fixed:"):
        return fixed(lr, float(arm.removeprefix("fixed:")))
    return tuned(lr) if arm == "gap" else tuned(lr, trust_region={"span": 1.0})


def train(training: RecordedTraining, config: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """Return all reports to come; with a configuration, the scheduler decides on each."""
    found = []
    while not training.done:
        metrics = training.advance().metrics
        found.append(metrics)
        if config is not None and keys.asks_for_tuning(config):
            training.follow(SCHEDULER.decide(metrics, config))
    return found


def losses(task: RecordedTask, config: dict[str, Any]) -> list[float]:
    return [report["validation_loss"] for report in train(task.begin(config), config)]


@pytest.mark.parametrize("name", [SGD, ADAMW])
def test_a_recorded_run_comes_out_as_it_was_recorded(name: str) -> None:
    task, recordings = RUNS[name], TABLES.read(name)
    for place, arm in enumerate(recordings.arms):
        for rate, lr in enumerate(task.learning_rates):
            config = configuration(arm, lr)
            reports = train(task.begin(config), config)
            for column, key in (
                *(("validation_loss",) * 2, ("test_loss",) * 2, ("momentum", keys.MOMENTUM)),
                *(("lr", keys.LR), ("steps", keys.STEPS)),
            ):
                recorded = recordings.columns[column][place, rate, 0].tolist()
                assert [report[key] for report in reports] == pytest.approx(recorded, rel=1e-12)
                if column != "lr":
                    assert [report[key] for report in reports] == recorded
            changes = np.diff(recordings.columns["momentum"][place, rate, 0]) != 0
            assert reports[-1][keys.SEQ] == changes.sum()
            scaled = recordings.columns["scale"][place, rate, 0].tolist()
            assert [r.get(keys.SCALE, 1.0) for r in reports] == pytest.approx(scaled)
            assert (keys.AGREEMENT in reports[0]) == (arm == "gap")


@given(
    NAMES,
    st.integers(0, 13),
    st.sampled_from([(0.0, 0.5), (0.5, 0.8), (0.8, 0.9), (0.9, 0.95), (0.95, 0.99)]),
    st.floats(0.001, 0.999),
    st.floats(0.001, 0.999),
)
def test_between_neighbours_losses_are_between_theirs(
    name: str, rate: int, momenta: tuple[float, float], along: float, share: float
) -> None:
    task = RUNS[name]
    low, high = task.learning_rates[rate : rate + 2]
    horizons = [1.0 / (1.0 - momentum) for momentum in momenta]
    momentum = 1.0 - 1.0 / (horizons[0] ** (1.0 - share) * horizons[1] ** share)
    lr = low ** (1.0 - along) * high**along
    found = np.array(losses(task, fixed(lr, momentum)))
    corners = np.array([losses(task, fixed(x, y)) for x in (low, high) for y in momenta])
    assert (found >= corners.min(0) * (1 - 1e-9)).all()
    assert (found <= corners.max(0) * (1 + 1e-9)).all()


@given(NAMES, st.integers(0, 13), st.sampled_from([0.0, 0.8, 0.99]), st.data())
def test_between_two_learning_rates_losses_are_monotone(
    name: str, rate: int, momentum: float, data: st.DataObject
) -> None:
    task = RUNS[name]
    low, high = task.learning_rates[rate : rate + 2]
    shares = sorted(data.draw(st.lists(st.floats(0, 1), min_size=3, max_size=3)))
    found = [losses(task, fixed(low ** (1 - s) * high**s, momentum))[-1] for s in shares]
    ends = [losses(task, fixed(lr, momentum))[-1] for lr in (low, high)]
    sign = 1.0 if ends[0] <= ends[1] else -1.0
    assert all(sign * (b - a) >= -1e-9 * a for a, b in pairwise(found))


def test_outside_of_what_was_recorded_the_nearest_counts() -> None:
    task = RUNS[SGD]
    first, last = task.learning_rates[0], task.learning_rates[-1]
    assert losses(task, fixed(first / 50, 0.9)) == losses(task, fixed(first, 0.9))
    assert losses(task, fixed(last * 50, 0.9)) == losses(task, fixed(last, 0.9))
    assert losses(task, fixed(last, 0.999)) == losses(task, fixed(last, 0.99))


CHANGES = st.tuples(
    st.sampled_from(["follow", "change", "nothing"]), st.floats(1e-3, 1.0), st.floats(0.0, 0.99)
)
CONFIGURATIONS = st.one_of(
    st.builds(fixed, st.floats(1e-4, 1.0), st.floats(0.0, 0.99)),
    st.builds(tuned, st.floats(1e-4, 1.0)),
    st.builds(lambda lr: tuned(lr, trust_region={"span": 1.0}), st.floats(1e-4, 1.0)),
)


def step(training: RecordedTraining, change: tuple[str, float, float]) -> dict[str, Any]:
    metrics = training.advance().metrics
    kind, lr, momentum = change
    if kind == "follow":
        training.follow(Decision(momentum, metrics[keys.MOMENTUM], BEST, "so."))
    elif kind == "change":
        training.change(fixed(lr, momentum))
    return metrics


@given(NAMES, CONFIGURATIONS, st.lists(CHANGES, min_size=20, max_size=20), st.integers(0, 19))
@settings(deadline=None)
def test_a_copy_and_a_pickle_go_on_the_same_and_leave_the_other_alone(
    name: str, config: dict[str, Any], changes: list[tuple[str, float, float]], at: int
) -> None:
    task = RUNS[name]
    whole, first = task.begin(config), task.begin(config)
    wanted = [step(whole, change) for change in changes]
    found = [step(first, change) for change in changes[:at]]
    for other in (first.copy(), pickle.loads(pickle.dumps(first))):
        rest = [step(other, change) for change in changes[at:]]
        assert repr(found + rest) == repr(wanted)
        assert other.done
    assert not first.done
    assert repr(found + [step(first, change) for change in changes[at:]]) == repr(wanted)


def test_a_pickle_holds_no_runs() -> None:
    assert len(pickle.dumps(RUNS[SGD].begin(tuned(0.05)))) < 10_000


@given(NAMES, CONFIGURATIONS, st.lists(CHANGES, min_size=20, max_size=20))
def test_whatever_changes_losses_stay_among_those_that_were_recorded(
    name: str, config: dict[str, Any], changes: list[tuple[str, float, float]]
) -> None:
    """No course of changes leads to losses far from everything that was ever seen."""
    recorded = TABLES.read(name).columns["validation_loss"]
    low, high = np.nanmin(recorded), np.nanmax(recorded)
    training = RUNS[name].begin(config)
    for change in changes:
        loss = step(training, change)["validation_loss"]
        assert math.isnan(loss) or low / 3 <= loss <= high * 3


def test_a_change_to_the_same_hyperparameters_is_none() -> None:
    task = RUNS[SGD]
    training = task.begin(fixed(0.05, 0.9))
    for _ in range(7):
        training.advance()
    training.change(fixed(0.05, 0.9))
    assert [r["validation_loss"] for r in train(training)] == losses(task, fixed(0.05, 0.9))[7:]


def test_a_change_before_the_first_step_is_a_beginning() -> None:
    task = RUNS[SGD]
    training = task.begin(fixed(0.05, 0.9))
    training.change(fixed(0.02, 0.5))
    assert [r["validation_loss"] for r in train(training)] == losses(task, fixed(0.02, 0.5))


def test_the_earlier_a_change_comes_the_nearer_losses_are_to_a_whole_run() -> None:
    task = RUNS[SGD]
    before, after = fixed(task.learning_rates[2], 0.5), fixed(task.learning_rates[8], 0.9)
    ends = []
    for at in (1, 5, 10, 15, 19):
        training = task.begin(before)
        for _ in range(at):
            training.advance()
        training.change(after)
        ends.append(train(training)[-1]["validation_loss"])
    assert ends == sorted(ends)
    assert losses(task, after)[-1] < ends[0]
    assert ends[-1] < losses(task, before)[-1]


def test_another_first_momentum_costs_a_little_and_the_scheduler_leads_back() -> None:
    task = RUNS[SGD]
    usual = tuned(task.learning_rates[5])
    for momentum in (0.8, 0.99):
        reports = train(task.begin(other := {**usual, "momentum": momentum}), other)
        recorded = train(task.begin(usual), usual)
        assert reports[0]["validation_loss"] != recorded[0]["validation_loss"]
        # The first report comes after four steps, within the rule's warm-up.
        assert [r[keys.MOMENTUM] for r in reports[2:]] == [r[keys.MOMENTUM] for r in recorded[2:]]
        apart = [
            abs(math.log(a["validation_loss"] / b["validation_loss"]))
            for a, b in zip(reports, recorded, strict=True)
        ]
        assert apart[-1] < 0.2


def test_a_learning_rate_for_another_momentum_is_that_of_the_same_region() -> None:
    """What ``GapSearch(lr=...)`` writes: the rate that a momentum shares a budget with."""
    task = RUNS[SGD]
    lr = task.learning_rates[5]
    moved = tuned(lr * coupling_factor(0.95, 0.9), reference_momentum=0.95)
    assert losses(task, moved) == pytest.approx(losses(task, tuned(lr)), rel=1e-9)
    # Adam's learning rate does not follow its momentum.
    task = RUNS[ADAMW]
    same = tuned(task.learning_rates[5], reference_momentum=0.5)
    assert losses(task, same) == losses(task, tuned(task.learning_rates[5]))


def test_a_narrower_region_bounds_the_scale() -> None:
    task = RUNS[SGD]
    usual = tuned(task.learning_rates[3])
    narrow = tuned(task.learning_rates[3], trust_region={"start": 0.5, "floor": 0.4, "span": 1.5})
    recorded, found = (train(task.begin(config), config) for config in (usual, narrow))
    scales = [report[keys.SCALE] for report in recorded]
    assert min(scales) < 0.4 or max(scales) > 1.5
    assert [r[keys.SCALE] for r in found] == [min(max(scale, 0.4), 1.5) for scale in scales]
    for mine, theirs in zip(found, recorded, strict=True):
        ratio = mine[keys.SCALE] / theirs[keys.SCALE]
        assert mine[keys.LR] == pytest.approx(theirs[keys.LR] * ratio)
        # Of the same gradients the rule says the same.
        assert mine[keys.MOMENTUM] == theirs[keys.MOMENTUM]
    # At so low a learning rate, a region that grows less trains less.
    assert found[-1]["validation_loss"] > recorded[-1]["validation_loss"]
    wide = tuned(task.learning_rates[3], trust_region={"span": 50.0})
    assert losses(task, wide) == losses(task, usual)


@pytest.mark.parametrize("section", [{"scheduled": False}, {"rule": "fixed"}])
def test_a_trial_whose_momentum_nobody_changes_is_one_of_that_momentum(section: Any) -> None:
    task = RUNS[SGD]
    lr = task.learning_rates[5]
    config = tuned(lr, **section)
    assert losses(task, config) == losses(task, fixed(lr, 0.9))
    # Its learning rate belongs to the reference momentum all the same.
    found = losses(task, {**config, "momentum": 0.5})
    assert found == pytest.approx(losses(task, fixed(lr * coupling_factor(0.5, 0.9), 0.5)))


def test_a_training_function_without_gap_tune_reports_losses_only() -> None:
    report = RUNS[SGD].begin({"lr": 0.05}).advance()
    assert sorted(report.metrics) == ["test_loss", "validation_loss"]


def test_statistics_are_those_of_the_nearest_learning_rate() -> None:
    task, recordings = RUNS[SGD], TABLES.read(SGD)
    arm = list(recordings.arms).index("gap")
    report = task.begin(tuned(task.learning_rates[4] * 1.1)).advance()
    assert parse_one(report.metrics[keys.STATISTICS]) == recordings.statistics((arm, 4, 0, 0))
    report = task.begin(fixed(task.learning_rates[4] * 1.1, 0.94)).advance()
    arm = list(recordings.arms).index("fixed:0.95")
    assert parse_one(report.metrics[keys.STATISTICS]) == recordings.statistics((arm, 4, 0, 0))


def test_where_a_neighbour_diverged_a_run_diverges_from_that_moment_on(tmp_path: Path) -> None:
    pack(made_up.write_journal(tmp_path / "journal", made_up.runs()), tmp_path / "out")
    task = RecordedRuns.load(tmp_path / "out")["one"]
    whole = losses(task, fixed(0.1, 0.9))
    assert np.isfinite(whole).all()
    for config in (fixed(1.0, 0.9), fixed(0.11, 0.9), fixed(0.11, 0.1)):
        assert np.isnan(losses(task, config)).tolist() == [False, False, True, True]
    # It has diverged, whatever it is changed to.
    training = task.begin(fixed(1.0, 0.9))
    for _ in range(3):
        training.advance()
    training.change(fixed(0.1, 0.0))
    assert math.isnan(training.advance().metrics["validation_loss"])


def test_seeds_count_modulo_those_recorded_and_follow_from_the_configuration(
    tmp_path: Path,
) -> None:
    pack(made_up.write_journal(tmp_path / "journal", made_up.runs()), tmp_path / "out")
    task = RecordedRuns.load(tmp_path / "out")["one"]
    config = {"lr": 0.1, "momentum": 0.9}
    zero, one = (losses(task, {**config, "seed": seed}) for seed in (0, 1))
    assert zero != one
    assert losses(task, {**config, "seed": 7}) == one
    drawn = [losses(task, {**config, "width": width}) for width in range(20)]
    assert drawn == [losses(task, {**config, "width": width}) for width in range(20)]
    assert zero in drawn
    assert one in drawn


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({}, "a configuration must hold 'lr'"),
        ({"lr": 0.0}, "lr must be a number in"),
        ({"lr": "high"}, "lr must be a number in"),
        ({"lr": 0.1, "momentum": 1.0}, "momentum must be a number in"),
        ({"lr": 0.1, "gap": {"mode": "trial"}}, "mode of a recorded training must be"),
    ],
)
def test_a_configuration_that_nothing_was_recorded_of_is_refused(
    config: dict[str, Any], said: str
) -> None:
    with pytest.raises(InvalidValueError, match=said):
        RUNS[SGD].begin(config)


def test_a_training_that_is_done_does_not_go_on() -> None:
    training = RUNS[SGD].begin(fixed(0.05, 0.9))
    train(training)
    with pytest.raises(StateError, match="must not be done"):
        training.advance()


def test_a_table_is_a_mapping_of_its_settings() -> None:
    assert list(RUNS) == list(TABLES.names)
    assert len(RUNS) == 2
    assert RUNS[SGD] is RUNS[SGD]
    assert (RUNS[SGD].name, RUNS[SGD].reports, RUNS[SGD].mode) == (SGD, 20, "min")
    assert "another" not in RUNS
