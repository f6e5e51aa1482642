"""A noisy quadratic whose optimum is known."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from gap_tune.errors import check_count, check_range
from gap_tune.workloads.base import Recipes, Splits, Workload

_DATA_SEED = 0


class Quadratic(Workload):
    """``f(w) = sum_j h_j w_j^2 / 2``, seen through minibatches of noisy samples.

    A sample adds ``<z, w>`` to the loss, and so the noise z to the gradient; z_j has the standard
    deviation ``noise * sqrt(h_j)``, as in least squares, and its mean over the training samples is
    zero: the optimum is w = 0, where f = 0, so that the reported ``loss`` is also the
    regret.

    Args:
        dimension: Number of coordinates.
        condition: Largest over smallest curvature; curvatures go from 1 / condition to 1, equally
            spaced in their logarithm.
        noise: Size of the noise, of the order of the first gradients at 1.
        samples: Number of training samples.

    Raises:
        InvalidValueError: When an argument is out of range.
    """

    name = "quadratic"
    description = "noisy quadratic of a chosen condition number, optimum known"
    size = "4,096 samples of 100 coordinates"
    source = "generated"
    recipes: ClassVar[Recipes] = {"adamw": {"lr": 0.03, "weight_decay": 0.0}}
    evaluation_batch_size = 1
    epochs = 5

    def __init__(
        self,
        *,
        dimension: int = 100,
        condition: float = 100.0,
        noise: float = 1.0,
        samples: int = 4096,
    ) -> None:
        self.dimension = check_count("dimension", dimension)
        self.condition = check_range("condition", condition, 1.0, float("inf"))
        self.noise = check_range("noise", noise, 0.0, float("inf"))
        self.samples = check_count("samples", samples)

    @property
    def curvatures(self) -> Tensor:
        """The curvatures h, shape (dimension,), increasing."""
        return torch.tensor(self.condition) ** torch.linspace(-1, 0, self.dimension)

    def model(self) -> nn.Module:
        """Return the point w, drawn from a standard normal distribution."""
        return QuadraticPoint(self.curvatures)

    def data(self) -> Splits:
        """Return the noise of each sample; validation and test are the function without noise."""
        generator = torch.Generator().manual_seed(_DATA_SEED)
        noise = torch.randn(self.samples, self.dimension, generator=generator)
        noise = (noise - noise.mean(0)) * self.noise * self.curvatures.sqrt()
        silent = TensorDataset(torch.zeros(1, self.dimension), torch.zeros(1))
        return Splits(TensorDataset(noise, torch.zeros(self.samples)), silent, silent)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean over the batch."""
        return outputs.mean()

    def metrics(self, outputs: Tensor, targets: Tensor) -> dict[str, float]:
        """Return the mean over the batch, which is the regret where there is no noise."""
        return {"loss": outputs.mean().item(), "regret": outputs.mean().item()}


class QuadraticPoint(nn.Module):
    """A point of the quadratic."""

    curvatures: Tensor

    def __init__(self, curvatures: Tensor) -> None:
        super().__init__()
        self.register_buffer("curvatures", curvatures)
        self.w = nn.Parameter(torch.randn(len(curvatures)))

    def forward(self, noise: Tensor) -> Tensor:
        """Return the loss of each sample, shape (n,), for noise of shape (n, dimension)."""
        return (self.curvatures * self.w.square()).sum() / 2 + noise @ self.w
