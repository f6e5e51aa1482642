"""A trainer that builds its own optimizer and warms momentum up itself, as detection trainers do.

It takes callbacks, and that is where gap_tune comes in: attach when training starts, report when an
epoch ends. The warm-up's momentum is kept until gap_tune first changes it, after a report; from
then on gap_tune's is, whatever the warm-up still writes, and a warning says so once. So a first
report after the warm-up leaves it whole. Here it lasts one and a half epochs: its end is cut off.
It takes less than a minute on two cores.
"""

from __future__ import annotations

import tempfile
from typing import Any

import numpy as np
import ray
import torch
from ray import tune
from sklearn.datasets import load_digits
from torch.nn.functional import cross_entropy

import gap_tune


class Trainer:
    """Somebody else's: nothing in it knows of gap_tune."""

    def __init__(self, lr: float, momentum: float, epochs: int, callbacks: dict[str, Any]) -> None:
        torch.manual_seed(0)
        self.momentum, self.epochs, self.callbacks = momentum, epochs, callbacks
        digits = load_digits()
        self.inputs = torch.tensor(digits.data / 16, dtype=torch.float32)
        self.targets = torch.tensor(digits.target)
        layers = torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10)
        self.model, self.step, self.losses = torch.nn.Sequential(*layers), 0, list[float]()
        parts: list[list[torch.nn.Parameter]] = [[], []]
        for parameter in self.model.parameters():
            parts[parameter.ndim == 1].append(parameter)
        groups = [{"params": parts[0], "weight_decay": 5e-4}, {"params": parts[1]}]
        self.optimizer = torch.optim.SGD(groups, lr=lr, momentum=momentum, nesterov=True)

    def train(self) -> None:
        self.callbacks["on_train_start"](self)
        for _ in range(self.epochs):
            for rows in torch.randperm(1400).split(64):
                for group in self.optimizer.param_groups if self.step < 33 else ():
                    group["momentum"] = float(np.interp(self.step, [0, 32], [0.8, self.momentum]))
                self.optimizer.zero_grad()
                cross_entropy(self.model(self.inputs[rows]), self.targets[rows]).backward()
                self.optimizer.step()
                self.step += 1
            with torch.no_grad():
                outputs = self.model(self.inputs[1400:])
            self.losses.append(cross_entropy(outputs, self.targets[1400:]).item())
            self.callbacks["on_epoch_end"](self)


def train(config: dict[str, Any]) -> None:
    def attach(trainer: Trainer) -> None:
        trainer.trial = gap_tune.attach(trainer.optimizer, config)

    def report(trainer: Trainer) -> None:
        trainer.trial.report({"loss": trainer.losses[-1]})

    callbacks = {"on_train_start": attach, "on_epoch_end": report}
    Trainer(config["lr"], config["momentum"], epochs=5, callbacks=callbacks).train()


if __name__ == "__main__":
    ray.init(log_to_driver=False, ignore_reinit_error=True)
    with tempfile.TemporaryDirectory() as folder:
        space, storage = {"lr": tune.loguniform(0.01, 0.3)}, tune.RunConfig(storage_path=folder)
        asked = {"metric": "loss", "mode": "min", "num_samples": 2}
        for result in gap_tune.tuner(train, space, run_config=storage, **asked).fit():
            momenta = [f"{m:g}" for m in result.metrics_dataframe["gap/momentum"]]
            print(f"loss {result.metrics['loss']:.3f}, momentum", *momenta)
