"""Residual networks for small images (He et al., 2016)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

_CHANNELS = (64, 128, 256, 512)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with batch norm and a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Return ``relu(body(x) + shortcut(x))``."""
        return functional.relu(self.body(x) + self.shortcut(x))


def resnet18(classes: int) -> nn.Sequential:
    """Return ResNet-18 for images of 32x32 pixels: a 3x3 stem without pooling, four stages.

    >>> sum(p.numel() for p in resnet18(10).parameters())
    11173962
    """
    stem, *_ = _CHANNELS
    layers: list[nn.Module] = [
        nn.Conv2d(3, stem, 3, padding=1, bias=False),
        nn.BatchNorm2d(stem),
        nn.ReLU(),
    ]
    inputs = stem
    for outputs in _CHANNELS:
        stride = 1 if outputs == stem else 2
        layers += [ResidualBlock(inputs, outputs, stride), ResidualBlock(outputs, outputs, 1)]
        inputs = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes))
