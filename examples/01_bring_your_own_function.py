"""A training function of your own on Ray Tune, whose momentum gap_tune chooses.

Two lines are new in the function (``attach`` and ``report``), and ``restore`` makes it survive
faults. GapSearch supplies the momentum that the optimizer starts with, GapScheduler changes it
while the trials train, and a searcher of your choice looks for the rest: here the learning rate.
At the end it prints what to take home. It takes less than a minute on two cores.
"""

from __future__ import annotations

import tempfile
from typing import Any

import ray
import torch
from ray import tune
from sklearn.datasets import load_digits
from torch.nn.functional import cross_entropy

import gap_tune

EPOCHS, BATCH = 10, 64


def digits() -> tuple[torch.Tensor, torch.Tensor]:
    """Return 1,797 images of 64 pixels and their labels, in a fixed random order."""
    images, labels = load_digits(return_X_y=True)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    return torch.tensor(images, dtype=torch.float32)[order] / 16, torch.tensor(labels)[order]


def train(config: dict[str, Any]) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    images, labels = digits()
    model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=config["lr"], momentum=config["momentum"])
    trial = gap_tune.attach(optimizer, config)  # watches gradients at every optimizer.step()
    trial.restore(model=model)
    for _ in trial.epochs(EPOCHS):
        for batch in torch.randperm(1400).split(BATCH):
            optimizer.zero_grad()
            cross_entropy(model(images[batch]), labels[batch]).backward()
            optimizer.step()
        with torch.no_grad():
            outputs, expected = model(images[1400:]), labels[1400:]
        metrics = {
            "loss": cross_entropy(outputs, expected).item(),
            "accuracy": (outputs.argmax(1) == expected).float().mean().item(),
        }
        trial.report(metrics, checkpoint=True)  # sends statistics, applies the new momentum


def main() -> None:
    ray.init(log_to_driver=False, ignore_reinit_error=True)
    with tempfile.TemporaryDirectory() as folder:
        results = tune.Tuner(
            train,
            param_space={"lr": tune.loguniform(1e-3, 1.0)},
            tune_config=tune.TuneConfig(
                metric="loss",
                mode="min",
                num_samples=4,
                max_concurrent_trials=2,
                reuse_actors=True,
                search_alg=gap_tune.GapSearch(),
                scheduler=gap_tune.GapScheduler(),
            ),
            run_config=tune.RunConfig(storage_path=folder, verbose=0),
        ).fit()
        for result in results:
            momenta = [f"{m:g}" for m in result.metrics_dataframe["gap/momentum"]]
            accuracy = result.metrics["accuracy"]
            print(f"lr {result.config['lr']:.4f}: accuracy {accuracy:.3f}, momentum", *momenta)
        print(gap_tune.best(results).text)  # as it was used; its checkpoint goes with the folder


if __name__ == "__main__":
    main()
