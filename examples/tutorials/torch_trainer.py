"""Ray Train's tutorial with Fashion-MNIST under Ray Tune: two workers train each trial's network.

Against plain Ray Train and Tune 4 lines are new (`# +`) and 3 are gone (`# -`): nobody sweeps
momentum, and both workers train with the one that is chosen.
It trains with a part of the files that Debian and Ubuntu have as the package
dataset-fashion-mnist; name another folder as the first argument. About a minute on two cores.
"""

from __future__ import annotations

import gzip
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import ray.train
import torch
from ray import tune
from ray.train.torch import TorchTrainer, prepare_data_loader, prepare_model
from ray.tune.integration.ray_train import TuneReportCallback
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

import gap_tune  # +

FOLDER = Path(sys.argv[1] if len(sys.argv) > 1 else "/usr/share/datasets/fashion-mnist")


def clothes(part: str, most: int) -> TensorDataset:
    """Return the first images and labels of "train" or "t10k", from their files in idx format."""
    with gzip.open(FOLDER / f"{part}-images-idx3-ubyte.gz") as file:
        _, _, height, width = np.frombuffer(file.read(16), ">i4")
        pixels = np.frombuffer(file.read(most * int(height * width)), np.uint8)
    with gzip.open(FOLDER / f"{part}-labels-idx1-ubyte.gz") as file:
        file.read(8)
        labels = np.frombuffer(file.read(most), np.uint8)
    images = torch.tensor(pixels.reshape(-1, height * width)) / 255
    return TensorDataset(images, torch.tensor(labels).long())


def train_on_worker(config: dict[str, Any]) -> None:
    torch.manual_seed(0)
    layers = torch.nn.Linear(28 * 28, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10)
    model = prepare_model(torch.nn.Sequential(*layers))
    loader = DataLoader(clothes("train", 4000), config["batch_size"], shuffle=True)
    loader, held_out = prepare_data_loader(loader), clothes("t10k", 1000).tensors
    optimizer = torch.optim.SGD(model.parameters(), lr=config["lr"], momentum=config["momentum"])
    trial = gap_tune.attach(optimizer, config)  # +
    for epoch in range(config["epochs"]):
        if hasattr(loader.sampler, "set_epoch"):
            loader.sampler.set_epoch(epoch)
        for images, labels in loader:
            optimizer.zero_grad()
            cross_entropy(model(images), labels).backward()
            optimizer.step()
        with torch.no_grad():
            outputs = model(held_out[0])
        accuracy = (outputs.argmax(1) == held_out[1]).float().mean().item()
        metrics = {"loss": cross_entropy(outputs, held_out[1]).item(), "accuracy": accuracy}
        # - ray.train.report(metrics)
        trial.report(metrics)  # +


def train(config: dict[str, Any]) -> None:
    os.environ["RAY_TRAIN_HEALTH_CHECK_INTERVAL_S"] = "0.1"  # how often reports are passed on
    TorchTrainer(
        train_on_worker,
        train_loop_config=config["train_loop_config"],
        scaling_config=ray.train.ScalingConfig(num_workers=2, resources_per_worker={"CPU": 0.5}),
        run_config=ray.train.RunConfig(
            storage_path=tune.get_context().get_trial_dir(), callbacks=[TuneReportCallback()]
        ),
    ).fit()


def main() -> None:
    loop = {
        "lr": tune.loguniform(1e-2, 3e-1),
        "batch_size": 32,
        "epochs": 4,
        # - "momentum": tune.choice([0.5, 0.8, 0.9, 0.95]),
    }
    space, function = {"train_loop_config": loop}, tune.with_resources(train, {"CPU": 0.5})
    study = tune.TuneConfig(metric="loss", mode="min", num_samples=3, max_concurrent_trials=1)
    # - tuner = tune.Tuner(function, param_space=space, tune_config=study)
    tuner = gap_tune.tuner(function, param_space=space, tune_config=study)  # +
    results = tuner.fit()
    print(f"best trial: accuracy {results.get_best_result().metrics['accuracy']:.3f}")
    print(f"gap-tune report {results.experiment_path}")


if __name__ == "__main__":
    main()
