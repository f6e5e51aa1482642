"""Tune functions of users, for studies of them."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import torch

import gap_tune


def train(config: dict[str, Any]) -> None:
    """Descend a noisy quadratic; report what the configuration said."""
    torch.set_num_threads(1)
    torch.manual_seed(config["seed"])
    weight = torch.nn.Parameter(torch.randn(20))
    optimizer = torch.optim.SGD([weight], lr=config["lr"], momentum=config["momentum"])
    trial = gap_tune.attach(optimizer, config)
    model = torch.nn.ParameterList([weight])
    trial.restore(model=model)
    first = float(weight.detach().square().sum())
    for epoch in trial.epochs(config["epochs"]):
        for _ in range(8):
            optimizer.zero_grad()
            ((weight.square().sum() + (0.1 * torch.randn(20) * weight).sum()) / 2).backward()
            optimizer.step()
        time.sleep(config.get("pause_s", 0))
        loss = float(weight.detach().square().sum())
        trial.report({"size": loss, "first": first, "epoch_done": epoch}, checkpoint=True)


def nested_train(config: dict[str, Any]) -> None:
    """Train with what stands in an inner configuration, all that a trainer's workers would see."""
    train(config["loop"] | {"arm": config["arm"]})


class Trainable:
    """No function."""


if __name__ == "__main__":
    # A script that is only looked into for its function must not do what it does when it is run.
    Path(os.environ["GAP_TUNE_TEST_MARKER"]).touch()
