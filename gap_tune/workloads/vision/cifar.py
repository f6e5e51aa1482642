"""ResNet-18 on CIFAR-10 and CIFAR-100, as in the paper."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Generator, Tensor, nn
from torch.utils.data import TensorDataset

from gap_tune.errors import InvalidValueError
from gap_tune.workloads.base import Recipes, Splits
from gap_tune.workloads.cache import locked, prepared, version_of
from gap_tune.workloads.classification import Classification
from gap_tune.workloads.vision.images import Standardise, check_folder, crop_and_flip, torchvision
from gap_tune.workloads.vision.resnet import resnet18

_SPLIT_SEED = 0


class _CIFAR(Classification):
    """ResNet-18 with a 3x3 stem; crops of four padded pixels and flips; 45k/5k/10k images.

    Args:
        folder: Where torchvision's folder is, or goes to.
        download: Whether torchvision may download what is not there.
        validation_images: Training images kept for validation, the same at every seed.
        check_md5: Whether the files must be the original ones. Only files that you trust may do
            without: they are pickles, which run code when they are read.
    """

    size = "60,000 images of 32x32 pixels"
    needs = "gap-tune[vision]; folder= with the data, or download=true"
    # He et al. (2016), with the weight decay that is usual for ResNet-18 on CIFAR.
    lr = 0.1
    weight_decay = 5e-4
    recipes: ClassVar[Recipes] = {"adamw": {"lr": 1e-3, "weight_decay": 0.1}}
    batch_size = 128
    evaluation_batch_size = 500
    epochs = 200

    dataset: str
    classes: int
    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    def __init__(
        self,
        *,
        folder: str | None = None,
        download: bool = False,
        validation_images: int = 5000,
        check_md5: bool = True,
    ) -> None:
        self.folder = folder
        self.download = download
        self.validation_images = validation_images
        self.check_md5 = check_md5

    def model(self) -> nn.Module:
        """Return ResNet-18 for bytes."""
        return nn.Sequential(Standardise(self.mean, self.deviation), resnet18(self.classes))

    def data(self) -> Splits:
        """Return the splits as bytes.

        Raises:
            InvalidValueError: When the folder lacks the data or they are damaged.
            UnsupportedError: When there is no torchvision.
        """
        kind = self._kind()
        root = self._root(kind)
        files = [root / kind.base_folder / file for file, _ in kind.train_list + kind.test_list]
        key = {
            "files": version_of([file for file in files if file.exists()]),
            "validation_images": self.validation_images,
            "check_md5": self.check_md5,
        }
        tensors = prepared(self.name, key, lambda: self._tensors(kind, root))
        train, validation, test = (
            TensorDataset(tensors[f"{split}_images"], tensors[f"{split}_labels"])
            for split in ("train", "validation", "test")
        )
        return Splits(train, validation, test)

    def augment(self, inputs: Tensor, generator: Generator) -> Tensor:
        """Return random crops of the images padded by four, half of them mirrored."""
        return crop_and_flip(inputs, 32, 4, generator)

    def _kind(self) -> Any:
        """Return torchvision's class, or one that takes files of any checksum."""
        kind = getattr(torchvision().datasets, self.dataset)
        if self.check_md5:
            return kind
        unchecked = {
            "train_list": [[file, None] for file, _ in kind.train_list],
            "test_list": [[file, None] for file, _ in kind.test_list],
            "meta": {**kind.meta, "md5": None},
        }
        return type(kind.__name__, (kind,), unchecked)

    def _root(self, kind: Any) -> Path:
        what = f"torchvision's {kind.base_folder} in it"
        if not self.download:
            return check_folder("folder", self.folder, what)
        if self.folder is None:
            raise InvalidValueError("folder must say where downloaded data go, but got None.")
        root = Path(self.folder).expanduser()
        try:
            with locked(self.dataset):
                kind(str(root), download=True)
        except (OSError, RuntimeError) as error:
            raise InvalidValueError(
                f"{self.name} must be downloaded by torchvision from {kind.url}: fetch that file "
                f"elsewhere and unpack it in {root}, but got: {error}."
            ) from None
        return root

    def _tensors(self, kind: Any, root: Path) -> dict[str, Tensor]:
        try:
            train, test = kind(str(root), train=True), kind(str(root), train=False)
        # Unpickling a damaged file may raise anything.
        except Exception as error:
            raise InvalidValueError(
                f"folder must hold {kind.base_folder} as torchvision writes it: unpack {kind.url} "
                f"there, or set download, but got {root}: {_one_line(error)}."
            ) from None
        if not 0 < self.validation_images < len(train.targets):
            raise InvalidValueError(
                f"validation_images must be in 1 .. {len(train.targets) - 1}, but got "
                f"{self.validation_images}."
            )
        order = np.random.default_rng(_SPLIT_SEED).permutation(len(train.targets))
        held, kept = np.split(order, [self.validation_images])
        everything = np.arange(len(test.targets))
        tensors = {}
        for split, source, chosen in (
            ("train", train, kept),
            ("validation", train, held),
            ("test", test, everything),
        ):
            images = torch.from_numpy(source.data[chosen])
            tensors[f"{split}_images"] = images.permute(0, 3, 1, 2).contiguous()
            tensors[f"{split}_labels"] = torch.tensor(source.targets)[chosen]
        return tensors


class CIFAR10(_CIFAR):
    """CIFAR-10."""

    name = "cifar10"
    description = "ResNet-18 (11 M parameters) on CIFAR-10"
    source = "downloaded by torchvision"
    dataset = "CIFAR10"
    classes = 10
    mean = (0.4914, 0.4822, 0.4465)
    deviation = (0.2470, 0.2435, 0.2616)


class CIFAR100(_CIFAR):
    """CIFAR-100."""

    name = "cifar100"
    description = "ResNet-18 (11 M parameters) on CIFAR-100"
    source = "downloaded by torchvision"
    dataset = "CIFAR100"
    classes = 100
    mean = (0.5071, 0.4865, 0.4409)
    deviation = (0.2673, 0.2564, 0.2762)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
