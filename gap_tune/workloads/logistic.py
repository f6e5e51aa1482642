"""Logistic regression on tables that scikit-learn ships: convex, and the optimum is unique."""

from __future__ import annotations

from functools import cache
from typing import Any, ClassVar

import torch
from torch import nn
from torch.utils.data import TensorDataset

from gap_tune.errors import InvalidValueError
from gap_tune.workloads.base import Recipes, Splits
from gap_tune.workloads.classification import Classification

# Features and classes.
_SHAPES = {"breast-cancer": (30, 2), "digits": (64, 10), "wine": (13, 3)}
_SPLIT_SEED = 0


class Logistic(Classification):
    """A linear classifier, split 60/20/20, features standardised by the train split.

    Args:
        table: "breast-cancer" (569 samples, 30 features), "digits" (1,797, 64) or "wine"
            (178, 13).

    Raises:
        InvalidValueError: When there is no such table.
    """

    name = "logistic"
    description = "logistic regression on breast cancer, digits or wine tables"
    size = "569 samples of 30 features"
    source = "shipped with scikit-learn"
    weight_decay = 1e-3
    recipes: ClassVar[Recipes] = {"adamw": {"lr": 1e-2, "weight_decay": 1e-2}}
    evaluation_batch_size = 1024
    epochs = 20

    def __init__(self, *, table: str = "breast-cancer") -> None:
        if table not in _SHAPES:
            raise InvalidValueError(f"table must be one of {sorted(_SHAPES)}, but got {table!r}.")
        self.table = table

    def model(self) -> nn.Module:
        """Return the linear map from features to logits."""
        return nn.Linear(*_SHAPES[self.table])

    def data(self) -> Splits:
        """Return the stratified split."""
        return _split(self.table)


@cache
def _split(table: str) -> Splits:
    """Return a table's split, once for all trials of a process."""
    from sklearn import datasets
    from sklearn.model_selection import train_test_split

    loaded: Any = getattr(datasets, f"load_{table.replace('-', '_')}")()
    train, rest, train_y, rest_y = train_test_split(
        loaded.data,
        loaded.target,
        test_size=0.4,
        random_state=_SPLIT_SEED,
        stratify=loaded.target,
    )
    validation, test, validation_y, test_y = train_test_split(
        rest, rest_y, test_size=0.5, random_state=_SPLIT_SEED, stratify=rest_y
    )
    mean, deviation = train.mean(0), train.std(0) + 1e-6
    # A pixel that is always black in training may be grey elsewhere, and then is no giant.
    deviation[train.std(0) == 0.0] = 1.0

    def dataset(x: Any, y: Any) -> TensorDataset:
        features = torch.as_tensor((x - mean) / deviation, dtype=torch.float32)
        return TensorDataset(features, torch.as_tensor(y, dtype=torch.long))

    return Splits(dataset(train, train_y), dataset(validation, validation_y), dataset(test, test_y))
