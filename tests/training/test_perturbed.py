"""Checkpoints that go on with a learning rate and momentum that were changed meanwhile."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from gap_tune.training.local import LocalTrial
from gap_tune.training.loop import fit

EPOCHS, STEPS = 4, 8
CONFIG = {
    "workload": "quadratic",
    "workload_options": {"dimension": 5, "samples": 8 * 32},
    "family": "sgd",
    "lr": 0.1,
    "weight_decay": 0.0,
    "momentum": 0.9,
    "epochs": EPOCHS,
    "gap": {"mode": "fixed"},
}


class PausedError(Exception):
    """Stands for a trial that its scheduler pauses."""


def train(
    config: Mapping[str, Any], folder: Path, *, until: float = math.inf
) -> tuple[list[tuple[float, float]], dict[str, Any]]:
    """Return (learning rate, momentum) at each step taken, and the last result."""
    used: list[tuple[float, float]] = []
    trials: list[Trial] = []

    class Trial(LocalTrial):
        def report(self, metrics: Mapping[str, Any], *, checkpoint: bool = False) -> None:
            super().report(metrics, checkpoint=checkpoint)
            if metrics["epoch"] >= until:
                raise PausedError

    def note(optimizer: Any, args: Any, kwargs: Any) -> None:
        group = optimizer.param_groups[0]
        used.append((group["lr"], group["momentum"]))

    def start(optimizer: torch.optim.Optimizer, config: Mapping[str, Any]) -> LocalTrial:
        optimizer.register_step_pre_hook(note)
        trials.append(Trial(optimizer, config, folder))
        return trials[-1]

    with contextlib.suppress(PausedError):
        fit(config, start)
    return used, trials[0].results[-1]


def cosine(lr: float, step: int, *, warmup: int = 0) -> float:
    """The schedule in closed form."""
    rising = min((step + 1) / warmup, 1.0) if warmup else 1.0
    return rising * lr * (1 + math.cos(math.pi * step / (EPOCHS * STEPS))) / 2


@pytest.mark.parametrize("warmup_epochs", [0.0, 1.5])
def test_a_changed_learning_rate_and_momentum_take_effect_within_the_schedule(
    tmp_path: Path, warmup_epochs: float
) -> None:
    config = {**CONFIG, "warmup_epochs": warmup_epochs}
    warmup = round(warmup_epochs * STEPS)
    before, _ = train(config, tmp_path, until=1)
    changed = {**config, "lr": 0.04, "momentum": 0.5}
    after, _ = train(changed, tmp_path, until=2)
    # Changed again: the first change was saved too.
    last, _ = train({**changed, "lr": 0.2}, tmp_path)
    used = before + after + last
    rates = [0.1] * STEPS + [0.04] * STEPS + [0.2] * 2 * STEPS
    expected = [cosine(lr, step, warmup=warmup) for step, lr in enumerate(rates)]
    assert [lr for lr, _ in used] == pytest.approx(expected, rel=1e-6)
    assert [m for _, m in used] == [0.9] * STEPS + [0.5] * 3 * STEPS


def test_a_changed_checkpoint_trains_as_torch_does_from_there(tmp_path: Path) -> None:
    plain = {**CONFIG, "schedule": "none"}
    train(plain, tmp_path, until=3)
    state = torch.load(tmp_path / "gap_tune.pt", weights_only=True)
    _, last = train({**plain, "lr": 0.02, "momentum": 0.0}, tmp_path)
    # Without momentum an epoch over noise of mean zero is nearly gradient descent; exactly, with
    # a hand-written loop over the same samples in the same order.
    from gap_tune.workloads import get_workload

    workload = get_workload("quadratic", CONFIG["workload_options"])  # type: ignore[arg-type]
    noise = workload.data().train.tensors[0]  # type: ignore[attr-defined]
    curvatures = workload.curvatures  # type: ignore[attr-defined]
    w = state["objects"]["model"]["w"].clone()
    order = torch.Generator()
    order.set_state(state["objects"]["progress"]["order"])
    # The order of the epoch that the checkpoint ended, and then that of the last one.
    torch.randperm(len(noise), generator=order)
    for batch in torch.randperm(len(noise), generator=order).split(32):
        w -= 0.02 * (curvatures * w + noise[batch].mean(0))
    loss = ((curvatures * w.square()).sum() / 2).item()
    assert last["validation_loss"] == pytest.approx(loss, rel=1e-5)


def test_an_unchanged_configuration_goes_on_bit_for_bit(tmp_path: Path) -> None:
    _, whole = train(CONFIG, tmp_path / "whole")
    train(CONFIG, tmp_path / "parts", until=2)
    _, parts = train(CONFIG, tmp_path / "parts")
    assert parts["validation_loss"] == whole["validation_loss"]


def test_a_momentum_that_gap_tune_chose_is_not_set_back(tmp_path: Path) -> None:
    config = {**CONFIG, "gap": {"mode": "trial"}}
    before, _ = train(config, tmp_path, until=2)
    after, _ = train(config, tmp_path)
    whole, _ = train(config, tmp_path / "whole")
    assert len({momentum for _, momentum in whole}) > 1
    assert before + after == whole
