"""Whitening: Adam's per-coordinate costs c_j = sqrt(v_j), kept on the observed coordinates."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


class Whitening:
    """Second moments ``v`` of the observed coordinates, for one or several values of beta2.

    ``v_t = beta2 v_{t-1} + (1 - beta2) g_t^2`` with Adam's bias correction, kept here rather than
    read from the optimizer: so it exists for any optimizer and for every beta2 to compare.
    Coordinates that never had a gradient have no cost; they count for nothing instead of
    ``1 / eps``. As in torch, a parameter without a gradient does not take the step: its ``v`` and
    its bias correction wait for it, and it counts for nothing in that step's ``W``.

    Args:
        betas2: M values of beta2, each in [0, 1).
        weights: How many coordinates each observed one stands for, shape (n,).
        eps: Adam's epsilon, added to ``sqrt(v)``.
    """

    def __init__(self, betas2: Sequence[float], weights: Tensor, eps: float) -> None:
        device, dtype = weights.device, weights.dtype
        self._beta2 = torch.tensor(betas2, device=device, dtype=dtype).unsqueeze(1)
        self._weights = weights
        # Gradients come times these roots, so v does times the weights, and eps must as well.
        self._root = weights.sqrt()
        self._eps = eps * self._root
        self._moment = torch.zeros(len(betas2), len(weights), device=device, dtype=dtype)
        self._mass = torch.zeros(len(betas2), 1, device=device, dtype=wide_dtype(device))

    def __len__(self) -> int:
        return len(self._moment)

    def whiten(
        self, gradient: Tensor, finite: Tensor, present: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Take in a gradient; return it divided by the costs, and ``W``.

        Args:
            gradient: Shape (n,), scaled by the roots of the sampling weights, free of NaN.
            finite: 0-d bool; False leaves ``v`` as it was.
            present: Coordinates that take part, bools of shape (n,); None where all do.

        Returns:
            ``g_j / c_j``, shape (M, n), scaled like the gradient, and ``W = sum_j 1/c_j``,
            shape (M,).
        """
        if present is not None:
            finite = finite & present
            self._mass = _each(self._mass, len(present))
        keep = torch.where(finite, self._beta2, 1.0)
        torch.addcmul(gradient * gradient * (1.0 - keep), self._moment, keep, out=self._moment)
        keep = keep.to(self._mass.dtype)
        self._mass.mul_(keep).add_(1.0 - keep)
        inverse = self._inverse_costs()
        if present is not None:
            inverse = inverse * present
        return gradient * inverse, torch.mv(inverse, self._weights)

    def divide(self, gradient: Tensor) -> Tensor:
        """Return a held-out gradient divided by the present costs, shape (M, n)."""
        return gradient * self._inverse_costs()

    def _inverse_costs(self) -> Tensor:
        corrected = self._moment / self._mass.clamp_min(1e-30).to(self._moment.dtype)
        return torch.where(self._moment > 0, self._root / (corrected.sqrt() + self._eps), 0.0)

    def use(self, betas2: Sequence[float | Tensor]) -> None:
        """Go on with other values of beta2, as many as before; numbers, or tensors of one."""
        # To fill waits for no device, as a copy from the host would.
        for row, beta2 in zip(self._beta2, betas2, strict=True):
            row.fill_(beta2.reshape(()) if isinstance(beta2, Tensor) else beta2)

    def tensors(self) -> dict[str, Tensor]:
        """Return the state by name."""
        return {"moment": self._moment, "mass": self._mass}

    def widen(self) -> None:
        """Give each coordinate a bias correction of its own, which saved states may bring."""
        self._mass = _each(self._mass, len(self._weights))


