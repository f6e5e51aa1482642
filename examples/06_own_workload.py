"""A workload of your own: two spirals to tell apart.

Run it from this folder::

    python 06_own_workload.py

In a study, name it by its import path: ``gap-tune compare 06_own_workload:Spirals --lr 0.1``, or
make it an entry point in the group "gap_tune.workloads" of your package's pyproject.toml::

    [project.entry-points."gap_tune.workloads"]
    spirals = "06_own_workload:Spirals"
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import TensorDataset

from gap_tune.workloads import Splits


class Spirals:
    """Points of two spirals that wind around each other; ``turns`` makes it harder."""

    # Whatever is not said here has a default: see gap_tune.workloads.Workload.
    description = "perceptron on two spirals"
    lr = 0.1
    batch_size = 32
    epochs = 20

    def __init__(self, *, turns: float = 1.5) -> None:
        self.turns = turns

    def model(self) -> nn.Module:
        return nn.Sequential(
            nn.Linear(2, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2)
        )

    def data(self) -> Splits:
        return Splits(*(self.points(count, seed) for seed, count in enumerate((1024, 256, 256))))

    def points(self, count: int, seed: int) -> TensorDataset:
        generator = torch.Generator().manual_seed(seed)
        radius = torch.rand(count, generator=generator).sqrt()
        spiral = torch.arange(count) % 2
        angle = 2 * torch.pi * (self.turns * radius + spiral / 2)
        place = torch.stack([radius * angle.cos(), radius * angle.sin()], dim=1)
        return TensorDataset(place + 0.02 * torch.randn(count, 2, generator=generator), spiral)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return functional.cross_entropy(outputs, targets)

    def metrics(self, outputs: Tensor, targets: Tensor) -> dict[str, float]:
        right = (outputs.argmax(1) == targets).float().mean().item()
        return {"loss": self.loss(outputs, targets).item(), "accuracy": right}


if __name__ == "__main__":
    from gap_tune.training.local import run

    # Without Ray; "trial" lets the trial choose its own momentum while it trains.
    config = {"workload": "06_own_workload:Spirals", "gap": {"mode": "trial"}}
    for result in run(config)[4::5]:
        print(
            f"epoch {result['epoch']:.0f}: loss {result['validation_loss']:.3f}, "
            f"accuracy {result['validation_accuracy']:.3f}, momentum {result['gap/momentum']:g}"
        )
