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
        self._slow = Agreement(region.slow_memory)
        self._filters: list[UsedFilter] = []
        self.observe(observers, optimizer)
        self._late: LateValues | None = None

    def observe(
        self, observers: Sequence[GradientObserver], optimizer: torch.optim.Optimizer
    ) -> None:
        """Look at other observers from now on, whose gradients start anew."""
        if not self.is_active:
            return
        self._observers = list(observers)
        self._filters = [UsedFilter(each, optimizer, self.region.slow) for each in observers]

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
        products = self._products(momenta)
        if products is None:
            return
        arrived = self._arrived(products)
        if arrived is None or not self._take_in(*arrived):
            return
        if self.region.is_on:
            self._log_scale = self.region.moved(
                self._log_scale,
                agreement=self._agreement.value,
                slow_agreement=self._slow.value,
                steps=self.steps,
            )
        self.steps += 1

    def _arrived(self, products: Tensor | list[float]) -> list[float] | None:
        """Return the products to follow now: on a device those of some steps ago."""
        if self._late is None:
            if not isinstance(products, Tensor):
                return products
            self._late = LateValues(LATE_STEPS)
        return self._late.exchange(products)

    def _take_in(self, product: float, slow: float) -> bool:
        # Both or none: a gradient that spoils one product spoils the other.
        if not math.isfinite(product * product) or not math.isfinite(slow * slow):
            return False
        return self._agreement.take_in(product) and self._slow.take_in(slow)

    def _products(self, momenta: Momenta) -> Tensor | list[float] | None:
        """Return the products of a step over all parameters and ranks; None without a step."""
        found = [p for each in self._filters if (p := each.products(momenta)) is not None]
        shared = next((o for o in self._observers if o.is_shared), None)
        if shared is None:
            return _added(found) if found else None
        device = shared.reader.device
        wide = wide_dtype(device)
        own = [torch.as_tensor(products, dtype=wide, device=device) for products in found]
        total = torch.stack([torch.zeros(2, dtype=wide, device=device), *own]).sum(0)
        dist.all_reduce(total, group=shared.process_group)
        return total.tolist() if device.type == "cpu" else total

    def state_dict(self) -> dict[str, Any]:
        """Return what continuing needs; {} where nothing is measured."""
        if not self.is_active:
            return {}
        # Whoever continues tells by its presence whether there was a region.
        moved = {"log_scale": self._log_scale} if self.region.is_on else {}
        return {
            **moved,
            "steps": self.steps,
            "agreement": self._agreement.state_dict(),
            "slow": self._slow.state_dict(),
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
        self._slow = Agreement(self.region.slow_memory)
        if "agreement" in state:
            self._agreement.load_state_dict(state["agreement"])
            self._slow.load_state_dict(state["slow"])
        self._late = None
        if state.get("late"):
            self._late = LateValues(LATE_STEPS)
            self._late.load_state_dict(state["late"])
        saved = state.get("filters", [])
        for i, each in enumerate(self._filters):
            each.load_state_dict(saved[i] if len(saved) == len(self._filters) else {})


def _added(products: list[list[float] | Tensor]) -> list[float] | Tensor:
    """Return the sums over observers: numbers where all of them are."""
    numbers = [each for each in products if not isinstance(each, Tensor)]
    if len(numbers) == len(products):
        return [sum(each) for each in zip(*numbers, strict=True)]
    device = next(each.device for each in products if isinstance(each, Tensor))
    return torch.stack([torch.as_tensor(each).to(device) for each in products]).sum(0)
