"""The table that gap_tune ships: what it must hold, and what it may cost."""

from __future__ import annotations

import time

import numpy as np
import pytest

from gap_tune.panel.settings import read_settings
from gap_tune.simulation.recorded import RecordedRuns
from gap_tune.simulation.recorded.files import TABLE_FILE, Tables
from gap_tune.simulation.recorded.runs import SHIPPED
from gap_tune.tune import GapScheduler, keys
from tests.simulation.recorded.switching import unscaled

RUNS, TABLES = RecordedRuns.load(), Tables(SHIPPED)


def test_it_is_small_and_whole() -> None:
    assert (SHIPPED / TABLE_FILE).stat().st_size <= 8 * 2**20
    assert len(RUNS) >= 12
    assert set(RUNS) <= {s.name for s in read_settings().of_half("development").settings}
    momenta = [f"fixed:{momentum:g}" for momentum in (0, 0.5, 0.8, 0.9, 0.95, 0.99)]
    for name in RUNS:
        recordings = TABLES.read(name)
        assert recordings.shape == (8, 15, 4, 20)
        assert set(recordings.arms) == {*momenta, "gap", "gap-unscaled"}
        assert all(facts.seconds_per_step > 0 for facts in recordings.arms.values())
        losses = recordings.columns["validation_loss"]
        assert np.isfinite(losses).mean() > 0.5


def test_all_of_it_is_there_within_a_second() -> None:
    # Seconds of this process: others may have the machine. The least of a few: garbage of the tests
    # before is collected meanwhile, and threads that they have left take their share.
    spent = []
    for _ in range(3):
        start = time.process_time()
        runs = RecordedRuns.load()
        assert sum(runs[name].reports for name in runs) == 20 * len(runs)
        spent.append(time.process_time() - start)
    assert min(spent) < 1.0


@pytest.mark.parametrize("arm", ["gap", "gap-unscaled"])
def test_the_scheduler_repeats_what_was_recorded(arm: str) -> None:
    scheduler = GapScheduler()
    for name, task in RUNS.items():
        recordings = TABLES.read(name)
        place = list(recordings.arms).index(arm)
        for rate in (0, 7, 14):
            own = {"mode": "scheduler", "reference_momentum": 0.9}
            region = {} if arm == "gap" else {"trust_region": {"span": 1.0}}
            config = {"lr": task.learning_rates[rate], "momentum": 0.9, "seed": 1}
            config |= {"gap": {**own, **region}}
            training = task.begin(config)
            for moment in range(task.reports):
                metrics = training.advance().metrics
                recorded = recordings.columns["validation_loss"][place, rate, 1, moment]
                if np.isnan(recorded):
                    assert np.isnan(metrics["validation_loss"])
                    break
                assert metrics["validation_loss"] == recorded
                momentum = recordings.columns["momentum"][place, rate, 1, moment]
                assert metrics[keys.MOMENTUM] == momentum
                training.follow(scheduler.decide(metrics, config))


def test_a_changing_momentum_is_predicted_from_fixed_ones_in_every_setting() -> None:
    found = [unscaled(task, TABLES.read(name)) for name, task in RUNS.items()]
    ranks, errors = zip(*((each["rank"], each["error"]) for each in found), strict=True)
    assert min(ranks) > 0.7
    assert np.mean(ranks) > 0.9
    assert np.median([e / each["spread"] for e, each in zip(errors, found, strict=True)]) < 0.35
