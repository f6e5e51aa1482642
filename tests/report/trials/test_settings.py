"""The hyperparameters of trials, as set and as used."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from ray import tune

import gap_tune
from gap_tune.records.experiments import read_experiment
from gap_tune.records.records import Records
from gap_tune.report.comparison import Comparison
from gap_tune.report.figures.settings import rate_against_momentum
from gap_tune.report.trials.settings import LR, MOMENTUM, TrialSettings
from tests.report.trials.conftest import Experiment

GAP = {"mode": "scheduler", "reference_momentum": 0.9}


def configs(*lrs: float, **others: Any) -> list[dict[str, Any]]:
    return [{"lr": lr, "momentum": 0.9, "gap": GAP, **others} for lr in lrs]


def used(records: Records, place: int = 0) -> dict[str, Any]:
    rows = TrialSettings.of(records).rows
    return dict(rows[rows["trial_id"] == f"gap-{place}"].iloc[0])


def test_momentum_as_used_is_the_mean_over_optimizer_steps(experiment: Experiment) -> None:
    # Reports are ten steps apart; the last but one comes after thirty more.
    records = experiment(configs(0.1, 0.2), [0.2, 0.3], momenta=(0.9, 0.8, 0.8, 0.99))
    steps = records.results["gap/steps"].replace({30: 50, 40: 60})
    row = used(replace(records, results=records.results.assign(**{"gap/steps": steps})))
    assert row[MOMENTUM] == pytest.approx((10 * 0.9 + 40 * 0.8 + 10 * 0.99) / 60)


def test_learning_rate_as_used_is_what_coupling_and_scale_made_of_it(
    experiment: Experiment,
) -> None:
    records = experiment(configs(0.1, 0.2), [0.2, 0.3], momenta=(0.9, 0.8, 0.8, 0.99))
    scales = pd.Series([0.3, 1.0, 2.0, 4.0] * 2, index=records.results.index)
    row = used(replace(records, results=records.results.assign(**{"gap/scale": scales})))
    # Corollary 5: sqrt(1 - beta^2) over that of the reference.
    each = [
        0.1 * scale * math.sqrt(1 - beta**2) / math.sqrt(1 - 0.9**2)
        for scale, beta in zip((0.3, 1.0, 2.0, 4.0), (0.9, 0.8, 0.8, 0.99), strict=True)
    ]
    assert row[LR] == pytest.approx(math.exp(np.mean(np.log(each))))


def test_baselines_used_what_they_were_given(experiment: Experiment) -> None:
    fixed = {"mode": "fixed", "reference_momentum": 0.9}
    chosen = [{"lr": lr, "momentum": 0.5, "gap": fixed} for lr in (0.1, 0.3)]
    records = experiment(chosen, [0.2, 0.3], momenta=(0.5,))
    assert used(records, 1)[LR] == 0.3
    # All trials used the same momentum, and the learning rate as it was set.
    assert TrialSettings.of(records).names == (LR,)


def noting(config: dict[str, Any]) -> None:
    """Train, and report the mean logarithm of the learning rates that the optimizer used."""
    torch.manual_seed(0)
    model = torch.nn.Linear(8, 1)
    optimizer = torch.optim.SGD(model.parameters(), config["lr"], momentum=config["momentum"])
    trial = gap_tune.attach(optimizer, config)
    logs = []
    for _ in range(6):
        for _ in range(5):
            optimizer.zero_grad()
            model(torch.randn(16, 8)).square().mean().backward()
            optimizer.step()
            logs.append(math.log(optimizer.param_groups[0]["coupled_lr"]))
        loss = model(torch.ones(1, 8)).square().item()
        trial.report({"loss": loss, "log_lr": sum(logs) / len(logs)})


def test_learning_rate_as_used_is_that_of_the_optimizer_in_a_real_run(
    ray_address: str, tmp_path: Path
) -> None:
    region = {"mode": "scheduler", "reference_momentum": 0.9, "trust_region": {"span": 1.0}}
    tune.Tuner(
        noting,
        param_space={"lr": tune.grid_search([0.01, 0.02]), "momentum": 0.9, "gap": region},
        tune_config=tune.TuneConfig(
            metric="loss", mode="min", scheduler=gap_tune.GapScheduler(), max_concurrent_trials=1
        ),
        run_config=tune.RunConfig("run", str(tmp_path), verbose=0),
    ).fit()
    records = read_experiment(tmp_path / "run")
    settings = TrialSettings.of(records)
    assert len(settings.rows) == 2
    said = records.trials.set_index("trial_id")["log_lr"]
    for row in settings.rows.to_dict("records"):
        assert row[LR] == pytest.approx(math.exp(said[row["trial_id"]]), rel=1e-3)


def test_settings_that_differ_are_shown_and_float_dust_is_not_a_difference(
    experiment: Experiment,
) -> None:
    others: list[dict[str, Any]] = [
        {"lr": 0.1, "weight_decay": 0.3, "width": 32, "act": "relu", "seed": 0, "flag": True},
        {"lr": 0.1, "weight_decay": 3 * 0.1, "width": 64, "act": "tanh", "seed": 1, "flag": False},
    ]
    settings = TrialSettings.of(experiment(others, [0.2, 0.3]))
    assert settings.names == ("width", "act", "flag")
    assert list(settings.rows["flag"]) == ["true", "false"]


@pytest.mark.parametrize("name", ["name", "status", "trial_id", "validation_loss"])
def test_hyperparameters_may_be_called_as_they_like(experiment: Experiment, name: str) -> None:
    chosen = [{"lr": 0.1, name: word} for word in ("one", "two")]
    settings = TrialSettings.of(experiment(chosen, [0.2, 0.3]))
    assert settings.names == (f"{name} (setting)",)
    assert list(settings.rows[f"{name} (setting)"]) == ["one", "two"]
    assert list(settings.rows["validation_loss"]) == [0.2, 0.3]


@pytest.mark.parametrize("mode", ["min", "max"])
def test_the_best_trial_comes_first_and_lost_ones_are_counted(
    experiment: Experiment, mode: str
) -> None:
    records = experiment(configs(0.1, 0.2, 0.3), [0.2, math.nan, 0.1], mode=mode)
    settings = TrialSettings.of(records)
    best_first = sorted([0.1, 0.2], reverse=mode == "max")
    assert list(settings.rows["validation_loss"]) == best_first
    assert settings.left_out == 1


def test_no_trials_have_no_settings(experiment: Experiment) -> None:
    settings = TrialSettings.of(experiment([], []))
    assert settings.names == ()
    assert settings.whole().empty


def test_marks_stand_at_what_was_used(experiment: Experiment) -> None:
    records = experiment(configs(0.1, 0.2, 0.4), [0.3, 0.2, 0.9], momenta=(0.8, 0.9))
    settings = TrialSettings.of(records)
    (marks,) = rate_against_momentum(Comparison.of(records), settings).data
    assert marks.x == pytest.approx(settings.rows[LR].to_numpy(float))
    assert marks.y == pytest.approx(settings.rows[MOMENTUM].to_numpy(float))
    # From best to worst, whatever the distances: 1 is the best.
    assert list(marks.marker.color) == [1.0, 0.5, 0.0]
