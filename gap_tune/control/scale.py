"""ScaleControl: moves the scale of the trust region with the agreement, at every step."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist

from gap_tune.control.agreement import Agreement
from gap_tune.control.late import LateValues
from gap_tune.control.trust_region import TrustRegion
from gap_tune.gradients.banks.whitening import wide_dtype
from gap_tune.gradients.observer import GradientObserver
from gap_tune.gradients.used_filter import Momenta, UsedFilter

# A device's products arrive so many steps late, which was measured to be as good.
LATE_STEPS = 3


class ScaleControl:
    """Follows the agreement of an optimizer's steps, and says by what to multiply learning rates.

    Args:
        region: How the scale follows it.
        observers: What reads the optimizer's gradients; several read different parameters.
        optimizer: The optimizer; where its groups hold ``betas`` and ``eps``, as Adam's, products
            are whitened.
        measures: Whether to measure the agreement also where ``region`` is off.

    Attributes:
        region: The settings.
        is_active: Whether it looks at gradients at all.
        steps: Steps whose agreement counted.
    """

    def __init__(
        self,
        region: TrustRegion,
        observers: Sequence[GradientObserver],
        optimizer: torch.optim.Optimizer,
        *,
        measures: bool = False,
    ) -> None:
        self.region = region
        self.is_active = region.is_on or measures
        self.steps = 0
        self._log_scale = region.first if region.is_on else 0.0
        self._agreement = Agreement(region.memory)
        self._filters: list[UsedFilter] = []
        self.observe(observers, optimizer)
        self._late: LateValues | None = None

    def observe(
        self, observers: Sequence[GradientObserver], optimizer: torch.optim.Optimizer
    ) -> None:
        """Look at other observers from now on, whose gradients start anew."""
        if not self.is_active:
            return
        beta2, eps = _whitening(optimizer)
        self._observers = list(observers)
        self._filters = [UsedFilter(observer, beta2, eps) for observer in observers]

    @property
    def scale(self) -> float:
        """The factor on the learning rate of the coming step; 1 where the region is off."""
        return math.exp(self._log_scale)

    @property
    def agreement(self) -> float | None:
        """``z``, in [-1, 1]; None where nobody measures it."""
        return self._agreement.value if self.is_active else None

    def follow(self, momenta: Momenta) -> None:
        """Take in the gradients that the observers have just read.

        Args:
            momenta: What the step trains with: one momentum for all parameters, or each one's.
        """
        if not self.is_active:
            return
        product = self._product(momenta)
        if product is None:
            return
        if self._late is None:
            self._late = LateValues(LATE_STEPS if isinstance(product, Tensor) else 0)
        arrived = self._late.exchange(product)
        if arrived is not None and self._agreement.take_in(arrived):
            if self.region.is_on:
                self._log_scale = self.region.moved(
                    self._log_scale, agreement=self._agreement.value, steps=self.steps
                )
            self.steps += 1

    def _product(self, momenta: Momenta) -> Tensor | float | None:
        """Return the product of a step over all parameters and ranks; None without a step."""
        products = [each.product(momenta) for each in self._filters]
        found = [product for product in products if product is not None]
        shared = next((o for o in self._observers if o.is_shared), None)
        if shared is None:
            return sum(found[1:], start=found[0]) if found else None
        device = shared.reader.device
        wide = wide_dtype(device)
        parts = [torch.as_tensor(x, dtype=wide, device=device).reshape(1) for x in found]
        total = sum(parts, start=torch.zeros(1, dtype=wide, device=device))
        dist.all_reduce(total, group=shared.process_group)
        return float(total) if device.type == "cpu" else total

    def state_dict(self) -> dict[str, Any]:
        """Return what continuing needs; {} where nothing is measured."""
        if not self.is_active:
            return {}
        return {
            "log_scale": self._log_scale,
            "steps": self.steps,
            "agreement": self._agreement.state_dict(),
            "late": [] if self._late is None else self._late.state_dict(),
            "filters": [each.state_dict() for each in self._filters],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what ``state_dict`` returned, once the observers have their states.

        Without any, of a run whose region was off, the scale starts as of a new run.
        """
        if not self.is_active:
            return
        if self.region.is_on:
            self._log_scale = self.region.clipped(state.get("log_scale", self.region.first))
        self.steps = state.get("steps", 0)
        self._agreement = Agreement(self.region.memory)
        if "agreement" in state:
            self._agreement.load_state_dict(state["agreement"])
        self._late = None
        if state.get("late"):
            self._late = LateValues(LATE_STEPS)
            self._late.load_state_dict(state["late"])
        saved = state.get("filters", [])
        for i, each in enumerate(self._filters):
            each.load_state_dict(saved[i] if len(saved) == len(self._filters) else {})


def _whitening(optimizer: torch.optim.Optimizer) -> tuple[float | None, float]:
    """Return beta2 and epsilon of an optimizer that divides by ``sqrt(v)``; None, 0 of others."""
    group = optimizer.param_groups[0]
    if "betas" not in group or "eps" not in group:
        return None, 0.0
    return float(group["betas"][1]), float(group["eps"])
