"""UsedFilter: what an optimizer's momentum really filters, over the observed coordinates."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from gap_tune.gradients.banks.base import power
from gap_tune.gradients.banks.making import lives_on_host
from gap_tune.gradients.banks.whitening import HostWhitening, Whitening
from gap_tune.gradients.carrying import carried
from gap_tune.gradients.observer import GradientObserver, Reading
from gap_tune.gradients.reading import GradientReader

# Of torch's optimizers, those whose weight decay is part of the gradient unless a group says that
# it is decoupled.
_DECAY_IN_GRADIENT = (
    torch.optim.SGD,
    torch.optim.Adam,
    torch.optim.Adamax,
    torch.optim.NAdam,
    torch.optim.RAdam,
    torch.optim.RMSprop,
)

Momenta = Mapping[Tensor, float] | float


class UsedFilter:
    """``m_t = beta_t m_{t-1} + g_t`` with the momenta that trained, and a slow filter beside it.

    What an optimizer averages, as Adam does, is ``beta_t m_{t-1} + (1 - beta_t) g_t``; the two
    differ in more than a factor once momentum has changed. Where weight decay is part of the
    gradient, as in SGD, it is part of ``g`` here too.

    Their products with fresh gradients are ``<g_t, m_{t-1}>``. For Adam and its like they are
    whitened: ``sum_j g_j m_j / c_j`` with ``c = sqrt(v)``; the slow filter then is one of whitened
    gradients, since ``v`` changes over its memory. Where gradients are on a device nothing waits
    for it.

    Args:
        observer: What reads the gradients.
        optimizer: Whose; where its groups hold ``betas`` and ``eps``, as Adam's, products are
            whitened.
        slow: Pole of the slow filter.
    """

    def __init__(
        self, observer: GradientObserver, optimizer: torch.optim.Optimizer, slow: float
    ) -> None:
        self._observer, self._optimizer, self._slow = observer, optimizer, slow
        group = optimizer.param_groups[0]
        self._averages = "betas" in group
        whitens = self._averages and "eps" in group
        self._beta2 = float(group["betas"][1]) if whitens else None
        self._eps = float(group["eps"]) if whitens else 0.0
        self._decays = isinstance(optimizer, _DECAY_IN_GRADIENT)
        self._start(observer.reader)

    def _start(self, reader: GradientReader) -> None:
        self._reader = reader
        self._filters = torch.zeros(2, reader.size, device=reader.device, dtype=reader.dtype)
        self._bind_views()
        self._host: HostWhitening | None = None
        self._device: Whitening | None = None
        if self._beta2 is not None:
            if lives_on_host(reader.device):
                self._host = HostWhitening((self._beta2,), reader.weights, self._eps)
            else:
                self._device = Whitening((self._beta2,), reader.weights, self._eps)
        self._poles: dict[tuple[float, ...], Tensor] = {}
        self._decay: dict[tuple[float, ...], Tensor] = {}

    def _bind_views(self) -> None:
        self._used, self._slowed = self._filters.unbind()

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        # Pickle makes copies of views.
        self._bind_views()

    def products(self, momenta: Momenta) -> list[float] | Tensor | None:
        """Return both products of the observer's latest step, and take its gradient in.

        Args:
            momenta: What the coming step trains with: one for all parameters, or each one's.

        Returns:
            Numbers where gradients are in host memory, else a tensor of shape (2,): with what
            momentum filters, and with the slow filter. NaN where a gradient was not finite or the
            step is skipped, which leaves the filters as they were. None without a step.
        """
        reading, self._observer.latest = self._observer.latest, None
        if reading is None:
            return None
        if reading.reader is not self._reader:
            self._move(reading.reader)
        pole = self._pole(momenta)
        decayed = self._decayed(reading)
        if decayed is not None:
            reading = replace(reading, gradient=decayed)
        self._follow_beta2()
        if lives_on_host(self._reader.device):
            return self._on(reading, pole)
        return self._beside(reading, pole)

    @torch.no_grad()
    def _on(self, reading: Reading, pole: float | Tensor) -> list[float]:
        """Do a step on the host, where a number can be read without waiting."""
        gradient, present = reading.gradient, reading.present
        usable = reading.usable is None or bool(reading.usable)
        if not usable or not math.isfinite(power(gradient)):
            return [float("nan")] * 2
        judge = gradient
        if self._host is not None:
            (judge,) = self._host.whitened(gradient, present)
        products: list[float] = torch.mv(self._filters, judge).tolist()
        fresh = gradient * (1.0 - pole) if self._averages else gradient
        slow: float | Tensor = self._slow
        if present is not None:
            pole, slow = self._where(present, pole), self._where(present, slow)
        _advance(self._used, pole, fresh)
        _advance(self._slowed, slow, judge)
        return products

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
        products = torch.where(finite, torch.mv(self._filters, judge), torch.nan)
        advances = finite if present is None else finite & present
        fresh = clean * (1.0 - pole) if self._averages else clean
        self._used.mul_(self._where(advances, pole)).add_(fresh)
        self._slowed.mul_(self._where(advances, self._slow)).add_(judge)
        return products

    def _follow_beta2(self) -> None:
        """Whiten with the optimizer's present beta2, which may be tuned as well."""
        whitening = self._host or self._device
        if whitening is None or not self._reader.parameters:
            return
        first, groups = self._reader.parameters[0], self._optimizer.param_groups
        group = next((g for g in groups if any(p is first for p in g["params"])), groups[0])
        beta2 = group["betas"][1]
        # Asking a device would wait for it.
        if isinstance(beta2, Tensor) and not beta2.is_cpu:
            return
        if float(beta2) != self._beta2:
            self._beta2 = float(beta2)
            whitening.use((self._beta2,))

    def _where(self, advances: Tensor, pole: float | Tensor) -> Tensor:
        """Return the poles where coordinates advance, and 1 where they stay, in their dtype."""
        pole = torch.as_tensor(pole, dtype=self._reader.dtype, device=self._reader.device)
        return torch.where(advances, pole, 1.0)

    @torch.no_grad()
    def _decayed(self, reading: Reading) -> Tensor | None:
        """Return the gradient with its weight decay, shape (n,); None where there is none."""
        groups = self._optimizer.param_groups if self._decays else []
        factors = [_decay_in_gradient(group) for group in groups]
        if not any(factors):
            return None
        factor: float | Tensor = factors[0]
        # Asking each parameter costs as much as reading it; where they are alike, nobody asks.
        if reading.present is not None or factors.count(factors[0]) < len(factors):
            decays = {
                p: decay
                for group, decay in zip(groups, factors, strict=True)
                for p in group["params"]
                if p.grad is not None
            }
            factor = self._each(decays, self._decay)
        values = self._reader.values()
        if isinstance(factor, Tensor):
            return torch.addcmul(reading.gradient, values, factor)
        return torch.add(reading.gradient, values, alpha=factor)

    def _each(self, numbers: Mapping[Tensor, float], known: dict[Any, Tensor]) -> float | Tensor:
        """Return a number of every observed coordinate, a plain one where they are equal."""
        reader = self._reader
        key = tuple(numbers.get(p, 0.0) for p in reader.parameters)
        if len(set(key)) <= 1:
            return key[0] if key else 0.0
        each = known.get(key)
        if each is None:
            lengths = torch.tensor([piece.length for piece in reader.slices])
            values = [key[piece.tensor] for piece in reader.slices]
            known.clear()
            each = torch.tensor(values, dtype=reader.dtype).repeat_interleave(lengths)
            each = known[key] = each.to(reader.device)
        return each

    def _pole(self, momenta: Momenta) -> float | Tensor:
        """Return the momentum of every observed coordinate, one number where they are equal."""
        if not isinstance(momenta, Mapping):
            return momenta
        return self._each(momenta, self._poles)

    def _move(self, reader: GradientReader) -> None:
        """Go on with other coordinates: what both readers read stays as it was."""
        state, old = self._tensors(), self._reader
        self._start(reader)
        self._load(carried(state, old, reader))

    def _tensors(self) -> dict[str, Tensor]:
        whitening = self._host or self._device
        return {"rows": self._filters} | ({} if whitening is None else whitening.tensors())

    def _load(self, tensors: Mapping[str, Tensor]) -> None:
        self._filters.copy_(tensors["rows"])
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


def _decay_in_gradient(group: Mapping[str, Any]) -> float:
    """Return the weight decay that is part of a group's gradients; 0 where it is decoupled."""
    if not group["weight_decay"] or group.get("decoupled_weight_decay"):
        return 0.0
    # A gradient that is ascended has the other sign.
    return (-1.0 if group.get("maximize") else 1.0) * float(group["weight_decay"])


def _advance(row: Tensor, pole: float | Tensor, fresh: Tensor) -> None:
    """Let a filter take in what is fresh, in one call where its pole is a number."""
    if isinstance(pole, Tensor):
        row.mul_(pole).add_(fresh)
    else:
        torch.add(fresh, row, alpha=pole, out=row)
