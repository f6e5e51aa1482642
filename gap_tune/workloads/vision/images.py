"""What image workloads share: reading torchvision's datasets, standardising, crop and flip."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from gap_tune.errors import InvalidValueError, UnsupportedError


def torchvision() -> Any:
    """Return the torchvision package.

    Raises:
        UnsupportedError: When it cannot be imported.
    """
    try:
        import torchvision
    except (ImportError, RuntimeError, OSError) as error:
        reason = str(error).partition("\n")[0]
        raise UnsupportedError(
            "image workloads must find a torchvision that fits torch: pip install "
            f"'gap-tune[vision]', but got: {reason}."
        ) from None
    return torchvision


def check_folder(name: str, folder: Path | str | None, what: str) -> Path:
    """Return the folder when it is one.

    Args:
        name: The option's name.
        folder: What the user gave.
        what: What should be in it.

    Raises:
        InvalidValueError: When it is no folder.
    """
    if folder is None or not Path(folder).expanduser().is_dir():
        raise InvalidValueError(f"{name} must be a folder with {what}, but got {folder!r}.")
    return Path(folder).expanduser()


class Standardise(nn.Module):
    """Turns pixels of 0 to 255 into deviations from the mean, in standard deviations.

    Part of the model, so that pixels are stored and moved as bytes.

    Args:
        mean: Mean of each channel, of pixels of 0 to 1.
        deviation: Standard deviation of each channel.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, mean: Sequence[float], deviation: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", 255 * torch.tensor(mean).reshape(1, -1, 1, 1))
        self.register_buffer("deviation", 255 * torch.tensor(deviation).reshape(1, -1, 1, 1))

    def forward(self, pixels: Tensor) -> Tensor:
        """Return standardised pixels, float, in the shape (n, c, h, w) of the bytes."""
        return (pixels - self.mean) / self.deviation


def crop_and_flip(images: Tensor, size: int, padding: int, generator: Generator) -> Tensor:
    """Return a random crop of each image, half of them mirrored left to right.

    Args:
        images: Shape (n, c, h, w), on any device.
        size: Height and width of a crop.
        padding: Black pixels to add on every side before.
        generator: Source of the random numbers, on the CPU.
    """
    padded = functional.pad(images, (padding,) * 4)
    count, _, height, width = padded.shape
    along = torch.arange(size)
    top = torch.randint(height - size + 1, (count, 1), generator=generator)
    left = torch.randint(width - size + 1, (count, 1), generator=generator)
    mirrored = torch.rand(count, 1, generator=generator) < 0.5
    rows = top + along
    columns = left + torch.where(mirrored, along.flip(0), along)
    places = (torch.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :])
    every, rows, columns = (place.to(images.device) for place in places)
    # Indices around a slice put their dimensions first: (n, size, size, c).
    return padded[every, :, rows, columns].permute(0, 3, 1, 2)
