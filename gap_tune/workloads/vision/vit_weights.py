"""Weights for torchvision's vision transformers: of ImageNet, or from a file."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from gap_tune.errors import InvalidValueError
from gap_tune.workloads.cache import locked
from gap_tune.workloads.vision.images import torchvision

_POSITIONS = "encoder.pos_embedding"


def pretrained(
    weights: str, transformer: Any, image_size: int, architecture: Mapping[str, int]
) -> dict[str, Tensor]:
    """Return weights without a head, their positions interpolated to the image size.

    Args:
        weights: "imagenet", or a file.
        transformer: The model that they are for.
        image_size: Its height and width of images.
        architecture: Its architecture.

    Raises:
        InvalidValueError: When there are none, or they do not fit.
    """
    state = _imagenet() if weights == "imagenet" else _from_file(weights)
    if _POSITIONS in state:
        state = torchvision().models.vision_transformer.interpolate_embeddings(
            image_size, architecture["patch_size"], dict(state)
        )
    own = transformer.state_dict()
    kept = {name: value for name, value in state.items() if not name.startswith("heads.")}
    wrong = [n for n in own if not n.startswith("heads.") and not _fits(kept.get(n), own[n])]
    if wrong:
        raise InvalidValueError(
            f"weights must belong to a ViT of architecture {dict(architecture)}, but got "
            f"{weights!r}, where {wrong[0]} and {len(wrong) - 1} more are missing or of another "
            "shape."
        )
    return kept


def _imagenet() -> dict[str, Tensor]:
    weights = torchvision().models.ViT_B_16_Weights.IMAGENET1K_V1
    try:
        with locked("vit_b_16"):
            state: dict[str, Tensor] = weights.get_state_dict(progress=False, check_hash=True)
    except OSError as error:
        raise InvalidValueError(
            f'weights "imagenet" must be downloaded: fetch {weights.url} elsewhere and give '
            f'its path as weights, or give "random", but got: {error}.'
        ) from None
    return state


def _from_file(weights: str) -> dict[str, Tensor]:
    try:
        state = torch.load(weights, map_location="cpu", weights_only=True)
        reason = type(state).__name__
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        state, reason = None, str(error).partition("\n")[0]
    if not isinstance(state, dict):
        raise InvalidValueError(
            'weights must be "imagenet", "random" or a file with a state dict, but got '
            f"{weights!r}: {reason}."
        )
    return state


def _fits(value: Tensor | None, own: Tensor) -> bool:
    return value is not None and value.shape == own.shape
