"""Trainable optimizers against Adam on strongly convex problems, equally many runs of tuning each.

Tuned with 20 runs on one order of minibatches, each method's best setting runs on five others.
rho = 1 - area / area of Adam, under the curve of the objective (diverged: ten times its start).
"SGD, EMA" has alpha = 0: what is gained without learning a matrix. Arguments choose data sets.
"""

import sys
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import torch
from sklearn import datasets
from sklearn.preprocessing import scale
from torch import Tensor
from torch.nn.functional import cross_entropy, mse_loss
from torch.optim.lr_scheduler import ExponentialLR

from gap_tune import optim

NAMES = ["breast_cancer", "digits", "wine", "iris", "diabetes"]
METHODS = ["Adam", "SGD, EMA", "DiagonalTO", "FullTO", "RankOneTO"]


def problem(name: str, l2: float) -> Any:
    data, targets = getattr(datasets, f"load_{name}")(return_X_y=True)
    data = np.column_stack([scale(data), np.ones(len(data))])
    inputs, expected = torch.tensor(data / np.sqrt((data**2).sum(1).mean())), torch.tensor(targets)
    fit, outputs = cross_entropy, int(targets.max()) + 1
    if name == "diabetes":
        expected, fit, outputs = torch.tensor(scale(targets))[:, None], mse_loss, 1

    def loss(weights: Tensor, rows: Tensor | slice) -> Tensor:
        return fit(inputs[rows] @ weights, expected[rows]) + l2 / 2 * weights.square().sum()

    return loss, torch.zeros(inputs.shape[1], outputs, dtype=torch.float64), len(inputs)


def area(task: Any, make: Callable[..., Any], seed: int) -> float:
    (loss, start, rows), chance = task, torch.Generator().manual_seed(seed)
    optimizer = make([weights := torch.nn.Parameter(start.clone())])
    scheduler, curve = ExponentialLR(optimizer, 0.1 ** (1 / 300)), []
    for step in range(300):
        if step % 10 == 0:
            curve.append(loss(weights.detach(), slice(None)).item())
        weights.grad = None
        loss(weights, torch.randint(rows, (16,), generator=chance)).backward()
        optimizer.step()
        scheduler.step()
    return float(np.fmin(curve, 10 * curve[0]).mean())


def grid(method: str) -> Iterator[Callable[..., Any]]:
    rates = np.geomspace(0.1, 30, 5)
    if method == "Adam":
        for lr, *pair in product(np.geomspace(0.01, 1, 5), (0.5, 0.9), (0.99, 0.999)):
            yield partial(torch.optim.Adam, lr=lr, betas=tuple(pair))
    elif method == "SGD, EMA":
        for lr, beta in product(rates, (1, 0.5, 0.2, 0.1)):
            yield partial(optim.DiagonalTO, lr=lr, alpha=0.0, beta=beta)
    else:
        for lr, alpha, beta in product(rates, (0.001, 0.01), (1, 0.5)):
            yield partial(getattr(optim, method), lr=lr, alpha=alpha, beta=beta)


if __name__ == "__main__":
    torch.set_num_threads(1)  # the matrices are small
    print(f"{'rho':20}" + "".join(f"{method:>17}" for method in METHODS[1:]))
    for l2, name in product((1e-2, 1e-4), sys.argv[1:] or NAMES):
        task, areas = problem(name, l2), {}
        for method in METHODS:
            best = min(grid(method), key=partial(area, task, seed=0))
            areas[method] = np.array([area(task, best, seed) for seed in range(1, 6)])
        gains = [1 - areas[method] / areas["Adam"] for method in METHODS[1:]]
        cells = [f"{gain.mean():+9.1%} +-{gain.std(ddof=1):5.1%}" for gain in gains]
        print(f"{name:14} {l2:<5g}" + "".join(cells), flush=True)
