"""A training function whose whole course is fixed by its seed, and which dies on request."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from pathlib import Path
from typing import Any

import torch

from gap_tune import attach

EPOCHS = 10
STEPS = 8
DIMENSION = 40


def descend(config: dict[str, Any]) -> None:
    """Minimise a noisy quadratic of condition number 100; report and save at every epoch."""
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(config["seed"])
    curvature = torch.logspace(-2, 0, DIMENSION)
    weight = torch.nn.Parameter(torch.randn(DIMENSION, generator=generator))
    optimizer = torch.optim.SGD([weight], lr=0.05, momentum=config["momentum"])
    trial = attach(optimizer, config)
    trial.restore(model=torch.nn.ParameterList([weight]), generator=generator)
    for begun, _ in enumerate(trial.epochs(config.get("epochs", EPOCHS))):
        die_at_random(config, begun)
        hold(config, begun)
        for _ in range(STEPS):
            optimizer.zero_grad()
            noise = 0.1 * torch.randn(DIMENSION, generator=generator)
            ((curvature * weight.pow(2)).sum() / 2 + (noise * weight).sum()).backward()
            optimizer.step()
        time.sleep(config.get("pause_s", 0.0))
        loss = (curvature * weight.detach().pow(2)).sum().item() / 2
        checksum = weight.detach().double().pow(2).sum().item()
        trial.report({"loss": loss, "checksum": checksum, "node": node()}, checkpoint=True)


def node() -> str:
    """Return the node that this process runs on."""
    import ray

    return str(ray.get_runtime_context().get_node_id())


def hold(config: dict[str, Any], begun: int) -> None:
    """Stay in an epoch, by default the second, as long as there is a file ``config["hold"]``."""
    at = config.get("hold_at", 1)
    while begun == at and "hold" in config and Path(config["hold"]).exists():
        time.sleep(0.1)


def die_at_random(config: dict[str, Any], begun: int) -> None:
    """Kill this very process, as the kernel would, somewhere in its first or second epoch.

    ``config["deaths"]`` is a folder with one file per death so far; ``config["lives"]`` says how
    many there must be. No process begins a third epoch before all of them are spent: a trial of
    more than twice as many epochs dies as often as that, on any machine.

    Args:
        config: The trial's configuration.
        begun: How many epochs this process has begun before this one.
    """
    if "deaths" not in config:
        return
    folder = Path(config["deaths"])
    folder.mkdir(parents=True, exist_ok=True)
    so_far = len(list(folder.iterdir()))
    if (folder / f"{so_far - 1}-{os.getpid()}").exists():
        time.sleep(600.0)  # Death is on its way.
    # Every other process has an undisturbed epoch first, with a decision to be lost or kept.
    if so_far < config["lives"] and begun == so_far % 2:
        (folder / f"{so_far}-{os.getpid()}").touch()
        chance = random.Random(f"{config['seed']} {so_far} {time.monotonic_ns()}")
        # A report comes about 10 ms after the epoch began: before, within and after it.
        threading.Timer(chance.uniform(0.0, 0.03), os.kill, (os.getpid(), signal.SIGKILL)).start()
