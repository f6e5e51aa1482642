"""Training functions of the scale benchmark: as little training as possible, all reports."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import torch
from ray import tune

from gap_tune import attach

PHASE_S = 2.0
# The start of a phase still works off the reports of the one before.
SETTLE_S = 0.5
WAYS = ("ours", "fifo", "bare")


def optimizer_of(config: dict[str, Any]) -> tuple[torch.nn.Parameter, torch.optim.Optimizer]:
    """Return a small model and the optimizer that a trial trains it with."""
    torch.set_num_threads(1)
    weight = torch.nn.Parameter(torch.randn(100))
    return weight, torch.optim.SGD([weight], lr=config["lr"], momentum=config["momentum"])


def step(weight: torch.nn.Parameter, optimizer: torch.optim.Optimizer) -> None:
    """Take one step on noise."""
    weight.grad = torch.randn(100) + weight.detach()
    optimizer.step()


def way_now(now: float) -> str:
    """Return what is in turn: all of gap_tune, its trials without its scheduler, or neither."""
    return WAYS[int(now / PHASE_S) % len(WAYS)]


def alternate(config: dict[str, Any]) -> None:
    """Report in several ways, in turns of wall-clock time, which all trials and the driver share.

    Writes the seconds of each report, by the way of reporting.
    """
    weight, optimizer = optimizer_of(config)
    trial = attach(optimizer, config)
    folder = Path(config["folder"])
    name = tune.get_context().get_trial_id()
    (folder / f"{name}.ready").touch()
    while len(list(folder.glob("*.ready"))) < config["trials"]:
        time.sleep(0.1)
    spent: dict[str, list[float]] = {way: [] for way in WAYS}
    end = time.time() + config["seconds"]
    while (now := time.time()) < end:
        way = way_now(now)
        step(weight, optimizer)
        before = time.perf_counter()
        if way == "bare":
            tune.report({"loss": 1.0})
        else:
            trial.report({"loss": 1.0})
        if now % PHASE_S > SETTLE_S:
            spent[way].append(time.perf_counter() - before)
    (folder / f"{name}.json").write_text(json.dumps({**spent, "changes": trial.seq}))


def tiny(config: dict[str, Any]) -> None:
    """Take and report a few steps; the same whoever schedules it."""
    weight, optimizer = optimizer_of(config)
    trial = attach(optimizer, config)
    for _ in range(config["reports"]):
        for _ in range(6):
            step(weight, optimizer)
        trial.report({"loss": float(weight.detach().square().sum())})
