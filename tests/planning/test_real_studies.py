"""Plans with constants that are measured now, against real studies of Ray Tune."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from ray import tune

from gap_tune import GapScheduler, GapSearch
from gap_tune.planning import Constants, Request, plan
from gap_tune.planning.measuring import trials
from gap_tune.planning.measuring.measure import measure
from gap_tune.planning.measuring.studies import sizes_of
from tests.planning.known import MEASURED

pytestmark = pytest.mark.slow

REQUEST = Request(
    trials=8,
    nodes=1,
    gpus=2,
    report_seconds=1.0,
    reports=8,
    searcher="random",
    reuse_actors=True,
    tensorboard=False,
)
# Of the time on the clock: other processes of the machine have their part in it.
TOLERANCE = 0.2


@pytest.fixture(scope="module")
def measured(ray_address: str) -> Constants:
    return measure(reports=40, started=4, reused=12, suggested=100)


def train(config: dict[str, Any]) -> None:
    """Train so slowly that the clock tells, and report as the measured studies do."""
    slow = {**config, "pause": REQUEST.report_seconds}
    trials.decided(slow)


def test_all_constants_are_measured(measured: Constants) -> None:
    assert measured.about["ray"]
    # What a few trials take of memory and suggestions add may be lost in the noise.
    for name in MEASURED:
        if "per_trial" not in name and not name.startswith(("memory", "waiting", "tensorboard_s")):
            assert getattr(measured, name) > 0, name
    assert measured.result_scheduler_s > measured.result_bare_s
    assert measured.start_delay_s > measured.start_delay_reused_s


def test_a_real_study_takes_what_was_planned(measured: Constants, tmp_path: Path) -> None:
    planned = plan(REQUEST, measured)
    scheduler = GapScheduler(rule=trials.Alternating())
    began = time.monotonic()
    grid = tune.Tuner(
        tune.with_resources(train, {"cpu": 0.25}),
        param_space={**trials.space(), "reports": REQUEST.reports},
        tune_config=tune.TuneConfig(
            metric="loss",
            mode="min",
            num_samples=REQUEST.trials,
            max_concurrent_trials=REQUEST.concurrent,
            search_alg=GapSearch({"name": "random", "seed": 0}),
            scheduler=scheduler,
            reuse_actors=REQUEST.reuse_actors,
        ),
        run_config=tune.RunConfig(name="real", storage_path=str(tmp_path)),
    ).fit()
    seconds = time.monotonic() - began
    assert not grid.errors
    results = sum(len(result.metrics_dataframe) for result in grid)
    assert results == REQUEST.trials * REQUEST.reports
    # The first processes start while nobody trains.
    assert seconds - measured.start_delay_s == pytest.approx(planned.seconds, rel=TOLERANCE)
    sizes = sizes_of(tmp_path / "real")
    logs = sizes["results"] + sizes["table"] + sizes["parameters"]
    assert logs == pytest.approx(planned.log_size, rel=0.15)
    assert sizes["decisions"] == pytest.approx(planned.decisions_size, rel=0.1)
    assert sizes["state"] == pytest.approx(planned.state_size, rel=0.2)
