"""Runs of a suite against Ray Tune trials, and against plain runs."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ray import tune

from gap_tune import GapScheduler, GapSearch
from gap_tune.panel.settings import Setting
from gap_tune.study import Job
from gap_tune.study.grammar import parse_arm
from gap_tune.study.methods.plan import PlannedTrials
from gap_tune.study.suite.measuring import initial_losses
from gap_tune.study.suite.running import run
from gap_tune.training import local
from gap_tune.training.loop import train as train_in_tune
from gap_tune.tune import keys
from gap_tune.workloads.vision.digits import DigitsMLP
from tests.study.suite.jobs import SMALL, job


class Broken(DigitsMLP):
    def loss(self, outputs: Any, targets: Any) -> Any:
        # The untrained model can be evaluated.
        if outputs.requires_grad:
            raise RuntimeError("out of order")
        return super().loss(outputs, targets)


@pytest.mark.slow
def test_a_gap_run_is_a_ray_tune_trial_with_gap_scheduler(ray_address: str, tmp_path: Path) -> None:
    # As a Study makes its trials, the suite's code left out.
    common = {
        "workload": "digits-mlp",
        "workload_options": {"label_noise": 0.4},
        "batch_size": 64,
        "epochs": 2,
        "reports_per_epoch": 8,
        "lr": 0.05,
        "weight_decay": 0.0,
    }
    planned = PlannedTrials([{**parse_arm("gap").configuration(), "seed": 3}])
    tuner = tune.Tuner(
        tune.with_resources(train_in_tune, {"cpu": 1}),
        param_space=common,
        tune_config=tune.TuneConfig(
            metric="validation_loss",
            mode="min",
            search_alg=GapSearch(planned),
            scheduler=GapScheduler(),
        ),
        run_config=tune.RunConfig(storage_path=str(tmp_path), verbose=0),
    )
    (result,) = tuner.fit()
    assert result.error is None
    assert result.metrics is not None
    frame = result.metrics_dataframe
    assert frame is not None
    row = run(job("gap"))
    assert row["momenta"] == frame[keys.MOMENTUM].to_list()
    assert len(set(row["momenta"])) > 1, "momentum never changed, so nothing was compared"
    assert row["test_loss"] == result.metrics["test_loss"]
    assert row["validation_loss"] == result.metrics["validation_loss"]
    assert row["steps"] == result.metrics[keys.STEPS]


def plain(arm: str, **changes: Any) -> list[dict[str, Any]]:
    return local.run({**job(arm).config, **changes})


@pytest.mark.parametrize("arm", ["fixed:0.5", "gap-trial", "switch", "yellowfin"])
def test_other_arms_are_plain_runs(arm: str) -> None:
    row = run(job(arm))
    expected = plain(arm)[-1]
    assert row["status"] == "finished"
    assert row["test_loss"] == expected["test_loss"]
    assert row["steps"] == 32
    assert row["seconds"] > 0
    assert len(row["momenta"]) == 16
    if arm == "fixed:0.5":
        assert set(row["momenta"]) == {0.5}
    else:
        assert all(0 <= momentum < 1 for momentum in row["momenta"])
    # Lines of the journal are JSON.
    assert json.loads(json.dumps(row)) == row


def test_the_papers_rule_is_another_than_the_default() -> None:
    paper, own = (run(job(arm)) for arm in ("gap-paper", "gap-trial"))
    assert paper["momenta"] != own["momenta"]
    # It leans to the lowest candidate when gradients are noisy.
    assert sum(paper["momenta"]) < sum(own["momenta"])


def test_seeds_are_paired() -> None:
    first = initial_losses(job("gap", seed=0).config)
    assert initial_losses(job("gap", replace(SMALL, epochs=9), seed=0).config) == first
    assert initial_losses(job("switch", lr=0.5, seed=0).config) == first
    assert initial_losses(job("gap", seed=1).config) != first
    # Ten classes, nothing learnt.
    assert first["initial_test_loss"] == pytest.approx(math.log(10), abs=0.2)


@pytest.mark.parametrize("arm", ["fixed:0.99", "gap", "gap-trial"])
def test_a_run_that_diverges_is_noted_as_that(arm: str) -> None:
    wild = Setting("wild", "quadratic", "sgd", 32, 6, 16, {"samples": 1024})
    row = run(job(arm, wild, lr=1e4, seed=0))
    assert row["status"] == "diverged"
    assert "must be finite" in row["error"]
    assert row["test_loss"] is None
    assert row["steps"] < 6 * 32
    assert math.isfinite(row["initial_test_loss"])


def test_a_run_that_fails_says_why() -> None:
    broken = {**job("fixed:0.5").config, "workload": f"{__name__}:Broken"}
    row = run(Job({**broken, "workload_options": {}}))
    assert row["status"] == "failed"
    assert "out of order" in row["error"]
    assert row["steps"] == 0
    assert (row["validation_loss"], row["test_loss"], row["momenta"]) == (None, None, [])
