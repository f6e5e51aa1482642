"""Networks on the real 8x8 handwritten digits that scikit-learn ships."""

from __future__ import annotations

from functools import cache
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from gap_tune.errors import check_range
from gap_tune.workloads.base import Recipes, Splits
from gap_tune.workloads.classification import Classification
from gap_tune.workloads.vision.resnet import ResidualBlock

_CLASSES = 10
_CHANNELS = (16, 32)
_HIDDEN = 128
_SPLIT_SEED = 0


class Digits(Classification):
    """1,797 digits of 8x8 pixels, split 60/20/20.

    Args:
        label_noise: Share of training labels in [0, 1] that are drawn anew from all ten classes,
            the same ones at every seed; validation and test keep the true ones.
    """

    size = "1,797 images of 8x8 pixels"
    source = "shipped with scikit-learn"
    batch_size = 64
    # The whole split at once: it is small.
    evaluation_batch_size = 1024
    epochs = 20

    def __init__(self, *, label_noise: float = 0.0) -> None:
        self.label_noise = check_range("label_noise", label_noise, 0.0, 1.0)

    def data(self) -> Splits:
        """Return the stratified 60/20/20 split, pixels standardised by the train split."""
        train, train_labels, *held_back = _split()
        noisy = with_label_noise(train_labels.numpy(), self.label_noise)
        validation, validation_labels, test, test_labels = held_back
        return Splits(
            TensorDataset(train, torch.from_numpy(noisy)),
            TensorDataset(validation, validation_labels),
            TensorDataset(test, test_labels),
        )


@cache
def _split() -> tuple[Tensor, ...]:
    """Return images and labels of train, validation and test, once for all trials of a process.

    Reading and splitting them takes as long as fifty steps of a small model.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    images, labels = digits.images[:, None].astype("float32"), digits.target
    train, rest, train_y, rest_y = train_test_split(
        images, labels, test_size=0.4, random_state=_SPLIT_SEED, stratify=labels
    )
    validation, test, validation_y, test_y = train_test_split(
        rest, rest_y, test_size=0.5, random_state=_SPLIT_SEED, stratify=rest_y
    )
    mean, deviation = train.mean(), train.std()
    parts = ((train, train_y), (validation, validation_y), (test, test_y))
    return tuple(
        tensor
        for x, y in parts
        for tensor in (
            (torch.as_tensor(x) - mean) / deviation,
            torch.as_tensor(y, dtype=torch.long),
        )
    )


class DigitsMLP(Digits):
    """A perceptron with two hidden layers of 128, 26,122 parameters."""

    name = "digits-mlp"
    description = "perceptron (26 k parameters) on handwritten digits"
    lr = 0.05
    recipes: ClassVar[Recipes] = {"adamw": {"lr": 3e-3, "weight_decay": 1e-2}}

    def model(self) -> nn.Module:
        """Return the perceptron."""
        return nn.Sequential(
            nn.Flatten(),
            nn.Linear(64, _HIDDEN),
            nn.ReLU(),
            nn.Linear(_HIDDEN, _HIDDEN),
            nn.ReLU(),
            nn.Linear(_HIDDEN, _CLASSES),
        )


class DigitsCNN(Digits):
    """Two convolutions with pooling and a linear head, 6,090 parameters."""

    name = "digits-cnn"
    description = "convolutional network (6 k parameters) on handwritten digits"
    lr = 0.05
    recipes: ClassVar[Recipes] = {"adamw": {"lr": 3e-3, "weight_decay": 1e-2}}

    def model(self) -> nn.Module:
        """Return the network: no batch norm, so that it can go astray at large learning rates."""
        narrow, wide = _CHANNELS
        return nn.Sequential(
            nn.Conv2d(1, narrow, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(narrow, wide, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(4 * wide, _CLASSES),
        )


class DigitsResNet(Digits):
    """A ResNet of two stages, 19,706 parameters."""

    name = "digits-resnet"
    description = "small ResNet (20 k parameters) on handwritten digits"
    # He et al.'s recipe for ResNets on small images: lr 0.1 at momentum 0.9.
    lr = 0.1
    weight_decay = 5e-4
    recipes: ClassVar[Recipes] = {"adamw": {"lr": 3e-3, "weight_decay": 1e-2}}

    def model(self) -> nn.Module:
        """Return the ResNet: a stem, two residual blocks (16 and 32 channels), a linear head."""
        narrow, wide = _CHANNELS
        return nn.Sequential(
            nn.Conv2d(1, narrow, 3, padding=1, bias=False),
            nn.BatchNorm2d(narrow),
            nn.ReLU(),
            ResidualBlock(narrow, narrow, stride=1),
            ResidualBlock(narrow, wide, stride=2),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(wide, _CLASSES),
        )


def with_label_noise(labels: np.ndarray, share: float) -> np.ndarray:
    """Return labels of which a share was drawn anew, uniformly over the ten classes.

    >>> clean = np.zeros(1000, dtype=int)
    >>> int((with_label_noise(clean, 0.5) != clean).sum())  # some of the 500 stay by chance
    459
    """
    chance = np.random.default_rng(_SPLIT_SEED)
    chosen = chance.permutation(len(labels))[: round(share * len(labels))]
    noisy = labels.copy()
    noisy[chosen] = chance.integers(_CLASSES, size=len(chosen))
    return noisy
