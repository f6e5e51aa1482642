"""Probe a network for 60 steps, then start a study whose trials begin with what it measured.

The data are scikit-learn's 1,797 handwritten digits. It takes half a minute on two cores.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import ray
import torch
from ray import tune
from sklearn.datasets import load_digits
from torch.nn.functional import cross_entropy

import gap_tune

BATCH = 64


def model_and_data(seed: int = 0) -> tuple[torch.nn.Module, torch.Tensor, torch.Tensor]:
    torch.manual_seed(seed)
    pixels, labels = load_digits(return_X_y=True)
    inputs = torch.tensor(pixels / 16, dtype=torch.float32)
    model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
    return model, inputs, torch.tensor(labels)


def setup() -> Any:
    model, inputs, labels = model_and_data()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    def train_step() -> None:
        rows = torch.randint(len(inputs), (BATCH,))
        optimizer.zero_grad()
        cross_entropy(model(inputs[rows]), labels[rows]).backward()
        optimizer.step()

    return optimizer, train_step


def train(config: dict[str, Any]) -> None:
    model, inputs, labels = model_and_data(seed=1)
    optimizer = torch.optim.SGD(model.parameters(), lr=config["lr"], momentum=config["momentum"])
    trial = gap_tune.attach(optimizer, config)
    for _ in trial.epochs(5):
        for rows in torch.randperm(1200).split(BATCH):
            optimizer.zero_grad()
            cross_entropy(model(inputs[rows]), labels[rows]).backward()
            optimizer.step()
        with torch.no_grad():
            loss = cross_entropy(model(inputs[1200:]), labels[1200:]).item()
        trial.report({"loss": loss})


def main(folder: Path) -> None:
    ray.init(log_to_driver=False, ignore_reinit_error=True)
    statistics = gap_tune.probe(setup, steps=60, path=folder / "statistics.json")
    print("the probe chooses:", gap_tune.AlignmentRule().decide(statistics, 0.9).explanation)
    # lr="lr": Optuna searches the learning rate of momentum 0.9, each trial gets that of its own.
    search = gap_tune.GapSearch(statistics=folder / "statistics.json", lr="lr")
    options = {"search_alg": search, "scheduler": gap_tune.GapScheduler(), "reuse_actors": True}
    tuner = tune.Tuner(
        train,
        param_space={"lr": tune.loguniform(0.01, 0.5)},
        tune_config=tune.TuneConfig(metric="loss", mode="min", num_samples=4, **options),
        run_config=tune.RunConfig(storage_path=str(folder), verbose=0),
    )
    for result in tuner.fit():
        own = result.config["gap"]
        lrs = f"lr {own['searched_lr']:.4g} became {result.config['lr']:.4g}"
        print(f"{lrs} at {result.config['momentum']}: loss {result.metrics['loss']:.3f}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(Path(folder))
