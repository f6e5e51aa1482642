"""UsedFilter: the filter that an optimizer's momentum really is, over the observed coordinates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from gap_tune.gradients.banks.making import lives_on_host
from gap_tune.gradients.banks.whitening import HostWhitening, Whitening
from gap_tune.gradients.carrying import carried
from gap_tune.gradients.observer import GradientObserver, Reading
from gap_tune.gradients.reading import GradientReader

Momenta = Mapping[Tensor, float] | float


class UsedFilter:
    """``m_t = beta_t m_{t-1} + g_t`` with the momenta that trained, and ``x_t = <g_t, m_{t-1}>``.

    For Adam and its like the product is whitened: ``sum_j g_j m_j / c_j`` with ``c = sqrt(v)``.
    Where gradients are on a device nothing waits for it.

    Args:
        observer: What reads the gradients.
        beta2: Adam's, to whiten by; None for plain products.
        eps: Adam's epsilon.
    """

    def __init__(self, observer: GradientObserver, beta2: float | None, eps: float) -> None:
        self._observer, self._beta2, self._eps = observer, beta2, eps
        self._start(observer.reader)

    def _start(self, reader: GradientReader) -> None:
        self._reader = reader
        self._filter = torch.zeros(1, reader.size, device=reader.device, dtype=reader.dtype)
        self._limit = torch.finfo(reader.dtype).max ** 0.5
        self._host: HostWhitening | None = None
        self._device: Whitening | None = None
        if self._beta2 is not None:
            if lives_on_host(reader.device):
                self._host = HostWhitening((self._beta2,), reader.weights, self._eps)
            else:
                self._device = Whitening((self._beta2,), reader.weights, self._eps)
        self._poles: dict[tuple[float, ...], Tensor] = {}

    def product(self, momenta: Momenta) -> float | Tensor | None:
        """Return ``x_t`` of the observer's latest step, and take its gradient into the filter.

        Args:
            momenta: What the coming step trains with: one for all parameters, or each one's.

        Returns:
            A number where gradients are in host memory, else a tensor of shape (1,); NaN where a
            gradient was not finite or the step is skipped, which leaves the filter as it was.
            None without a step.
        """
        reading, self._observer.latest = self._observer.latest, None
        if reading is None:
            return None
        if reading.reader is not self._reader:
            self._move(reading.reader)
        pole = self._pole(momenta)
        if lives_on_host(self._reader.device):
            return self._on(reading, pole)
        return self._beside(reading, pole)

    @torch.no_grad()
    def _on(self, reading: Reading, pole: float | Tensor) -> float:
        """Do a step on the host, where a number can be read without waiting."""
        gradient, present = reading.gradient, reading.present
        usable = reading.usable is None or bool(reading.usable)
        if not usable or not float(torch.linalg.vector_norm(gradient)) <= self._limit:
            return float("nan")
        judge = gradient
        if self._host is not None:
            (judge,), _ = self._host.whiten(gradient, present)
        product = float(torch.mv(self._filter, judge))
        if present is not None:
            pole = torch.where(present, pole, 1.0)
        self._filter.mul_(pole).add_(gradient)
        return product

    @torch.no_grad()
    def _beside(self, reading: Reading, pole: float | Tensor) -> Tensor:
        """Do a step on a device."""
        gradient, present = reading.gradient, reading.present
        finite = torch.isfinite(torch.dot(gradient, gradient))
        if reading.usable is not None:
            finite = finite & reading.usable
        clean = torch.where(finite, gradient, 0.0)
        judge = clean
        if self._device is not None:
            judge = self._device.whiten(clean, finite, present)[0][0]
        product = torch.where(finite, torch.mv(self._filter, judge), torch.nan)
        advances = finite if present is None else finite & present
        self._filter.mul_(torch.where(advances, pole, 1.0)).add_(clean)
        return product

    def _pole(self, momenta: Momenta) -> float | Tensor:
        """Return the momentum of every observed coordinate, one number where they are equal."""
        if not isinstance(momenta, Mapping):
            return momenta
        reader = self._reader
        key = tuple(momenta.get(p, 0.0) for p in reader.parameters)
        if len(set(key)) <= 1:
            return key[0] if key else 0.0
        pole = self._poles.get(key)
        if pole is None:
            lengths = torch.tensor([piece.length for piece in reader.slices])
            each = torch.tensor([key[piece.tensor] for piece in reader.slices], dtype=reader.dtype)
            self._poles.clear()
            pole = self._poles[key] = each.repeat_interleave(lengths).to(reader.device)
        return pole

    def _move(self, reader: GradientReader) -> None:
        """Go on with other coordinates: what both readers read stays as it was."""
        state, old = self._tensors(), self._reader
        self._start(reader)
        self._load(carried(state, old, reader))

    def _tensors(self) -> dict[str, Tensor]:
        whitening = self._host or self._device
        return {"rows": self._filter} | ({} if whitening is None else whitening.tensors())

    def _load(self, tensors: Mapping[str, Tensor]) -> None:
        self._filter.copy_(tensors["rows"])
        if self._host is not None:
            self._host.load(tensors)
        if self._device is not None:
            if tensors["mass"].shape[1] > 1:
                self._device.widen()
            for name, tensor in self._device.tensors().items():
                tensor.copy_(tensors[name])

    def state_dict(self) -> dict[str, Tensor]:
        """Return the filter's tensors, cloned; of what the observer reads now."""
        if self._observer.reader is not self._reader:
            self._move(self._observer.reader)
        return {name: tensor.clone() for name, tensor in self._tensors().items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what ``state_dict`` returned, once the observer has its own state.

        A filter over other coordinates starts anew, as the observer's own do.
        """
        self._start(self._observer.reader)
        mine = {name: tensor.shape for name, tensor in self._tensors().items() if name != "mass"}
        if all(name in state and state[name].shape == shape for name, shape in mine.items()):
            self._load(state)
