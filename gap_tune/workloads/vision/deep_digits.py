"""Harder networks on the digits: deep without normalisation, and attention over the rows."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from gap_tune.errors import InvalidValueError, check_count
from gap_tune.workloads.base import Recipes
from gap_tune.workloads.transformer import TransformerBlock
from gap_tune.workloads.vision.digits import Digits

_ROWS = 8
_CLASSES = 10


class DigitsTanh(Digits):
    """A deep narrow perceptron of tanh, without normalisation or biases between the layers.

    Its signal neither grows nor dies out at the start, and what training does to that is the
    difficulty: the best learning rate is near the one that diverges.

    Args:
        label_noise: As of all digits.
        depth: Hidden layers after the first.
        width: Units of each.

    Raises:
        InvalidValueError: When an option is out of range.
    """

    name = "digits-tanh"
    description = "deep tanh perceptron (10 k parameters) on handwritten digits"
    lr = 0.03
    recipes: ClassVar[Recipes] = {"adamw": {"lr": 3e-3, "weight_decay": 1e-2}}

    def __init__(self, *, label_noise: float = 0.0, depth: int = 8, width: int = 32) -> None:
        super().__init__(label_noise=label_noise)
        self.depth = check_count("depth", depth)
        self.width = check_count("width", width)

    def model(self) -> nn.Module:
        """Return the perceptron."""
        return nn.Sequential(
            nn.Flatten(),
            nn.Linear(_ROWS * _ROWS, self.width),
            nn.Tanh(),
            TanhLayers(self.depth, self.width),
            nn.Linear(self.width, _CLASSES),
        )


class TanhLayers(nn.Module):
    """Layers ``x <- tanh(W x)``, all weights in one tensor: a step costs what its sums cost.

    Args:
        depth: Number of layers.
        width: Units of each.
    """

    def __init__(self, depth: int, width: int) -> None:
        super().__init__()
        # Orthogonal matrices keep lengths.
        drawn = [nn.init.orthogonal_(torch.empty(width, width)) for _ in range(depth)]
        self.weights = nn.Parameter(torch.stack(drawn))

    def forward(self, x: Tensor) -> Tensor:
        """Return the last layer's units, shape (n, width), for units of the same shape."""
        for weight in self.weights.unbind():
            x = torch.tanh(x @ weight)
        return x


class DigitsAttention(Digits):
    """A transformer that reads a digit as its eight rows.

    Args:
        label_noise: As of all digits.
        layers: Transformer blocks.
        heads: Attention heads; they must divide ``width``.
        width: Size of a row's representation.

    Raises:
        InvalidValueError: When an option is out of range.
    """

    name = "digits-attention"
    description = "transformer (3 k parameters) on the rows of handwritten digits"
    family = "adamw"
    lr = 1e-2
    weight_decay = 1e-2
    recipes: ClassVar[Recipes] = {"sgd": {"lr": 0.1, "weight_decay": 0.0}}

    def __init__(
        self, *, label_noise: float = 0.0, layers: int = 1, heads: int = 2, width: int = 16
    ) -> None:
        super().__init__(label_noise=label_noise)
        self.layers = check_count("layers", layers)
        self.heads = check_count("heads", heads)
        self.width = check_count("width", width)
        if width % heads:
            raise InvalidValueError(f"heads must divide width, {width}, but got {heads}.")

    def model(self) -> nn.Module:
        """Return the transformer."""
        return RowTransformer(self.layers, self.heads, self.width)


class RowTransformer(nn.Module):
    """Embedded rows of an image, transformer blocks, and a head on the mean over the rows.

    Args:
        layers: Number of blocks.
        heads: Attention heads per block.
        width: Size of the representation.
    """

    def __init__(self, layers: int, heads: int, width: int) -> None:
        super().__init__()
        self.rows = nn.Linear(_ROWS, width)
        self.places = nn.Parameter(torch.randn(_ROWS, width) / math.sqrt(width))
        self.blocks = nn.Sequential(
            *(TransformerBlock(heads, width, 0.0, causal=False) for _ in range(layers))
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, _CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits, shape (n, 10), for images of shape (n, 1, 8, 8)."""
        x = self.blocks(self.rows(images.squeeze(1)) + self.places)
        logits: Tensor = self.head(self.norm(x.mean(1)))
        return logits
