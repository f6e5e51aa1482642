"""UsedFilter: what an optimizer's momentum really filters, over the observed coordinates."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gap_tune.gradients.banks.base import power
from gap_tune.gradients.banks.making import lives_on_host
from gap_tune.gradients.banks.whitening import HostWhitening, Whitening
from gap_tune.gradients.carrying import carried
from gap_tune.gradients.coordinates import Coordinates
from gap_tune.gradients.decay import DecayInGradient
from gap_tune.gradients.observer import GradientObserver
from gap_tune.gradients.reading import GradientReader

Momenta = Mapping[Tensor, float] | float
# Both products of a step: numbers where gradients are in host memory, else of shape (2,).
Products = list[float] | Tensor


class _Step(NamedTuple):
    """A step's gradient and what else the filters need of it.

    Attributes:
        gradient: ``g`` with its weight decay, shape (n,).
        usable: As of ``Reading``.
        present: As of ``Reading``.
        pole: What the step trains with.
        is_idle: Whether some of it is 0, so that torch's SGD leaves buffers as they are.
        lost: 1 where there is no buffer by now, else 0; None where momentum was never 0.
    """

    gradient: Tensor
    usable: Tensor | None
    present: Tensor | None
    pole: float | Tensor
    is_idle: bool
    lost: float | Tensor | None


class UsedFilter:
    """``m_t = beta_t m_{t-1} + g_t`` with the momenta that trained, and a slow filter beside it.

    What an optimizer averages, as Adam does, is ``beta_t m_{t-1} + (1 - beta_t) g_t``; the two
    differ in more than a factor once momentum has changed. Where weight decay is part of the
    gradient, as in SGD, it is part of ``g`` here too. At momentum 0 torch's SGD descends along
    ``g`` alone and leaves its buffer as it was, to go on with later, unless it was dropped.

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
        self._rests = isinstance(optimizer, torch.optim.SGD)
        self._decay = DecayInGradient(optimizer)
        self._start(observer.reader)

    def _start(self, reader: GradientReader) -> None:
        self._reader = reader
        self._coordinates = Coordinates(reader)
        self._filters = torch.zeros(2, reader.size, device=reader.device, dtype=reader.dtype)
        self._bind_views()
        # torch's buffer, where momentum 0 makes it another than the update; whether it is now.
        self._buffer: Tensor | None = None
        self._was_idle = False
        self._row = reader.empty()
        self._host: HostWhitening | None = None
        self._device: Whitening | None = None
        if self._beta2 is not None:
            if lives_on_host(reader.device):
                self._host = HostWhitening((self._beta2,), reader.weights, self._eps)
            else:
                self._device = Whitening((self._beta2,), reader.weights, self._eps)

    def _bind_views(self) -> None:
        self._used, self._slowed = self._filters.unbind()

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        # Pickle makes copies of views.
        self._bind_views()

    def products(self, momenta: Momenta) -> Products | None:
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
        reader = self._reader
        pole = self._coordinates.spread(momenta)
        is_idle, lost = self._rest(momenta, reading.present)
        gathered = self._decay.added(reading.gradient, reader, self._coordinates, self._row)
        gradient = reader.weigh(gathered, self._row)
        step = _Step(gradient, reading.usable, reading.present, pole, is_idle, lost)
        self._follow_beta2()
        return self._on(step) if lives_on_host(reader.device) else self._beside(step)

    def _rest(self, momenta: Momenta, present: Tensor | None) -> tuple[bool, float | Tensor | None]:
        """Return ``is_idle`` and ``lost`` of a step."""
        each = momenta.values() if isinstance(momenta, Mapping) else (momenta,)
        is_idle, was_idle = self._rests and 0.0 in each, self._was_idle
        # A parameter that does not take this step comes back to its buffer later.
        self._was_idle = is_idle or (was_idle and present is not None)
        if not (is_idle or was_idle):
            return False, None
        state = self._optimizer.state
        lost = {
            p: float(state.get(p, {}).get("momentum_buffer") is None)
            for p in self._reader.parameters
        }
        return is_idle, self._coordinates.spread(lost)

    @torch.no_grad()
    def _on(self, step: _Step) -> list[float]:
        """Do a step on the host, where a number can be read without waiting."""
        gradient, present = step.gradient, step.present
        usable = step.usable is None or bool(step.usable)
        if not usable or not math.isfinite(power(gradient)):
            return [float("nan")] * 2
        judge = gradient
        if self._host is not None:
            (judge,) = self._host.whitened(gradient, present)
        products: list[float] = torch.mv(self._filters, judge).tolist()
        self._advance_used(step, gradient, present)
        if present is None:
            torch.add(judge, self._slowed, alpha=self._slow, out=self._slowed)
        else:
            self._slowed.mul_(self._where(present, self._slow)).add_(judge)
        return products

    @torch.no_grad()
    def _beside(self, step: _Step) -> Tensor:
        """Do a step on a device."""
        gradient, present = step.gradient, step.present
        finite = torch.isfinite(torch.dot(gradient, gradient))
        if step.usable is not None:
            finite = finite & step.usable
        clean = torch.where(finite, gradient, 0.0)
        judge = clean
        if self._device is not None:
            judge = self._device.whiten(clean, finite, present)[0][0]
        products = torch.where(finite, torch.mv(self._filters, judge), torch.nan)
        advances = finite if present is None else finite & present
        self._advance_used(step, clean, advances)
        self._slowed.mul_(self._where(advances, self._slow)).add_(judge)
        return products

    def _advance_used(self, step: _Step, fresh: Tensor, advances: Tensor | None) -> None:
        """Let what momentum filters take in a finite gradient, where coordinates advance."""
        pole = step.pole
        if self._averages:
            fresh = fresh * (1.0 - pole)
        if step.lost is not None:
            self._rest_at_zero(step, fresh, advances)
        elif advances is not None:
            self._used.mul_(self._where(advances, pole)).add_(fresh)
        elif isinstance(pole, Tensor):
            self._used.mul_(pole).add_(fresh)
        else:
            torch.add(fresh, self._used, alpha=pole, out=self._used)

    def _rest_at_zero(self, step: _Step, fresh: Tensor, advances: Tensor | None) -> None:
        """Do as torch's SGD where momentum is 0, or was."""
        buffer = self._used if self._buffer is None else self._buffer
        buffer = buffer if step.lost is None else buffer * (1.0 - step.lost)
        pole = torch.as_tensor(step.pole, dtype=buffer.dtype, device=buffer.device)
        moves = pole != 0.0
        after = torch.where(moves, pole * buffer + fresh, buffer)
        update = torch.where(moves, after, fresh)
        if advances is not None:
            after = torch.where(advances, after, buffer)
            update = torch.where(advances, update, self._used)
        self._used.copy_(update)
        self._buffer = after if step.is_idle or step.present is not None else None

    def _follow_beta2(self) -> None:
        """Whiten with the optimizer's present beta2, which may be tuned as well."""
        if self._beta2 is None or not self._reader.parameters:
            return
        first, groups = self._reader.parameters[0], self._optimizer.param_groups
        group = next((g for g in groups if any(p is first for p in g["params"])), groups[0])
        beta2 = group["betas"][1]
        if isinstance(beta2, Tensor) and not beta2.is_cpu:
            # Asking a device would wait for it.
            if self._device is not None:
                self._device.use((beta2,))
        elif float(beta2) != self._beta2:
            self._beta2 = float(beta2)
            if self._host is not None:
                self._host.use((self._beta2,))
            if self._device is not None:
                self._device.use((self._beta2,))

    def _where(self, advances: Tensor, pole: float | Tensor) -> Tensor:
        """Return the poles where coordinates advance, and 1 where they stay, in their dtype."""
        pole = torch.as_tensor(pole, dtype=self._reader.dtype, device=self._reader.device)
        return torch.where(advances, pole, 1.0)

    def _move(self, reader: GradientReader) -> None:
        """Go on with other coordinates: what both readers read stays as it was."""
        state, old, was_idle = self._tensors(), self._reader, self._was_idle
        self._start(reader)
        self._load(carried(state, old, reader))
        self._was_idle = was_idle

    def _tensors(self) -> dict[str, Tensor]:
        whitening = self._host or self._device
        rows = (
            self._filters if self._buffer is None else torch.vstack([self._filters, self._buffer])
        )
        return {"rows": rows} | ({} if whitening is None else whitening.tensors())

    def _load(self, tensors: Mapping[str, Tensor]) -> None:
        rows = tensors["rows"]
        self._filters.copy_(rows[:2])
        self._was_idle = len(rows) > 2
        self._buffer = rows[2].to(self._filters, copy=True) if self._was_idle else None
        if self._host is not None:
            self._host.load(tensors)
        if self._device is not None:
            if tensors["mass"].shape[1] > 1:
                self._device.widen()
            for name, tensor in self._device.tensors().items():
                tensor.copy_(tensors[name])

    def state_dict(self) -> dict[str, Tensor]:
        """Return the filters' tensors, cloned; of what the observer reads now."""
        if self._observer.reader is not self._reader:
            self._move(self._observer.reader)
        return {name: tensor.clone() for name, tensor in self._tensors().items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what ``state_dict`` returned, once the observer has its own state.

        A filter over other coordinates starts anew, as the observer's own do.
        """
        self._start(self._observer.reader)
        mine = {
            name: tensor.shape[-1] for name, tensor in self._tensors().items() if name != "mass"
        }
        if all(name in state and state[name].shape[-1] == size for name, size in mine.items()):
            self._load(state)
