"""Stop sweeping momentum, or not: a study of one's own that answers, on Fashion-MNIST.

Each learning rate that the search draws makes a trial with GAP and one with each momentum that a
sweep would hold, all with the same weights and data order. The answer comes first, then what to
take home. It takes four minutes on two cores, and needs the four files of Fashion-MNIST, which
Debian and Ubuntu have as ``dataset-fashion-mnist``.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from ray import tune
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import gap_tune
from gap_tune.records.experiments import read_experiment
from gap_tune.report import verdict
from gap_tune.workloads.vision.idx import read_idx

MOMENTA = (0.5, 0.8, 0.9, 0.95, 0.99)


def load(folder: str, part: str, most: int) -> TensorDataset:
    images = read_idx(Path(folder, f"{part}-images-idx3-ubyte.gz"), 3)[:most]
    labels = read_idx(Path(folder, f"{part}-labels-idx1-ubyte.gz"), 1)[:most]
    pixels = torch.tensor(images, dtype=torch.float32).unsqueeze(1) / 255
    return TensorDataset(pixels, torch.tensor(labels, dtype=torch.long))


def train(config: dict[str, Any]) -> None:
    torch.manual_seed(config["seed"])
    layers = nn.Conv2d(1, 6, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(864, 10)
    model, loss_of = nn.Sequential(*layers), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=config["lr"], momentum=config["momentum"])
    trial = gap_tune.attach(optimizer, config)
    batches = DataLoader(load(config["data"], "train", 2000), batch_size=32, shuffle=True)
    images, labels = load(config["data"], "t10k", 1000).tensors
    for _ in trial.epochs(config["epochs"]):
        for inputs, targets in batches:
            optimizer.zero_grad()
            loss_of(model(inputs), targets).backward()
            optimizer.step()
        with torch.no_grad():
            outputs = model(images)
        accuracy = (outputs.argmax(1) == labels).float().mean().item()
        trial.report({"loss": loss_of(outputs, labels).item(), "accuracy": accuracy})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="/usr/share/datasets/fashion-mnist")
    parser.add_argument("--rates", type=int, default=6)
    parser.add_argument("--epochs", type=int, default=4)
    given = parser.parse_args()
    search = gap_tune.GapSearch({"name": "random", "seed": 0}, lr="lr", baselines=MOMENTA)
    tuner = gap_tune.tuner(
        train,
        {"lr": tune.loguniform(1e-3, 1e-1), "data": given.data, "epochs": given.epochs},
        search_alg=search,
        metric="loss",
        mode="min",
        num_samples=search.trials_of(given.rates),
    )
    results = tuner.fit()
    print(verdict(read_experiment(results.experiment_path)).headline)
    print(gap_tune.best(results).text)
    print(f"gap-tune report {results.experiment_path}")


if __name__ == "__main__":
    main()
