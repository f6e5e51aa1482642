"""Which budget suits a loss: every budget at its best setting, from the same starts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product

import torch
from torch import Tensor

from gap_tune.errors import InvalidValueError, check_count, check_range
from gap_tune.optim.budgeted.base import BudgetedOptimizer
from gap_tune.optim.budgeted.data_metric import DataMetricOptimizer
from gap_tune.optim.budgeted.diagonal import DiagonalOptimizer
from gap_tune.optim.budgeted.frobenius import FrobeniusOptimizer
from gap_tune.optim.budgeted.operators import (
    data_metric_operators,
    diagonal_operators,
    frobenius_operators,
    spectral_operators,
)
from gap_tune.optim.budgeted.spectral import SpectralOptimizer

Loss = Callable[[Tensor], Tensor]
Maker = Callable[[list[Tensor]], BudgetedOptimizer]

SCALES = torch.logspace(-4, 1, 61, dtype=torch.float64)
# The spectral budget has tau over lam, from one direction's worth to two.
_RATIOS = (1.0, 1.25, 1.5, 2.0)
# Runs that diverge stay at the edge of a large box, finite and far from any minimum.
_BOX = 1e3
# What a plot of a run can tell apart.
_FLOOR, _CEILING = 1e-9, 1e3


@dataclass(frozen=True)
class BestSetting:
    """A budget's best setting on a loss.

    Attributes:
        score: log10 of the loss over the loss at the start, mean over steps and starts; lower is
            better.
        make: Returns the optimizer of that setting for a list with one parameter.
    """

    score: float
    make: Maker


@dataclass(frozen=True)
class _Form:
    """A budget: its operator at unit scale for a moment (n, n), its optimizer at any scale."""

    budget: str
    operator: Callable[[Tensor], Tensor]
    optimizer: Callable[..., BudgetedOptimizer]


def best_settings(
    loss: Loss,
    starts: Tensor,
    *,
    steps: int = 60,
    decays: Sequence[float] = (0.0, 0.5, 0.9),
    scales: Tensor = SCALES,
) -> dict[str, BestSetting]:
    """Return each budget's best setting, one for all starts, by budget.

    A setting is a scale (the largest learning rate), a decay and, for the spectral budget, a rank.
    All scales and starts run at once, with the operators that the optimizers apply.

    Args:
        loss: Of points (..., n), shape (...); differentiable.
        starts: Points (k, n), float64.
        steps: Length of a run.
        decays: Of the running moment, each in [0, 1). The default is from no memory to ten steps.
        scales: Learning rates to try, float64. The default is 61 of them, from 1e-4 to 10.

    Raises:
        InvalidValueError: When the starts are no matrix, or ``steps`` or a decay is out of range.

    Source: Figure 2 of "Optimizing Optimizers for Fast Gradient-Based Learning" (arXiv 2512.06370).

    >>> starts = torch.tensor([[1.0, 1.0], [-1.0, 2.0]], dtype=torch.float64)
    >>> found = best_settings(lambda w: w.square().sum(-1) / 2, starts, steps=3)
    >>> round(min(found.values(), key=lambda best: best.score).make([starts]).defaults["B"], 3)
    1.0
    """
    if starts.dim() != 2:
        raise InvalidValueError(
            f"starts must be a matrix, but got the shape {tuple(starts.shape)}."
        )
    check_count("steps", steps)
    best: dict[str, BestSetting] = {}
    for form, decay in product(_forms(), decays):
        check_range("decay", decay, 0.0, 1.0, high_open=True)
        curves = _all_scales(loss, starts, form.operator, decay, steps, scales)
        scores = relative(curves).log10().mean((0, 2))
        score, scale = float(scores.min()), float(scales[scores.argmin()])
        if form.budget not in best or score < best[form.budget].score:
            make = partial(form.optimizer, scale=scale, decay=decay)
            best[form.budget] = BestSetting(score, make)
    return best


def losses_from(loss: Loss, starts: Tensor, make: Maker, *, steps: int = 60) -> Tensor:
    """Return the losses of an optimizer from every start, shape (steps + 1, starts).

    >>> start = torch.tensor([[2.0]], dtype=torch.float64)
    >>> make = lambda parameters: FrobeniusOptimizer(parameters, 0.25)
    >>> losses_from(lambda w: w.square().sum(-1) / 2, start, make, steps=2).flatten().tolist()
    [2.0, 0.5, 0.125]
    """
    curves = []
    for start in starts:
        w = torch.nn.Parameter(start.clone())
        optimizer = make([w])
        curve = [loss(w.detach())]
        for _ in range(steps):
            w.grad = gradient(loss, w)
            optimizer.step()
            curve.append(loss(w.detach()))
        curves.append(torch.stack(curve))
    return torch.stack(curves, 1)


def relative(curves: Tensor) -> Tensor:
    """Return losses over those at the start, clamped to what a plot can show."""
    return (curves / curves[0]).nan_to_num(_CEILING).clamp(_FLOOR, _CEILING)


def gradient(loss: Loss, w: Tensor) -> Tensor:
    """Return the gradient at every point, of the shape of the points."""
    w = w.detach().requires_grad_()
    return torch.autograd.grad(loss(w).sum(), w)[0]


def _forms() -> Iterator[_Form]:
    def spectral(ratio: float) -> _Form:
        return _Form(
            "spectral",
            lambda M: spectral_operators([M], ratio, 1.0)[0],
            lambda p, scale, decay: SpectralOptimizer(p, ratio * scale, scale, decay=decay),
        )

    yield _Form(
        "Frobenius",
        lambda M: frobenius_operators([M], 1.0)[0],
        lambda p, scale, decay: FrobeniusOptimizer(p, scale**2, decay=decay),
    )
    yield from map(spectral, _RATIOS)
    yield _Form(
        "data-metric",
        lambda M: torch.diag(data_metric_operators([M.diagonal()], 1.0)[0]),
        lambda p, scale, decay: DataMetricOptimizer(p, scale**2, decay=decay),
    )
    yield _Form(
        "diagonal",
        lambda M: torch.diag(diagonal_operators([M.diagonal()], 1.0, [None])[0]),
        lambda p, scale, decay: DiagonalOptimizer(p, scale**2, decay=decay),
    )


def _all_scales(
    loss: Loss,
    starts: Tensor,
    operator: Callable[[Tensor], Tensor],
    decay: float,
    steps: int,
    scales: Tensor,
) -> Tensor:
    """Return the losses of all scales and starts, shape (steps + 1, scales, starts)."""
    count, dimension = starts.shape
    w = starts.expand(len(scales), count, dimension).reshape(-1, dimension)
    rates = scales.repeat_interleave(count)[:, None]
    moment = torch.zeros(len(w), dimension, dimension, dtype=w.dtype)
    operators = torch.func.vmap(operator)
    curve = [loss(w)]
    for step in range(1, steps + 1):
        g = gradient(loss, w)
        share = (1 - decay) / (1 - decay**step)
        moment = moment.lerp(g[:, :, None] * g[:, None, :], share)
        w = w - rates * torch.einsum("nij,nj->ni", operators(moment), g)
        w = w.clamp(-_BOX, _BOX)
        curve.append(loss(w))
    return torch.stack(curve).reshape(steps + 1, len(scales), count)
