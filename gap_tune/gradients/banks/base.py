"""Bank: what a filter bank does, wherever gradients live, and what its states have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from gap_tune.errors import StateError

# Layout of the vector of counters, next to the sums.
WEIGHT, VALIDATION_WEIGHT, STEPS = range(3)


class Bank(Protocol):
    """One one-pole filter per candidate, and sums of what gradients align with.

    There are two, which give the same results and load each other's states: ``FilterBank``, which
    never waits for a device, and ``HostFilterBank``, which needs not fear to.

    Attributes:
        seen: Steps observed, skipped ones included.
    """

    seen: int

    def observe(
        self,
        gradient: Tensor,
        *,
        usable: Tensor | None = None,
        score: bool = True,
        present: Tensor | None = None,
    ) -> None:
        """Score the filters against a fresh gradient, then let them take it in.

        Args:
            gradient: ``g_t``, shape (n,); may hold NaN.
            usable: 0-d bool; False marks a step that must not be observed (an AMP overflow).
            score: Whether to add to the sums; the filters advance in any case.
            present: Coordinates whose parameter had a gradient, bools of shape (n,); the filters
                of the others stay as they are, as torch's do. None where all had.
        """

    def observe_validation(self, gradient: Tensor) -> None:
        """Score the filters' present output ``m_t`` against a held-out gradient, shape (n,)."""

    def read(self) -> tuple[list[list[float]], list[list[float]], list[float]]:
        """Return (sums per judge, validation sums per judge, counters); waits for the device once.

        Counters are the weight, the validation weight and the steps observed.
        """
        ...

    def totals(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return what ``read`` does as tensors, without waiting."""
        ...

    def reset_sums(self) -> None:
        """Set sums and counters to zero; filters and history stay."""

    def state_dict(self) -> dict[str, Tensor]:
        """Return the bank's tensors, cloned."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Copy in what ``state_dict`` of either bank returned, converting dtype and device.

        Raises:
            StateError: When a tensor is missing or has another shape; nothing is changed then.
        """


class Costs(Protocol):
    """What whitens a bank's gradients, as far as its state goes."""

    def tensors(self) -> dict[str, Tensor]:
        """Return the state by name."""
        ...

    def widen(self) -> None:
        """Give each coordinate a bias correction of its own."""


def with_masses_like(state: Mapping[str, Any], whitening: Costs | None) -> Mapping[str, Any]:
    """Return a saved state whose bias corrections are as many as those here, or make them so.

    There is one for all coordinates until parameters differ in the steps that they took part in.
    """
    mass = state.get("mass")
    if whitening is None or not isinstance(mass, Tensor) or mass.dim() != 2:
        return state
    mine = whitening.tensors()["mass"].shape[1]
    if mass.shape[1] > mine:
        whitening.widen()
    return {**state, "mass": mass.expand(-1, mine)} if mass.shape[1] < mine else state


def copy_checked(state: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Copy saved tensors into those of the same names, converting dtype and device.

    Raises:
        StateError: When a tensor is missing or has another shape; nothing is changed then.
    """
    for name, tensor in tensors.items():
        saved = state.get(name)
        shape = tuple(saved.shape) if isinstance(saved, Tensor) else None
        if shape != tuple(tensor.shape):
            raise StateError(
                f"the saved filter bank must hold {name!r} of shape {tuple(tensor.shape)}, "
                f"but got {shape}."
            )
    for name, tensor in tensors.items():
        tensor.copy_(state[name])


def power(gradient: Tensor) -> float:
    """Return the squared norm of a gradient in host memory; not finite where it is not.

    It is by the call that scores filters, whose code then is in the cache: right after a step a
    norm of its own costs twenty times what it does otherwise.
    """
    return torch.mv(gradient.unsqueeze(0), gradient).item()


def on_host(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Copy tensors to the host in one transfer."""
    packed = torch.cat([t.reshape(-1) for t in tensors]).cpu()
    pieces = packed.split([t.numel() for t in tensors])
    return [piece.view(t.shape) for piece, t in zip(pieces, tensors, strict=True)]
