"""Gradients that agree and oppose, and the scale of the trust region by hand."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from gap_tune import TrustRegion, optim

Params = list[torch.nn.Parameter]
ON = {"sample": None, "trust_region": TrustRegion()}


def parameters(seed: int = 0) -> Params:
    generator = torch.Generator().manual_seed(seed)
    shapes = ((3,), (2, 2), (5,))
    return [torch.nn.Parameter(torch.randn(s, generator=generator)) for s in shapes]


def gradients(step: int, params: Params) -> list[Tensor]:
    """Gradients that agree for twenty steps, and then oppose those before."""

    def noise(of: int) -> list[Tensor]:
        generator = torch.Generator().manual_seed(1000 + of)
        return [torch.randn(p.shape, generator=generator) for p in params]

    if step < 20:
        return [1.0 + 0.3 * fresh for fresh in noise(step)]
    return [10.0 * (new - old) for new, old in zip(noise(step), noise(step - 1), strict=True)]


def train(
    optimizer: torch.optim.Optimizer, params: Params, steps: range, factor: float = 1.0
) -> None:
    for step in steps:
        for parameter, gradient in zip(params, gradients(step, params), strict=True):
            parameter.grad = factor * gradient
        optimizer.step()


class Hand:
    """The control by hand, over all coordinates and the whole history: docs/design.md's formulas.

    Args:
        momenta: What each parameter trains with.
        beta2: Adam's, which whitens; None for SGD.
    """

    def __init__(self, momenta: list[float], beta2: float | None = None) -> None:
        self.momenta, self.beta2, self.region = momenta, beta2, TrustRegion()
        self.used: dict[int, Tensor] = {}
        self.slow: dict[int, Tensor] = {}
        self.moments: dict[int, Tensor] = {}
        self.steps: dict[int, int] = {}
        self.products: list[tuple[float, float]] = []

    def step(self, gradients: list[Tensor | None]) -> float:
        """Take in a step's gradients, None where a parameter has none; return the scale."""
        products = [0.0, 0.0]
        for i, gradient in enumerate(gradients):
            if gradient is None:
                continue
            fresh = gradient.double()
            judge = fresh
            if self.beta2 is not None:
                steps = self.steps[i] = self.steps.get(i, 0) + 1
                moment = self.moments.get(i, torch.zeros_like(fresh))
                moment = self.moments[i] = self.beta2 * moment + (1 - self.beta2) * fresh**2
                judge = fresh / ((moment / (1 - self.beta2**steps)).sqrt() + 1e-8)
            for place, buffers in enumerate((self.used, self.slow)):
                before = buffers.get(i, torch.zeros_like(fresh))
                products[place] += float((judge * before).sum())
                pole = self.region.slow if place else self.momenta[i]
                averaged = fresh if self.beta2 is None else (1 - pole) * fresh
                buffers[i] = pole * before + (judge if place else averaged)
        self.products.append((products[0], products[1]))
        return self.scale()

    def scale(self) -> float:
        region, log_scale = self.region, math.log(self.region.start)
        for t in range(len(self.products)):
            z, slow = (self.agreement(t, place) for place in (0, 1))
            gain = region.gain + (region.start_gain - region.gain) * math.exp(
                -t / region.start_steps
            )
            fading = min(1.0, region.fade_steps / t) if t else 1.0
            growing = min(1.0, region.growth_steps / t) ** 2 if t else 1.0
            drawn = gain * fading * region.pull * log_scale
            if z > 0 and slow >= 0:
                log_scale += gain * growing * z
            elif z < 0 and slow < -region.opposition:
                log_scale += gain * fading * z
            log_scale -= drawn
            log_scale = min(max(log_scale, math.log(region.floor)), math.log(region.span))
        return math.exp(log_scale)

    def agreement(self, t: int, place: int) -> float:
        memory = self.region.slow_memory if place else self.region.memory
        weights = memory ** np.arange(t + 1)[::-1]
        seen = np.array([each[place] for each in self.products[: t + 1]])
        size = np.average(np.abs(seen), weights=weights)
        return float(np.average(seen, weights=weights) / size) if size else 0.0


MAKERS: dict[str, Callable[[Params], torch.optim.Optimizer]] = {
    "sgd": lambda params: optim.SGD(params, lr=0.01, momentum=0.9, **ON),
    "adamw": lambda params: optim.AdamW(params, lr=0.01, **ON),
}
