"""Warm-up and schedule of whole runs: their length, and the same again after a stop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gap_tune.errors import InvalidValueError
from gap_tune.training.local import run
from gap_tune.training.prepared import prepare
from gap_tune.training.settings import Settings
from gap_tune.workloads import get_workload
from tests.workloads.stopping import run_until, untimed

LOGISTIC: dict[str, Any] = {"workload": "logistic", "batch_size": 32, "lr": 1.0, "epochs": 3}


def rates(config: dict[str, Any]) -> list[float]:
    """Return the learning rate of every step of the first epoch."""
    made = prepare(config)
    found = []
    for minibatch in made.minibatches():
        found.append(made.learner.optimizer.param_groups[0]["lr"])
        made.step(minibatch)
    return found


def test_a_warm_up_lasts_as_many_steps_as_are_told() -> None:
    found = rates({**LOGISTIC, "schedule": "none", "warmup_steps": 4})
    assert found == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0])
    # Ten steps are an epoch.
    assert found == rates({**LOGISTIC, "schedule": "none", "warmup_epochs": 0.4})


def test_steps_go_before_epochs_and_none_are_none() -> None:
    config = {**LOGISTIC, "schedule": "none", "warmup_epochs": 0.4, "warmup_steps": 0}
    assert rates(config) == [1.0] * 10


def test_a_negative_warm_up_is_refused() -> None:
    with pytest.raises(InvalidValueError, match="warmup_steps must be an integer of at least 0"):
        Settings.of(get_workload("logistic"), {**LOGISTIC, "warmup_steps": -1})


@pytest.mark.parametrize("schedule", ["cosine", "step", "none"])
@pytest.mark.parametrize("family", ["sgd", "adamw"])
def test_a_run_that_stopped_in_its_warm_up_continues_bit_for_bit(
    schedule: str, family: str, tmp_path: Path
) -> None:
    config = {**LOGISTIC, "family": family, "schedule": schedule, "warmup_steps": 8, "lr": 0.05}
    config |= {"reports_per_epoch": 2, "checkpoints_per_epoch": 2, "gap": {"mode": "trial"}}
    stopped = run_until(config, tmp_path / "x", 1)
    assert untimed(stopped + run(config, tmp_path / "x")) == untimed(run(config))
