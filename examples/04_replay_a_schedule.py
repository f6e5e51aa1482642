"""Record the momentum that a trial went through and replay it, in Ray Tune and without.

The first study lets GapScheduler choose the momentum of a small network; every decision is a line
in decisions.jsonl. The second replays them with the same seed and ends with the same weights. The
last run replays them in a plain loop with another seed, without Ray.
It takes less than a minute on two cores.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import Any

import ray
import torch
from ray import tune
from sklearn.datasets import load_digits
from torch.nn.functional import cross_entropy

import gap_tune
from gap_tune.optim import SGD

STEPS, EVERY, LR, MOMENTUM = 400, 20, 0.05, 0.9


def network(seed: int) -> torch.nn.Module:
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))


def descend(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[float]:
    """Train; yield the loss over all digits every 20 steps."""
    digits = load_digits()
    inputs = torch.tensor(digits.data / 16, dtype=torch.float32)
    targets = torch.tensor(digits.target)
    for step in range(1, STEPS + 1):
        rows = torch.randint(len(inputs), (32,))
        optimizer.zero_grad()
        cross_entropy(model(inputs[rows]), targets[rows]).backward()
        optimizer.step()
        if step % EVERY == 0:
            yield cross_entropy(model(inputs), targets).item()


def train(config: dict[str, Any]) -> None:
    model = network(config["seed"])
    optimizer = torch.optim.SGD(model.parameters(), lr=LR, momentum=config["momentum"])
    trial = gap_tune.attach(optimizer, config)
    for loss in descend(model, optimizer):
        weights = sum(p.detach().double().sum().item() for p in model.parameters())
        trial.report({"loss": loss, "weights": weights})


def study(name: str, folder: str, scheduler: gap_tune.GapScheduler) -> None:
    space = {"seed": 0, "momentum": MOMENTUM, "gap": {"mode": "scheduler"}}
    config = tune.TuneConfig(metric="loss", mode="min", scheduler=scheduler)
    run = tune.RunConfig(name=name, storage_path=folder, verbose=0)
    last = tune.Tuner(train, param_space=space, tune_config=config, run_config=run).fit()[0].metrics
    print(f"{name}: loss {last['loss']:.6f}, sum of weights {last['weights']:.9f}")


def main() -> None:
    ray.init(log_to_driver=False, ignore_reinit_error=True)
    with tempfile.TemporaryDirectory() as folder:
        study("recorded", folder, gap_tune.GapScheduler())
        schedule = gap_tune.MomentumSchedule.from_decisions(f"{folder}/recorded")
        study("replayed", folder, gap_tune.GapScheduler(rule=schedule))
    print(schedule)
    model = network(seed=1)
    optimizer = SGD(model.parameters(), lr=LR, momentum=MOMENTUM, rule=schedule)
    print(f"another seed, without Ray: loss {list(descend(model, optimizer))[-1]:.6f}")


if __name__ == "__main__":
    main()