class HostWhitening:
    """``Whitening`` of gradients in host memory: the running weights of ``v`` are plain numbers.

    Args:
        betas2: As for ``Whitening``.
        weights: As for ``Whitening``.
        eps: As for ``Whitening``.
    """

    def __init__(self, betas2: Sequence[float], weights: Tensor, eps: float) -> None:
        self._betas2 = betas2
        self._weights, self._root = weights.unsqueeze(0), weights.sqrt()
        self._eps = eps * self._root
        self._moments = [torch.zeros_like(weights) for _ in betas2]
        # A number per beta2; a tensor of shape (n,) once parameters differ in what they took part.
        self._masses: list[float | Tensor] = [0.0] * len(betas2)

    def __len__(self) -> int:
        return len(self._betas2)

    def whiten(
        self, gradient: Tensor, present: Tensor | None = None
    ) -> tuple[list[Tensor], list[float]]:
        """Take in a finite gradient; return it divided by the costs, and ``W``, for each beta2.

        Args:
            gradient: As for ``Whitening``.
            present: As for ``Whitening``.
        """
        inverse = self._take_in(gradient, present)
        prices = [float(torch.mv(self._weights, each)) for each in inverse]
        return [each.mul_(gradient) for each in inverse], prices

    def whitened(self, gradient: Tensor, present: Tensor | None = None) -> list[Tensor]:
        """Do as ``whiten``, but without ``W``."""
        return [each.mul_(gradient) for each in self._take_in(gradient, present)]

    def _take_in(self, gradient: Tensor, present: Tensor | None) -> list[Tensor]:
        """Take in a finite gradient; return ``1 / c_j`` for each beta2."""
        if present is not None:
            self.widen()
        wide = wide_dtype(self._weights.device)
        for i, beta2 in enumerate(self._betas2):
            keep: float | Tensor = beta2
            if present is not None:
                keep = torch.where(present, torch.tensor(beta2, dtype=wide), 1.0)
            self._moments[i].mul_(keep).addcmul_(gradient, gradient, value=1.0 - beta2)
            self._masses[i] = keep * self._masses[i] + (1.0 - keep)
        inverse = self._inverse_costs()
        return inverse if present is None else [each.mul_(present) for each in inverse]

    def divide(self, gradient: Tensor) -> list[Tensor]:
        """Return a held-out gradient divided by the present costs, for each beta2."""
        return [each.mul_(gradient) for each in self._inverse_costs()]

    def _inverse_costs(self) -> list[Tensor]:
        inverse = []
        for moment, mass in zip(self._moments, self._masses, strict=True):
            # sqrt() would wake torch's thread pool for so few numbers.
            deviation = moment.rsqrt().reciprocal_()
            # Where v is 0, the cost becomes infinite and counts for nothing.
            torch.threshold_(deviation, 0.0, math.inf)
            if isinstance(mass, Tensor):
                scale = mass.clamp_min(1e-30).rsqrt_().to(deviation.dtype)
                # Where there was no gradient yet, infinity stays infinity.
                corrected = torch.addcmul(self._eps, deviation, scale)
            else:
                factor = 1.0 / math.sqrt(max(mass, 1e-30))
                corrected = torch.add(self._eps, deviation, alpha=factor)
            inverse.append(self._root / corrected)
        return inverse

    def use(self, betas2: Sequence[float]) -> None:
        """Go on with other values of beta2, as many as before."""
        self._betas2 = betas2

    def tensors(self) -> dict[str, Tensor]:
        """Return the state as ``Whitening`` does, as copies."""
        wide = wide_dtype(self._weights.device)
        masses = [torch.as_tensor(mass, dtype=wide).reshape(-1) for mass in self._masses]
        return {"moment": torch.stack(self._moments), "mass": torch.stack(masses)}

    def widen(self) -> None:
        """Give each coordinate a bias correction of its own."""
        size, wide = self._root.numel(), wide_dtype(self._weights.device)
        self._masses = [
            mass if isinstance(mass, Tensor) else torch.full((size,), mass, dtype=wide)
            for mass in self._masses
        ]

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over what ``tensors`` returned."""
        for mine, saved in zip(self._moments, tensors["moment"], strict=True):
            mine.copy_(saved)
        each = tensors["mass"]
        self._masses = list(each.clone()) if each.shape[1] > 1 else each.flatten().tolist()


def _each(mass: Tensor, size: int) -> Tensor:
    """Return the running weights of ``v`` per coordinate, shape (M, n)."""
    return mass if mass.shape[1] == size else mass.expand(-1, size).contiguous()


def wide_dtype(device: torch.device) -> torch.dtype:
    """Return the dtype of sums: float64 where the device has it; with decay 1 they only grow."""
    return torch.float32 if device.type == "mps" else torch.float64
