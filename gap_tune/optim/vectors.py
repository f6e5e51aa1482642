"""Parameters and gradients of a group as one vector: what optimizers that couple them work on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gap_tune.errors import UnsupportedError


def observed_gradient(
    parameter: Tensor, group: dict[str, Any], *, decoupled: bool = False
) -> Tensor | None:
    """Return the gradient to descend along, None where the parameter has none.

    Weight decay enters as in ``torch.optim.SGD``: it is part of the loss, so its gradient
    ``weight_decay * w`` is part of every gradient model and every moment; unless it is
    ``decoupled``, as in ``torch.optim.AdamW``.

    Raises:
        UnsupportedError: When the gradient is sparse.
    """
    gradient = parameter.grad
    if gradient is None:
        return None
    if gradient.layout != torch.strided:
        raise UnsupportedError(f"Gradients must be dense, but got layout {gradient.layout}.")
    if group["maximize"]:
        gradient = -gradient
    if group["weight_decay"] != 0 and not decoupled:
        gradient = gradient.add(parameter, alpha=group["weight_decay"])
    return gradient


def inner_product(first: Tensor, second: Tensor) -> Tensor:
    """Return the inner product, 0-d; of half-precision tensors in float32."""
    wide = torch.promote_types(first.dtype, torch.float32)
    return torch.dot(first.reshape(-1).to(wide), second.reshape(-1).to(wide))


def check_joinable(params: Sequence[Tensor]) -> None:
    """Refuse tensors that cannot become one vector.

    Raises:
        UnsupportedError: When the tensors differ in device or dtype.
    """
    kinds = {(parameter.device, parameter.dtype) for parameter in params}
    if len(kinds) > 1:
        listed = ", ".join(sorted(f"{dtype} on {device}" for device, dtype in kinds))
        raise UnsupportedError(
            "An optimizer that couples tensors needs one device and dtype per parameter group, "
            f"but got {listed}. Give each kind its own group."
        )


def joined_weights(params: Sequence[Tensor]) -> Tensor:
    """Return all weights as one vector, shape (d,)."""
    return torch.cat([parameter.reshape(-1) for parameter in params])


def joined_gradient(
    params: Sequence[Tensor], group: dict[str, Any], fallback: Tensor | None = None
) -> Tensor:
    """Return all gradients as one vector (d,).

    Where a parameter has none, the fallback's entries (d,) take its place, or zeros.
    """
    parts = [None] * len(params) if fallback is None else _split(fallback, params)
    pieces = []
    for parameter, part in zip(params, parts, strict=True):
        gradient = observed_gradient(parameter, group)
        if gradient is None:
            gradient = torch.zeros_like(parameter) if part is None else part
        pieces.append(gradient.reshape(-1))
    return torch.cat(pieces)


def descend(params: Sequence[Tensor], update: Tensor, lr: float) -> None:
    """Move the parameters that have a gradient by ``-lr`` times their part of the update (d,)."""
    for parameter, piece in zip(params, _split(update, params), strict=True):
        if parameter.grad is not None:
            parameter.add_(piece.view_as(parameter), alpha=-lr)


def _split(vector: Tensor, params: Sequence[Tensor]) -> tuple[Tensor, ...]:
    return torch.split(vector, [parameter.numel() for parameter in params])
