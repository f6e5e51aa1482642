"""A TorchTrainer with two workers inside each trial; both train with the momentum that is chosen.

Workers see nothing of a trial but ``train_loop_config``: there GapSearch puts the momentum, and
finds the learning rate. It takes about a minute on two cores.
"""

from __future__ import annotations

import os
import tempfile
from typing import Any

import ray
import torch
from ray import train, tune
from ray.train.torch import TorchTrainer, prepare_model
from ray.tune.integration.ray_train import TuneReportCallback
from sklearn.datasets import load_digits
from torch.nn.functional import cross_entropy

import gap_tune


def train_loop(config: dict[str, Any]) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    world, digits = train.get_context(), load_digits()
    inputs = torch.tensor(digits.data / 16, dtype=torch.float32)
    targets = torch.tensor(digits.target)
    model = prepare_model(torch.nn.Linear(64, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=config["lr"], momentum=config["momentum"])
    trial = gap_tune.attach(optimizer, config)
    for _ in trial.epochs(config["epochs"]):
        for rows in torch.randperm(len(inputs)).split(64):
            mine = rows[world.get_world_rank() :: world.get_world_size()]
            optimizer.zero_grad()
            cross_entropy(model(inputs[mine]), targets[mine]).backward()
            optimizer.step()
        with torch.no_grad():
            trial.report({"loss": cross_entropy(model(inputs), targets).item()})


def trial(config: dict[str, Any]) -> None:
    os.environ["RAY_TRAIN_HEALTH_CHECK_INTERVAL_S"] = "0.1"  # reports wait for it
    TorchTrainer(
        train_loop,
        train_loop_config=config["train_loop_config"],
        scaling_config=train.ScalingConfig(num_workers=2, resources_per_worker={"CPU": 0.5}),
        run_config=train.RunConfig(
            storage_path=config["storage"], callbacks=[TuneReportCallback()]
        ),
    ).fit()


def main() -> None:
    ray.init(log_to_driver=False, ignore_reinit_error=True)
    loop = {"lr": tune.loguniform(0.1, 1.0), "epochs": 4}
    search = gap_tune.GapSearch(momentum="train_loop_config/momentum", lr="train_loop_config/lr")
    with tempfile.TemporaryDirectory() as storage:
        grid = tune.Tuner(
            tune.with_resources(trial, {"CPU": 0.5}),
            param_space={"train_loop_config": loop, "storage": storage},
            tune_config=tune.TuneConfig(
                metric="loss",
                mode="min",
                num_samples=2,
                search_alg=search,
                scheduler=gap_tune.GapScheduler(),
                max_concurrent_trials=1,
            ),
            run_config=tune.RunConfig(storage_path=storage, name="tune", verbose=0),
        ).fit()
        for result in grid:
            momenta = [f"{value:g}" for value in result.metrics_dataframe["gap/momentum"]]
            print(f"loss {result.metrics['loss']:.3f}, momentum", *momenta)


if __name__ == "__main__":
    main()
