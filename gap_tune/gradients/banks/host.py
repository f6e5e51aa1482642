"""The filter bank of gradients on the host: few tensor calls, everything else plain numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from gap_tune.gradients.banks.base import (
    STEPS,
    VALIDATION_WEIGHT,
    WEIGHT,
    copy_checked,
    power,
    with_masses_like,
)
from gap_tune.gradients.banks.whitening import HostWhitening, wide_dtype

# torch hands elementwise work on this many numbers to its thread pool.
_THREADED = 32_768


class HostFilterBank:
    """``FilterBank`` for gradients in host memory: same arguments, results and saved state.

    There a number can be read without waiting. So NaN is a branch, sums and counters are Python
    floats, and a step costs a handful of tensor calls. Right after an optimizer's step, which has
    filled every cache with weights, calls are what costs, not arithmetic; waking a second thread
    costs most. So none of the calls is one that torch hands to its thread pool at the size of the
    default sample: ``dot`` and ``sqrt`` are, and so is an update of many filters at once.
    """

    def __init__(
        self,
        candidates: Sequence[float],
        size: int,
        lags: int,
        decay: float,
        *,
        device: torch.device,
        dtype: torch.dtype,
        whitening: HostWhitening | None = None,
    ) -> None:
        self._lags, self._decay, self._whitening = lags, decay, whitening
        self._count = len(candidates)
        self._judges = 1 if whitening is None else len(whitening)
        # K filters, then a ring of the last gradients with a spare row for the next one.
        self._rows = torch.zeros(self._count + lags + 1, size, device=device, dtype=dtype)
        self._pole = torch.tensor(candidates, device=device, dtype=dtype).unsqueeze(1)
        self._newest = 0
        # Steps seen, skipped ones included.
        self.seen = 0
        self._steps, self._weight, self._validation_weight = 0, 0.0, 0.0
        # A gradient so large that a filter's product with it overflows counts as non-finite.
        self._limit = torch.finfo(dtype).max * (1.0 - max(candidates))
        self.reset_sums()
        self._bind_views()

    def _bind_views(self) -> None:
        self._filters, history = self._rows[: self._count], self._rows[self._count :]
        self._history = history.unbind()
        self._few = max(1, (_THREADED - 1) // max(1, self._rows.shape[1]))
        self._parts = self._split(self._pole)
        self._present: Tensor | None = None
        self._present_parts: list[tuple[Tensor, Tensor]] = []

    def _split(self, pole: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Pair filters with their poles, few at a time."""
        return list(zip(self._filters.split(self._few), pole.split(self._few), strict=True))

    def _parts_of(self, present: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Return filters and poles of the coordinates that are present, and 1 of the others."""
        if present is not self._present:
            self._present = present
            self._present_parts = self._split(torch.where(present, self._pole, 1.0))
        return self._present_parts

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        # Pickle makes copies of views.
        self._bind_views()

    def observe(
        self,
        gradient: Tensor,
        *,
        usable: Tensor | None = None,
        score: bool = True,
        present: Tensor | None = None,
    ) -> None:
        """Score the filters against a fresh gradient, then let them take it in; as ``Bank``."""
        self.seen += 1
        if (usable is not None and not usable) or not self._is_finite(gradient):
            return
        spare = (self._newest + 1) % (self._lags + 1)
        self._history[spare].copy_(gradient)
        judges, prices = [gradient], [0.0]
        if self._whitening is not None:
            judges, prices = self._whitening.whiten(gradient, present)
        if score:
            for sums, judge, price in zip(self._sums, judges, prices, strict=True):
                self._add(sums, torch.mv(self._rows, judge).tolist(), spare, price)
            self._weight = self._decay * self._weight + 1.0
        for filters, pole in self._parts if present is None else self._parts_of(present):
            torch.addcmul(gradient, filters, pole, out=filters)
        self._newest = spare
        self._steps += 1

    def _is_finite(self, gradient: Tensor) -> bool:
        return power(gradient) <= self._limit

    def _add(self, sums: list[float], dots: list[float], spare: int, price: float) -> None:
        """Decay a judge's sums and add its products with all rows, lags from 0 on, and W."""
        history = dots[self._count :]
        # Lags go backwards round the ring from the newest gradient, which the spare row holds.
        lags = history[spare::-1] + history[:spare:-1]
        fresh = (*dots[: self._count], *lags, price)
        sums[:] = [self._decay * old + new for old, new in zip(sums, fresh, strict=True)]

    def observe_validation(self, gradient: Tensor) -> None:
        """Score the filters' present output ``m_t`` against a held-out gradient, shape (n,)."""
        if not self._is_finite(gradient):
            return
        judges = [gradient] if self._whitening is None else self._whitening.divide(gradient)
        for sums, judge in zip(self._validation, judges, strict=True):
            fresh = torch.mv(self._filters, judge).tolist()
            sums[:] = [self._decay * old + new for old, new in zip(sums, fresh, strict=True)]
        self._validation_weight = self._decay * self._validation_weight + 1.0

    def read(self) -> tuple[list[list[float]], list[list[float]], list[float]]:
        """Return (sums per judge, validation sums per judge, counters), as ``FilterBank`` does."""
        counters = [self._weight, self._validation_weight, float(self._steps)]
        return self._sums, self._validation, counters

    def totals(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return what ``read`` does, as tensors."""
        wide = wide_dtype(self._rows.device)
        sums, validation, counters = (torch.tensor(part, dtype=wide) for part in self.read())
        return sums, validation, counters

    def reset_sums(self) -> None:
        """Set sums and counters to zero; filters and history stay."""
        # A judge's sums are K alignments, the power S[0], the lags and W.
        width = self._count + 1 + self._lags + 1
        self._sums = [[0.0] * width for _ in range(self._judges)]
        self._validation = [[0.0] * self._count for _ in range(self._judges)]
        self._steps, self._weight, self._validation_weight = 0, 0.0, 0.0
        self.seen = 0

    def state_dict(self) -> dict[str, Tensor]:
        """Return the bank's state as ``FilterBank`` does, cloned."""
        tensors = {name: tensor.clone() for name, tensor in self._tensors().items()}
        return {**tensors, "seen": torch.tensor(self.seen)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Copy in what ``state_dict`` of this bank or of ``FilterBank`` returned.

        Raises:
            StateError: When a tensor is missing or has another shape; nothing is changed then.
        """
        state = with_masses_like(state, self._whitening)
        tensors = self._tensors()
        copy_checked(state, tensors)
        self._sums, self._validation = tensors["sums"].tolist(), tensors["validation"].tolist()
        counters = tensors["counters"].tolist()
        self._weight, self._validation_weight = counters[WEIGHT], counters[VALIDATION_WEIGHT]
        self._steps, self.seen = round(counters[STEPS]), int(state["seen"])
        self._newest = int(tensors["newest"])
        if self._whitening is not None:
            self._whitening.load(tensors)

    def _tensors(self) -> dict[str, Tensor]:
        """Return the state by name: the rows themselves, the numbers as tensors."""
        sums, validation, counters = self.totals()
        own = {
            "rows": self._rows,
            "sums": sums,
            "validation": validation,
            "counters": counters,
            "newest": torch.tensor([self._newest]),
        }
        return own if self._whitening is None else {**own, **self._whitening.tensors()}
