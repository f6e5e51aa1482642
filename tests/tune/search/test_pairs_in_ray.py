"""Pairs in real studies: whole, equal but for momentum and seed, whatever kills the driver."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ray import tune
from ray.tune.schedulers import FIFOScheduler

from gap_tune import GapSearch, TrustRegion
from tests.tune.functions import quadratic
from tests.tune.search.pairs_driver import BASELINES, CONFIGURATIONS, SEEDS, tuner
from tests.tune.search.test_pairs import others


def by_pair(configs: list[dict[str, Any]]) -> dict[int, list[dict[str, Any]]]:
    found: dict[int, list[dict[str, Any]]] = {}
    for config in configs:
        found.setdefault(config["gap"]["pair"], []).append(config)
    return found


def kind(config: dict[str, Any]) -> tuple[int, float | None]:
    tuned = config["gap"]["mode"] == "scheduler"
    return config["seed"], None if tuned else config["momentum"]


def in_order(grid: tune.ResultGrid) -> list[dict[str, Any]]:
    return sorted(
        (dict(result.config) for result in grid),
        key=lambda config: (config["gap"]["pair"], str(kind(config))),
    )


def check_pairs(grid: tune.ResultGrid) -> None:
    """Check that all pairs are whole, and that trials did what their configurations say."""
    assert not grid.errors
    pairs = by_pair([result.config for result in grid])
    assert sorted(pairs) == list(range(CONFIGURATIONS))
    for members in pairs.values():
        wanted = [(5 + seed, m) for seed in range(SEEDS) for m in (None, *BASELINES)]
        assert sorted(map(kind, members), key=str) == sorted(wanted, key=str)
        # Learning rates follow momentum; what was searched is the same.
        assert len({c["gap"]["searched_lr"] for c in members}) == 1
        same = [{**others(c), "lr": 0, "seed": 0} for c in members]
        assert all(other == same[0] for other in same)
    for result in grid:
        assert result.metrics is not None
        if result.config["gap"]["mode"] == "fixed":
            assert result.metrics["gap/momentum"] == result.config["momentum"]
            assert "gap/scale" not in result.metrics


@pytest.mark.slow
def test_a_driver_killed_amid_a_configuration_goes_on_with_the_rest_of_it(
    ray_address: str, tmp_path: Path
) -> None:
    whole = tuner(tmp_path / "whole").fit()
    check_pairs(whole)

    killed = tmp_path / "killed"
    command = [sys.executable, "-m", "tests.tune.search.pairs_driver", ray_address, str(killed)]
    environment = {**os.environ, "TUNE_GLOBAL_CHECKPOINT_S": "0"}
    # Two configurations are not through.
    driver = subprocess.run([*command, "8"], env=environment, check=False)
    assert driver.returncode == -signal.SIGKILL
    (saved,) = sorted((killed / "run").glob("experiment_state-*.json"))[-1:]
    assert len(json.loads(saved.read_text())["trial_data"]) < len(whole)

    resumed = tuner(killed).fit()
    check_pairs(resumed)
    # Bit for bit the suggestions of the study that nothing has interrupted.
    assert in_order(resumed) == in_order(whole)


@pytest.mark.slow
@pytest.mark.parametrize("region", [None, TrustRegion()])
def test_without_a_gap_scheduler_learning_rates_stay_unless_a_region_is_given(
    ray_address: str, tmp_path: Path, region: TrustRegion | None
) -> None:
    def go(**options: Any) -> dict[str, Any]:
        (result,) = tune.Tuner(
            quadratic,
            param_space={"lr": 0.02, "epochs": 3},
            tune_config=tune.TuneConfig(
                metric="loss",
                mode="min",
                search_alg=GapSearch(trust_region=region),
                **options,
            ),
            run_config=tune.RunConfig(name="run", storage_path=str(tmp_path), verbose=0),
        ).fit()
        assert result.metrics is not None
        return result.metrics

    metrics = go(scheduler=FIFOScheduler())
    assert metrics["config"]["gap"]["scheduled"] is False
    assert metrics["gap/momentum"] == 0.9
    assert ("gap/scale" in metrics) == (region is not None)
