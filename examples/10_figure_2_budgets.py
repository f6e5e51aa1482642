"""Figure 2 of "Optimizing Optimizers for Fast Gradient-Based Learning": no budget wins everywhere.

(a) On an elliptic loss the operator that the Frobenius budget recommends for the measured moment
lowers the mean loss faster, at every step, than 200 random operators of equal power.
(b) With every budget at its best setting, the Frobenius budget is best on the elliptic loss; the
spectral budget ties with it. (c, d) On nonconvex losses others win: the diagonal budget on
Rosenbrock's function, the data-metric one on Ackley's.

It prints log10 of the loss over the loss at the start, mean over 60 steps and 32 starts: lower is
better. It takes about fifteen seconds on one core.

python examples/10_figure_2_budgets.py [figure_2.html]
"""

import math
import sys

import torch
from plotly.subplots import make_subplots
from torch import Tensor

from gap_tune.optim import FrobeniusOptimizer
from gap_tune.optim.budgeted.comparison import best_settings, gradient, losses_from, relative
from gap_tune.optim.budgeted.operators import frobenius_operators

STEPS, STARTS, RANDOM_OPERATORS, BUDGET = 60, 32, 200, 0.3**2


def elliptic(w: Tensor) -> Tensor:
    return (w[..., 0] ** 2 + w[..., 1] ** 2 / 10) / 2


def rosenbrock(w: Tensor) -> Tensor:
    x, y = w.unbind(-1)
    return (1 - x) ** 2 + 100 * (y - x**2) ** 2


def ackley(w: Tensor) -> Tensor:
    waves = torch.cos(2 * math.pi * w).mean(-1)
    return 20 - 20 * torch.exp(-0.2 * w.square().mean(-1).sqrt()) + math.e - torch.exp(waves)


def starts_in(x: tuple[float, float], y: tuple[float, float]) -> Tensor:
    (low, high), chance = torch.tensor([x, y]).double().T, torch.Generator().manual_seed(0)
    return low + (high - low) * torch.rand(STARTS, 2, generator=chance, dtype=torch.float64)


LOSSES = {
    "elliptic": (elliptic, starts_in((-2, 2), (-2, 2))),
    "Rosenbrock": (rosenbrock, starts_in((-1.5, -0.9), (0.7, 1.3))),
    "Ackley": (ackley, starts_in((-3, 3), (-3, 3))),
}


def equal_power() -> tuple[Tensor, Tensor]:
    """Mean relative losses on the elliptic loss: the optimum's, and those of random operators."""
    starts, chance = LOSSES["elliptic"][1], torch.Generator().manual_seed(1)
    optimum = losses_from(elliptic, starts, lambda p: FrobeniusOptimizer(p, BUDGET, decay=0.5))
    factors = torch.randn(RANDOM_OPERATORS, 2, 2, generator=chance, dtype=torch.float64)
    operators = torch.stack([frobenius_operators([A @ A.mT], BUDGET)[0] for A in factors])
    points = [starts.expand(RANDOM_OPERATORS, STARTS, 2)]
    for _ in range(STEPS):
        steps = torch.einsum("kij,knj->kni", operators, gradient(elliptic, points[-1]))
        points.append(points[-1] - steps)
    return relative(optimum).mean(1), relative(elliptic(torch.stack(points))).mean(2)


if __name__ == "__main__":
    figure = make_subplots(2, 2, subplot_titles=["elliptic, equal power", *LOSSES])
    best, random = equal_power()
    for line in random.T:
        figure.add_scatter(y=line, line_color="lightgrey", showlegend=False, row=1, col=1)
    figure.add_scatter(y=best, name="Frobenius, equal power", row=1, col=1)
    for panel, (name, (loss, starts)) in enumerate(LOSSES.items(), 1):
        for budget, setting in best_settings(loss, starts).items():
            curve = relative(losses_from(loss, starts, setting.make)).log10().mean(1)
            print(f"{name:11}{budget:12}{curve.mean():8.3f}")
            figure.add_scatter(y=10**curve, name=budget, row=panel // 2 + 1, col=panel % 2 + 1)
    figure.update_yaxes(type="log").write_html(sys.argv[1] if sys.argv[1:] else "figure_2.html")
