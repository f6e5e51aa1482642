"""FashionMNIST: a perceptron or a convolutional network on pictures of clothes."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import TensorDataset

from gap_tune.errors import InvalidValueError, check_count, check_range
from gap_tune.workloads.base import Recipes, Splits
from gap_tune.workloads.cache import prepared, version_of
from gap_tune.workloads.classification import Classification
from gap_tune.workloads.vision.digits import with_label_noise
from gap_tune.workloads.vision.idx import read_idx
from gap_tune.workloads.vision.images import Standardise, check_folder

# Where Debian's and Ubuntu's package dataset-fashion-mnist puts the files.
FOLDER = Path("/usr/share/datasets/fashion-mnist")
_SIDES = (28, 14, 7)
_NETWORKS = ("mlp", "cnn")
_CLASSES = 10
_SPLIT_SEED = 0
# Of all training images' pixels, in shares of white.
_MEAN, _DEVIATION = 0.2860, 0.3530


class FashionMNIST(Classification):
    """60,000 pictures of clothes of 28x28 pixels to train and validate with, 10,000 to test.

    Args:
        folder: Where the four files in idx format are, ``train-images-idx3-ubyte`` and so on, each
            with or without ``.gz``; None is where Debian's package puts them.
        train_images: Train with so many at most, for short runs.
        validation_images: Training images kept for validation. These and those to train with are
            drawn once, the same at every seed.
        test_images: Test with the first so many at most.
        pixels: Side that images are shrunk to, by means of squares: 28, 14 or 7.
        label_noise: Share of training labels in [0, 1] that are drawn anew from all ten classes,
            the same ones at every seed; validation and test keep the true ones.
        network: "mlp", a perceptron with two hidden layers, or "cnn", two convolutions with
            pooling and a linear head.
        width: Units of a hidden layer, or channels of the second convolution, twice those of the
            first.
        batch_norm: Whether batch norm follows each of the two layers.

    Raises:
        InvalidValueError: When an option is out of range.
    """

    name = "fashion-mnist"
    description = "perceptron (55 k parameters) or CNN on Fashion-MNIST"
    size = "70,000 images of 28x28 pixels"
    source = "Debian's package dataset-fashion-mnist"
    needs = "that package, or folder= with its idx files"
    lr = 0.05
    recipes: ClassVar[Recipes] = {"adamw": {"lr": 3e-3, "weight_decay": 1e-2}}
    batch_size = 64
    evaluation_batch_size = 1000
    epochs = 10

    def __init__(
        self,
        *,
        folder: str | None = None,
        train_images: int = 55_000,
        validation_images: int = 5000,
        test_images: int = 10_000,
        pixels: int = 28,
        label_noise: float = 0.0,
        network: str = "mlp",
        width: int = 64,
        batch_norm: bool = False,
    ) -> None:
        self.folder = folder
        self.train_images = check_count("train_images", train_images)
        self.validation_images = check_count("validation_images", validation_images)
        self.test_images = check_count("test_images", test_images)
        if pixels not in _SIDES:
            raise InvalidValueError(f"pixels must be one of {_SIDES}, but got {pixels!r}.")
        self.pixels = pixels
        self.label_noise = check_range("label_noise", label_noise, 0.0, 1.0)
        if network not in _NETWORKS:
            raise InvalidValueError(f"network must be one of {_NETWORKS}, but got {network!r}.")
        self.network = network
        self.width = check_count("width", width, 2)
        self.batch_norm = batch_norm

    def model(self) -> nn.Module:
        """Return the network for bytes."""
        make = _perceptron if self.network == "mlp" else _convolutions
        return nn.Sequential(
            Standardise((_MEAN,), (_DEVIATION,)), *make(self.pixels, self.width, self.batch_norm)
        )

    def data(self) -> Splits:
        """Return the splits as bytes, shape (n, 1, pixels, pixels).

        Raises:
            InvalidValueError: When the folder lacks the files, they are damaged, or hold too few.
        """
        folder = check_folder(
            "folder",
            str(FOLDER) if self.folder is None else self.folder,
            "Fashion-MNIST's files in idx format (Debian's package dataset-fashion-mnist has them)",
        )
        files = [
            _found(folder, f"{part}-{kind}-ubyte")
            for part in ("train", "t10k")
            for kind in ("images-idx3", "labels-idx1")
        ]
        key = {
            "files": version_of(files),
            "train_images": self.train_images,
            "validation_images": self.validation_images,
            "test_images": self.test_images,
            "pixels": self.pixels,
        }
        tensors = prepared("fashion", key, lambda: self._tensors(files))
        noisy = with_label_noise(tensors["train_labels"].numpy(), self.label_noise)
        return Splits(
            TensorDataset(tensors["train_images"], torch.from_numpy(noisy)),
            *(
                TensorDataset(tensors[f"{split}_images"], tensors[f"{split}_labels"])
                for split in ("validation", "test")
            ),
        )

    def _tensors(self, files: list[Path]) -> dict[str, Tensor]:
        images, labels, test_images, test_labels = (
            read_idx(file, 3 if "images" in file.name else 1) for file in files
        )
        for file, pictures, classes in (
            (files[0], images, labels),
            (files[2], test_images, test_labels),
        ):
            if pictures.shape[1:] != (28, 28) or len(pictures) != len(classes):
                raise InvalidValueError(
                    f"{file} must hold images of 28x28 pixels, one for each of {len(classes)} "
                    f"labels, but got the shape {pictures.shape}."
                )
        if self.validation_images >= len(labels):
            raise InvalidValueError(
                f"validation_images must be in 1 .. {len(labels) - 1}, but got "
                f"{self.validation_images}."
            )
        order = np.random.default_rng(_SPLIT_SEED).permutation(len(labels))
        held, kept = np.split(order, [self.validation_images])
        tensors = {}
        for split, pictures, classes, chosen in (
            ("train", images, labels, kept[: self.train_images]),
            ("validation", images, labels, held),
            ("test", test_images, test_labels, np.arange(len(test_labels))[: self.test_images]),
        ):
            tensors[f"{split}_images"] = _shrunk(pictures[chosen], self.pixels)
            tensors[f"{split}_labels"] = torch.from_numpy(classes[chosen]).long()
        return tensors


def _perceptron(pixels: int, width: int, batch_norm: bool) -> list[nn.Module]:
    layers: list[nn.Module] = [nn.Flatten()]
    for size in (pixels * pixels, width):
        layers.append(nn.Linear(size, width))
        if batch_norm:
            layers.append(nn.BatchNorm1d(width))
        layers.append(nn.ReLU())
    return [*layers, nn.Linear(width, _CLASSES)]


def _convolutions(pixels: int, width: int, batch_norm: bool) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for channels, following in ((1, width // 2), (width // 2, width)):
        layers.append(nn.Conv2d(channels, following, 3, padding=1))
        if batch_norm:
            layers.append(nn.BatchNorm2d(following))
        layers += [nn.ReLU(), nn.MaxPool2d(2)]
    return [*layers, nn.Flatten(), nn.Linear(width * (pixels // 4) ** 2, _CLASSES)]


def _found(folder: Path, name: str) -> Path:
    """Return the file of that name, or the compressed one."""
    for file in (folder / name, folder / f"{name}.gz"):
        if file.exists():
            return file
    raise InvalidValueError(
        f"folder must hold {name} or {name}.gz, as Debian's package dataset-fashion-mnist does, "
        f"but got {folder}."
    )


def _shrunk(images: np.ndarray, side: int) -> Tensor:
    """Return images as bytes of shape (n, 1, side, side), each pixel the mean of a square."""
    factor = images.shape[1] // side
    squares = torch.from_numpy(images)[:, None].float()
    return functional.avg_pool2d(squares, factor).round().to(torch.uint8)
