"""Fine-tuning torchvision's ViT-B/16 on images of the user or of torchvision."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Generator, Tensor, nn

from gap_tune.errors import InvalidValueError, check_count
from gap_tune.workloads.base import Recipes, Splits, take
from gap_tune.workloads.cache import locked
from gap_tune.workloads.classification import Classification
from gap_tune.workloads.vision.images import Standardise, check_folder, crop_and_flip, torchvision
from gap_tune.workloads.vision.vit_weights import pretrained

# Those of ImageNet, which torchvision's weights were trained with.
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_BASE = {"patch_size": 16, "num_layers": 12, "num_heads": 12, "hidden_dim": 768, "mlp_dim": 3072}
# Training images are this much larger than the crops taken of them, as 256 to 224.
_MARGIN = 8 / 7
_SPLIT_SEED = 0
_SPLIT_SHARE = 0.1

# Arguments of train, validation and test; where there is no validation split, it is the same as
# that of train, and a share of train is kept for it.
_DATASETS: dict[str, tuple[str, tuple[dict[str, Any], ...]]] = {
    "cifar10": ("CIFAR10", ({"train": True}, {"train": True}, {"train": False})),
    "cifar100": ("CIFAR100", ({"train": True}, {"train": True}, {"train": False})),
    "food101": ("Food101", ({"split": "train"}, {"split": "train"}, {"split": "test"})),
    "flowers102": ("Flowers102", ({"split": "train"}, {"split": "val"}, {"split": "test"})),
    "pets": ("OxfordIIITPet", ({"split": "trainval"}, {"split": "trainval"}, {"split": "test"})),
}


class ViT(Classification):
    """A vision transformer on square crops of images.

    Args:
        folder: A folder of images, ``train/<class>/*.jpg`` and ``val/...``, with ``test/...`` or
            else every other image of val; or where the torchvision dataset lies.
        dataset: A torchvision dataset instead: "cifar10", "cifar100", "food101", "flowers102" or
            "pets"; where it has no validation split, a tenth of train.
        download: Whether torchvision may download that dataset.
        weights: "imagenet" for torchvision's, which it downloads once; "random"; or a file that
            ``torch.save(model.state_dict(), file)`` wrote, of torchvision's ViT.
        image_size: Height and width of the crops, a multiple of the patch size.
        architecture: ``patch_size, num_layers, num_heads, hidden_dim, mlp_dim`` where they should
            not be those of ViT-B/16.

    Raises:
        InvalidValueError: When an option does not fit.
    """

    name = "vit"
    description = "fine-tuning ViT-B/16 (86 M parameters) on images"
    size = "as large as it is"
    source = "your folder, or a dataset of torchvision"
    needs = "gap-tune[vision]; folder= of train/ and val/, or dataset="
    family = "adamw"
    lr = 1e-4
    weight_decay = 0.05
    recipes: ClassVar[Recipes] = {"sgd": {"lr": 0.01, "weight_decay": 0.0}}
    warmup_epochs = 0.5
    batch_size = 64
    epochs = 10

    def __init__(
        self,
        *,
        folder: str | None = None,
        dataset: str | None = None,
        download: bool = False,
        weights: str = "imagenet",
        image_size: int = 224,
        architecture: Mapping[str, int] | None = None,
    ) -> None:
        self.architecture = {**_BASE, **(architecture or {})}
        patch = self.architecture["patch_size"]
        if set(self.architecture) != set(_BASE):
            raise InvalidValueError(
                f"architecture must have keys of {sorted(_BASE)}, but got "
                f"{sorted(architecture or {})}."
            )
        if check_count("image_size", image_size) % patch:
            raise InvalidValueError(
                f"image_size must be a multiple of the patch size, {patch}, but got {image_size}."
            )
        if dataset is not None and dataset not in _DATASETS:
            raise InvalidValueError(
                f"dataset must be one of {sorted(_DATASETS)}, but got {dataset!r}."
            )
        self.folder = folder
        self.dataset = dataset
        self.download = download
        self.weights = weights
        self.image_size = image_size

    def model(self) -> nn.Module:
        """Return the transformer for bytes, with a new head for the classes of the data."""
        transformer = torchvision().models.VisionTransformer(
            image_size=self.image_size, num_classes=self._classes, **self.architecture
        )
        if self.weights != "random":
            transformer.load_state_dict(
                pretrained(self.weights, transformer, self.image_size, self.architecture),
                strict=False,
            )
        return nn.Sequential(Standardise(_MEAN, _DEVIATION), transformer)

    def data(self) -> Splits:
        """Return images as bytes: train a little larger than the crops, the others as crops.

        Raises:
            InvalidValueError: When images are missing.
            UnsupportedError: When there is no torchvision.
        """
        return self._splits

    def augment(self, inputs: Tensor, generator: Generator) -> Tensor:
        """Return random crops, half of them mirrored."""
        return crop_and_flip(inputs, self.image_size, 0, generator)

    @cached_property
    def _splits(self) -> Splits:
        return self._folders() if self.dataset is None else self._torchvision()

    @property
    def _classes(self) -> int:
        train: Any = self._splits.train
        source = getattr(train, "dataset", train)
        return len(source.classes)

    def _folders(self) -> Splits:
        root = check_folder("folder", self.folder, "images in train/<class>/ and val/<class>/")
        train = self._read(root / "train", crop=False)
        validation = self._read(root / "val", crop=True)
        splits = {"train": train, "val": validation}
        if (root / "test").is_dir():
            splits["test"] = test = self._read(root / "test", crop=True)
        else:
            # Files are sorted by class: every other one is half of each class.
            places = torch.arange(len(validation))
            test = take(validation, places[1::2])
            validation = take(validation, places[::2])
        for name, split in splits.items():
            if split.classes != train.classes:
                raise InvalidValueError(
                    f"{name}/ must have the classes of train/, {len(train.classes)}, but got "
                    f"{len(split.classes)} with other names in {root / name}."
                )
        return Splits(train, validation, test)

    def _read(self, folder: Path, *, crop: bool) -> Any:
        check_folder("folder", folder, "one subfolder of images per class")
        try:
            return torchvision().datasets.ImageFolder(
                str(folder), transform=self._transform(crop), loader=read_image
            )
        except FileNotFoundError as error:
            raise InvalidValueError(
                f"folder must have images in one subfolder per class, but got {folder}: "
                f"{' '.join(str(error).split())}"
            ) from None

    def _torchvision(self) -> Splits:
        class_name, arguments = _DATASETS[self.dataset or ""]
        kind = getattr(torchvision().datasets, class_name)
        what = f"torchvision's {class_name} in it"
        root = (
            Path(self.folder or "") if self.download else check_folder("folder", self.folder, what)
        )

        def read(place: int) -> Any:
            # All but train are cropped here.
            return kind(
                str(root.expanduser()),
                **arguments[place],
                transform=self._transform(crop=place > 0),
                download=self.download,
            )

        try:
            with locked(class_name):
                train, validation, test = map(read, range(3))
        except (OSError, RuntimeError) as error:
            raise InvalidValueError(
                f"folder must hold {class_name} as torchvision stores it: set download, or copy it "
                f"from a machine with network, but got {root}: {' '.join(str(error).split())}"
            ) from None
        if arguments[0] != arguments[1]:
            return Splits(train, validation, test)
        chance = torch.Generator().manual_seed(_SPLIT_SEED)
        order = torch.randperm(len(train), generator=chance)
        kept = round(_SPLIT_SHARE * len(train))
        return Splits(take(train, order[kept:]), take(validation, order[:kept]), test)

    def _transform(self, crop: bool) -> Callable[[Any], Tensor]:
        transforms = torchvision().transforms
        larger = round(self.image_size * _MARGIN)
        return transforms.Compose(  # type: ignore[no-any-return]
            [
                transforms.Resize(larger),
                transforms.CenterCrop(self.image_size if crop else larger),
                transforms.PILToTensor(),
            ]
        )


def read_image(path: str) -> Any:
    """Return the image in a file.

    Raises:
        InvalidValueError: When it cannot be read.
    """
    from PIL import Image

    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except (OSError, SyntaxError, ValueError) as error:
        raise InvalidValueError(
            f"every image must be readable: replace or delete this one, but got {path}: {error}."
        ) from None
