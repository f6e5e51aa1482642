"""ASHA stops the trials that do badly while GapScheduler tunes the momentum of the others.

Eight learning rates; ASHA stops half of the trials after one epoch and half of the rest after two.
Nobody chooses a momentum. It takes less than a minute on two cores.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from typing import Any

import ray
import torch
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from sklearn.datasets import load_digits
from torch.nn.functional import cross_entropy

import gap_tune
from gap_tune.tune import read_decisions

EPOCHS = 6


def train(config: dict[str, Any]) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data / 16, dtype=torch.float32)
    targets = torch.tensor(digits.target)
    model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=config["lr"], momentum=config["momentum"])
    trial = gap_tune.attach(optimizer, config)
    for _ in trial.epochs(EPOCHS):
        for rows in torch.randperm(len(inputs)).split(32):
            optimizer.zero_grad()
            cross_entropy(model(inputs[rows]), targets[rows]).backward()
            optimizer.step()
        with torch.no_grad():
            trial.report({"loss": cross_entropy(model(inputs), targets).item()})


def main() -> None:
    ray.init(log_to_driver=False, ignore_reinit_error=True)
    asha = ASHAScheduler(max_t=EPOCHS, grace_period=1, reduction_factor=2)
    with tempfile.TemporaryDirectory() as folder:
        grid = tune.Tuner(
            train,
            param_space={"lr": tune.loguniform(1e-3, 1.0)},
            tune_config=tune.TuneConfig(
                metric="loss",
                mode="min",
                num_samples=8,
                search_alg=gap_tune.GapSearch(),
                scheduler=gap_tune.GapScheduler(asha),
                max_concurrent_trials=2,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(name="asha", storage_path=folder, verbose=0),
        ).fit()
        decisions = read_decisions(f"{folder}/asha")
    for result in sorted(grid, key=lambda result: result.metrics["loss"]):
        own = [d.new for d in decisions if d.trial == result.metrics["trial_id"]]
        epochs = result.metrics["training_iteration"]
        print(
            f"lr {result.config['lr']:<8.2g} epochs {epochs}  loss {result.metrics['loss']:.4f}  "
            f"momentum decided: {own}"
        )
    print("reasons:", dict(Counter(d.reason for d in decisions)))


if __name__ == "__main__":
    main()
