"""Training functions of the scale benchmark: as little training as possible, all reports."""

from __future__ import annotations

from typing import Any

import torch

from gap_tune import attach
from tests.benchmarks.scale.turns import take_turns, write


def optimizer_of(config: dict[str, Any]) -> tuple[torch.nn.Parameter, torch.optim.Optimizer]:
    """Return a small model and the optimizer that a trial trains it with."""
    torch.set_num_threads(1)
    weight = torch.nn.Parameter(torch.randn(100))
    return weight, torch.optim.SGD([weight], lr=config["lr"], momentum=config["momentum"])


def step(weight: torch.nn.Parameter, optimizer: torch.optim.Optimizer) -> None:
    """Take one step on noise."""
    weight.grad = torch.randn(100) + weight.detach()
    optimizer.step()


def training(config: dict[str, Any]) -> None:
    """Take a step before each report."""
    weight, optimizer = optimizer_of(config)
    trial = attach(optimizer, config)

    spent = take_turns(config, lambda: step(weight, optimizer), lambda: trial.report({"loss": 1.0}))
    write(config, spent, trial.seq)


def tiny(config: dict[str, Any]) -> None:
    """Take and report a few steps; the same whoever schedules it."""
    weight, optimizer = optimizer_of(config)
    trial = attach(optimizer, config)
    for _ in range(config["reports"]):
        for _ in range(6):
            step(weight, optimizer)
        trial.report({"loss": float(weight.detach().square().sum())})
