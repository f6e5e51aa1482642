"""The filter bank of any device: it never waits for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from gap_tune.gradients.banks.base import copy_checked, on_host, with_masses_like
from gap_tune.gradients.banks.whitening import Whitening, wide_dtype


class FilterBank:
    """Filters ``m_t(beta) = beta m_{t-1}(beta) + g_t`` over n coordinates, K candidates.

    ``sum_{n>=1} beta^{n-1} <g_t, g_{t-n}> = <g_t, m_{t-1}(beta)>``: one vector per candidate gives
    the whole z-transform of the autocorrelation, with no gradient history and no cut-off. The
    last ``lags`` gradients are kept besides, for the autocorrelation in reports.

    Everything, the counters and the test for NaN included, stays on the gradients' device, so
    observing never waits for it: a step with a non-finite gradient is observed with coefficient
    1 and input 0, which leaves every filter as it was.

    Args:
        candidates: K momentum values.
        size: n, the number of observed coordinates.
        lags: Lags of the autocorrelation besides lag 0; at least 1.
        decay: Factor in (0, 1] by which all sums shrink at each observed step.
        device: Where gradients live.
        dtype: float32, or float64 for double-precision gradients.
        whitening: Costs to divide the judging gradient by (Adam), one row of sums per beta2; None
            for plain inner products (SGD).
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
        whitening: Whitening | None = None,
    ) -> None:
        self._lags = lags
        self._whitening = whitening
        count = self._count = len(candidates)
        judges = 1 if whitening is None else len(whitening)
        wide = wide_dtype(device)
        # Filters and history share one matrix, so that one product scores them all. The history
        # has a spare row, which the next gradient is written to; the row becomes the newest one
        # if that gradient was finite, and otherwise stays the spare one.
        self._rows = torch.zeros(count + lags + 1, size, device=device, dtype=dtype)
        # A judge's sums are K alignments, the power S[0], the lags and W.
        self._sums = torch.zeros(judges, count + 1 + lags + 1, device=device, dtype=wide)
        self._validation = torch.zeros(judges, count, device=device, dtype=wide)
        self._counters = torch.zeros(3, device=device, dtype=wide)
        # Steps seen, skipped ones included: the host knows it without asking.
        self.seen = 0
        self._newest = torch.zeros(1, device=device, dtype=torch.int64)
        self._pole = torch.tensor(candidates, device=device, dtype=dtype).unsqueeze(1)
        self._decay = torch.tensor(decay, device=device, dtype=wide)
        self._one = torch.ones((), device=device, dtype=wide)
        self._lag = torch.arange(lags, device=device)
        self._bind_views()
        # A gradient so large that a filter's product with it overflows counts as non-finite.
        self._headroom = 1.0 / (1.0 - max(candidates))

    def _bind_views(self) -> None:
        """Name parts of the matrix and of the counters; writing to a part writes to the whole."""
        self._filters, self._history = self._rows[: self._count], self._rows[self._count :]
        self._weight, self._validation_weight, self._steps = self._counters

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
        finite = torch.isfinite(torch.dot(gradient, gradient) * self._headroom)
        if usable is not None:
            finite = finite & usable
        clean = torch.where(finite, gradient, 0.0)
        judge, price = clean.unsqueeze(0), None
        if self._whitening is not None:
            judge, price = self._whitening.whiten(clean, finite, present)
        if score:
            self._score(clean, judge, price, finite)
        advances = finite if present is None else finite & present
        pole = torch.where(advances, self._pole, 1.0)
        torch.addcmul(clean, self._filters, pole, out=self._filters)
        spare = (self._newest + 1).remainder_(self._lags + 1)
        self._history.index_copy_(0, spare, clean.unsqueeze(0))
        self._newest = torch.where(finite, spare, self._newest)
        self._steps.add_(finite)
        self.seen += 1

    def _score(self, clean: Tensor, judge: Tensor, price: Tensor | None, finite: Tensor) -> None:
        dots = self._against(self._rows, judge)
        lag_order = (self._newest - self._lag).remainder_(self._lags + 1).add_(self._count)
        power = torch.mv(judge, clean).unsqueeze(1)
        price = torch.zeros_like(power) if price is None else price.unsqueeze(1)
        parts = (dots[:, : self._count], power, dots.index_select(1, lag_order), price)
        # What a skipped step left in `clean` is zero, but W is not.
        fresh = torch.where(finite, torch.cat(parts, dim=1), 0.0).to(self._sums.dtype)
        decay = torch.where(finite, self._decay, self._one)
        torch.addcmul(fresh, self._sums, decay, out=self._sums)
        self._weight.mul_(decay).add_(finite)

    def observe_validation(self, gradient: Tensor) -> None:
        """Score the filters' present output ``m_t`` against a held-out gradient, shape (n,)."""
        finite = torch.isfinite(torch.dot(gradient, gradient) * self._headroom)
        clean = torch.where(finite, gradient, 0.0)
        judge = clean.unsqueeze(0)
        if self._whitening is not None:
            judge = self._whitening.divide(clean)
        decay = torch.where(finite, self._decay, self._one)
        fresh = self._against(self._filters, judge).to(self._validation.dtype)
        torch.addcmul(fresh, self._validation, decay, out=self._validation)
        self._validation_weight.mul_(decay).add_(finite)

    @staticmethod
    def _against(rows: Tensor, judge: Tensor) -> Tensor:
        """Return the products of every judge with every row, shape (judges, rows)."""
        # One judge is a matrix-vector product, which runs at memory speed.
        return torch.mv(rows, judge[0]).unsqueeze(0) if len(judge) == 1 else judge @ rows.T

    def read(self) -> tuple[list[list[float]], list[list[float]], list[float]]:
        """Return what ``Bank.read`` does; waits for the device once."""
        sums, validation, counters = (part.tolist() for part in on_host(self.totals()))
        return sums, validation, counters

    def totals(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return what ``read`` does as the tensors themselves, without waiting."""
        return self._sums, self._validation, self._counters

    def reset_sums(self) -> None:
        """Set sums and counters to zero; filters and history stay."""
        for tensor in self.totals():
            tensor.zero_()
        self.seen = 0

    def state_dict(self) -> dict[str, Tensor]:
        """Return the bank's tensors, cloned."""
        tensors = {name: tensor.clone() for name, tensor in self._tensors().items()}
        return {**tensors, "seen": torch.tensor(self.seen)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Copy in what ``state_dict`` returned, converting dtype and device.

        Raises:
            StateError: When a tensor is missing or has another shape; nothing is changed then.
        """
        state = with_masses_like(state, self._whitening)
        copy_checked(state, self._tensors())
        self.seen = int(state["seen"])

    def _tensors(self) -> dict[str, Tensor]:
        own = {
            "rows": self._rows,
            "sums": self._sums,
            "validation": self._validation,
            "counters": self._counters,
            "newest": self._newest,
        }
        return own if self._whitening is None else {**own, **self._whitening.tensors()}
