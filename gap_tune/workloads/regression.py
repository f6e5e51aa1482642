"""Regression by a small perceptron: a table that scikit-learn ships, or a made-up teacher."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import TensorDataset

from gap_tune.errors import InvalidValueError, check_count, check_range
from gap_tune.workloads.base import Recipes, Splits, Workload

_FEATURES = {"diabetes": 10, "teacher": 20}
_TEACHER_WIDTH = 8
_SPLIT_SEED = 0


class Regression(Workload):
    """Least squares, split 60/20/20; features and targets standardised by the train split.

    Args:
        table: "diabetes" (442 patients, 10 features) or "teacher": normally distributed points of
            20 features, told by a perceptron that was drawn at random.
        width: Hidden units; 0 is linear regression.
        noise: Standard deviation of what is added to the teacher's targets in training, where
            targets themselves have 1; validation and test keep the true ones.
        samples: Number of the teacher's points.

    Raises:
        InvalidValueError: When there is no such table, or an option is out of range.
    """

    name = "regression"
    description = "regression by a small perceptron, on a table or a made-up teacher"
    size = "442 samples of 10 features"
    source = "shipped with scikit-learn, or generated"
    lr = 0.03
    recipes: ClassVar[Recipes] = {"adamw": {"lr": 1e-2, "weight_decay": 1e-2}}
    evaluation_batch_size = 4096
    epochs = 20

    def __init__(
        self,
        *,
        table: str = "diabetes",
        width: int = 32,
        noise: float = 0.5,
        samples: int = 4096,
    ) -> None:
        if table not in _FEATURES:
            raise InvalidValueError(f"table must be one of {sorted(_FEATURES)}, but got {table!r}.")
        self.table = table
        self.width = check_count("width", width, 0)
        self.noise = check_range("noise", noise, 0.0, float("inf"))
        self.samples = check_count("samples", samples, 5)

    def model(self) -> nn.Module:
        """Return the perceptron, or the linear map."""
        features = _FEATURES[self.table]
        if self.width == 0:
            return nn.Linear(features, 1)
        return nn.Sequential(nn.Linear(features, self.width), nn.ReLU(), nn.Linear(self.width, 1))

    def data(self) -> Splits:
        """Return the split, the same at every seed."""
        chance = torch.Generator().manual_seed(_SPLIT_SEED)
        features, targets = _diabetes() if self.table == "diabetes" else self._teacher(chance)
        order = torch.randperm(len(features), generator=chance)
        first, second = round(0.6 * len(order)), round(0.8 * len(order))
        parts = order[:first], order[first:second], order[second:]
        x, y = (_standardised(values, parts[0]) for values in (features, targets))
        told = y[parts[0]]
        if self.table == "teacher":
            told = told + self.noise * torch.randn(told.shape, generator=chance)
        return Splits(
            TensorDataset(x[parts[0]], told),
            *(TensorDataset(x[part], y[part]) for part in parts[1:]),
        )

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean squared error, in variances of the training targets."""
        return functional.mse_loss(outputs, targets)

    def metrics(self, outputs: Tensor, targets: Tensor) -> dict[str, float]:
        """Return the mean squared error, in variances of the training targets."""
        return {"loss": self.loss(outputs, targets).item()}

    def _teacher(self, chance: torch.Generator) -> tuple[Tensor, Tensor]:
        features = torch.randn(self.samples, _FEATURES["teacher"], generator=chance)
        directions = torch.randn(_FEATURES["teacher"], _TEACHER_WIDTH, generator=chance)
        signs = torch.randn(_TEACHER_WIDTH, 1, generator=chance)
        return features, torch.tanh(features @ directions / 2) @ signs


def _diabetes() -> tuple[Tensor, Tensor]:
    from sklearn.datasets import load_diabetes

    features, targets = load_diabetes(return_X_y=True)
    return (
        torch.as_tensor(features, dtype=torch.float32),
        torch.as_tensor(targets, dtype=torch.float32)[:, None],
    )


def _standardised(values: Tensor, train: Tensor) -> Tensor:
    return (values - values[train].mean(0)) / values[train].std(0)
