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


def optimizer_of(config: dict[str, Any]) -> tuple[torch.nn.Parameter, torch.optim.Optimizer]:
    """Return a small model and the optimizer that a trial trains it with."""
    torch.set_num_threads(1)
    weight = torch.nn.Parameter(torch.randn(100))
    return weight, torch.optim.SGD([weight], lr=config["lr"], momentum=config["momentum"])


def step(weight: torch.nn.Parameter, optimizer: torch.optim.Optimizer) -> None:
    """Take one step on noise."""
    weight.grad = torch.randn(100) + weight.detach()
    optimizer.step()


def alternate(config: dict[str, Any]) -> None:
    """Report with and without gap_tune in turns of wall-clock time, which all trials share.

    Writes, per way of reporting, the seconds of each report and the seconds that it was in turn.
    """
    weight, optimizer = optimizer_of(config)
    trial = attach(optimizer, config)
    folder = Path(config["folder"])
    name = tune.get_context().get_trial_id()
    (folder / f"{name}.ready").touch()
    while len(list(folder.glob("*.ready"))) < config["trials"]:
        time.sleep(0.1)
    spent: dict[bool, list[float]] = {True: [], False: []}
    end = time.time() + config["seconds"]
    while (now := time.time()) < end:
        ours = int(now / PHASE_S) % 2 == 0
        step(weight, optimizer)
        before = time.perf_counter()
        if ours:
            trial.report({"loss": 1.0})
        else:
            tune.report({"loss": 1.0})
        if now % PHASE_S > SETTLE_S:
            spent[ours].append(time.perf_counter() - before)
    times = {"ours": spent[True], "bare": spent[False], "decisions": trial.seq}
    (folder / f"{name}.json").write_text(json.dumps(times))


def tiny(config: dict[str, Any]) -> None:
    """Take and report a few steps; the same whoever schedules it."""
    weight, optimizer = optimizer_of(config)
    trial = attach(optimizer, config)
    for _ in range(config["reports"]):
        for _ in range(6):
            step(weight, optimizer)
        trial.report({"loss": float(weight.detach().square().sum())})
