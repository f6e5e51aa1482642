"""The steps of the budgeted optimizers against slow loops and what the theory says of them."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch

from gap_tune.optim.budgeted import (
    DataMetricOptimizer,
    DiagonalOptimizer,
    FrobeniusOptimizer,
    SpectralOptimizer,
)
from gap_tune.theory import Budget
from tests.optim.budgeted_cases import (
    Maker,
    block_diagonal,
    data_metric,
    frobenius,
    makers,
    spectral,
    structured,
)
from tests.optim.stepping import equal, joined, run, set_gradients, tensors


class Oracle:
    """The step in NumPy: sums over all past gradients, and the theory's optimum of the moment."""

    def __init__(self, budget: Budget, structure: str, weights: np.ndarray, decay: float) -> None:
        self.budget, self.structure, self.decay = budget, structure, decay
        self.weights, self.seen = weights.astype(float), []
        self.operator = np.zeros((len(weights), len(weights)))

    def moment(self) -> np.ndarray:
        shares = np.array([self.decay**k for k in range(len(self.seen))][::-1])
        shares /= shares.sum()
        d = len(self.weights)
        total = np.zeros((d, d))
        for share, gradient in zip(shares, self.seen, strict=True):
            for i in range(d):
                for j in range(d):
                    total[i, j] += share * gradient[i] * gradient[j]
        if self.structure == "diagonal":
            return np.diag(total.diagonal())
        if self.structure == "block":
            mask = block_diagonal([np.ones((n, n)) for n in (6, 1, 4)])
            return total * mask
        return total

    def step(self, gradient: np.ndarray, refresh: bool, lr: float) -> None:
        self.seen.append(gradient)
        if refresh:
            moment = self.moment()
            # The theory is free to spend on directions without power; the optimizer must not.
            shown = np.linalg.pinv(moment, rcond=1e-10) @ moment
            self.operator = self.budget.optimum(moment).operator @ shown
        self.weights = self.weights - lr * self.operator @ gradient


@structured
@pytest.mark.parametrize("update_every", [1, 3])
def test_steps_follow_the_slow_loop(
    make: Maker, budget: Budget, structure: str, update_every: int
) -> None:
    params = tensors()
    optimizer = make(
        params, structure=structure, lr=0.5, decay=0.8, update_every=update_every, weight_decay=0.1
    )
    oracle = Oracle(budget, structure, joined(params), decay=0.8)
    for step in range(14):
        set_gradients(params, step)
        gradient = joined([p.grad for p in params]) + 0.1 * oracle.weights
        oracle.step(gradient, refresh=step % update_every == 0, lr=0.5)
        optimizer.step()
        np.testing.assert_allclose(joined(params), oracle.weights, rtol=1e-8, atol=1e-10)


def test_first_steps_are_those_of_the_rank_one_moment() -> None:
    """With one gradient seen: sqrt(B) g, min(lam, tau) g, and a step of length sqrt(B)."""
    for make, length in ((frobenius, math.sqrt(0.3) * 5), (spectral, 0.5), (data_metric, 0.3**0.5)):
        weight = torch.nn.Parameter(torch.zeros(2, dtype=torch.float64))
        weight.grad = torch.tensor([3.0, -4.0], dtype=torch.float64)
        make([weight]).step()
        np.testing.assert_allclose(weight.detach(), np.array([-0.6, 0.8]) * length, rtol=1e-12)


def test_white_gradients_move_at_the_rate_of_sgd() -> None:
    """Corollary 2 for M = sigma^2 I: Q* = sqrt(B / d) I for the Frobenius and diagonal budgets."""
    generator = torch.Generator().manual_seed(0)
    for make in (FrobeniusOptimizer, DiagonalOptimizer):
        weight = torch.nn.Parameter(torch.zeros(4, dtype=torch.float64))
        optimizer = make([weight], B=1.0, decay=0.9999)
        for _ in range(4000):
            weight.grad = torch.randn(4, generator=generator, dtype=torch.float64)
            optimizer.step()
        operator = optimizer.state[weight]["operator"]
        operator = torch.diag(operator) if operator.ndim == 1 else operator
        np.testing.assert_allclose(operator, 0.5 * np.eye(4), atol=0.04)


def test_generous_spectral_budget_is_sgd() -> None:
    params, twins = tensors(), tensors()
    optimizer = SpectralOptimizer(params, tau=2.0, lam=0.1, structure="diagonal")
    sgd = torch.optim.SGD(twins, lr=0.1)
    for step in range(5):
        set_gradients(params, step)
        set_gradients(twins, step)
        optimizer.step()
        sgd.step()
    np.testing.assert_allclose(joined(params), joined(twins), rtol=1e-12)


def test_data_metric_steps_do_not_depend_on_the_structure() -> None:
    """The range of the moment contains every gradient in it, so the projector changes nothing."""
    runs = []
    for structure in ("full", "block", "diagonal"):
        params = tensors()
        run(DataMetricOptimizer(params, B=0.3, structure=structure), params, range(6))
        runs.append(joined(params))
    np.testing.assert_allclose(runs[0], runs[2], rtol=1e-9)
    np.testing.assert_allclose(runs[1], runs[2], rtol=1e-9)


def test_stale_data_metric_operator_leaves_out_unseen_directions() -> None:
    weight = torch.nn.Parameter(torch.zeros(2))
    optimizer = DataMetricOptimizer([weight], B=1.0, structure="full", update_every=2)
    for gradient in ([1.0, 0.0], [0.0, 1.0]):
        weight.grad = torch.tensor(gradient)
        optimizer.step()
    assert weight.tolist() == [-1.0, 0.0]


def test_large_tensors_of_the_block_structure_become_diagonal() -> None:
    params = tensors()
    optimizer = frobenius(params, structure="block", max_dimension=4)
    run(optimizer, params, range(2))
    shapes = [tuple(optimizer.state[parameter]["moment"].shape) for parameter in params]
    assert shapes == [(6,), (1, 1), (4, 4)]


@structured
def test_parameter_without_gradient_stays_and_takes_no_budget(
    make: Maker, budget: Budget, structure: str
) -> None:
    params = tensors()
    optimizer = make(params, structure=structure)
    before = params[0].detach().clone()
    set_gradients(params, 0)
    params[0].grad = None
    optimizer.step()
    assert torch.equal(params[0], before)
    set_gradients(params, 1)
    optimizer.step()
    assert not torch.equal(params[0], before)
    assert all(torch.isfinite(parameter).all() for parameter in params)


@makers
@pytest.mark.parametrize("size", [0.0, 1e-22, 1e-20, 1e-15])
def test_zero_and_tiny_gradients_stay_finite(make: Maker, size: float) -> None:
    params = tensors(dtype=torch.float32)
    before = copy.deepcopy(params)
    optimizer = make(params, lr=1e12)
    for _ in range(2):
        for parameter in params:
            parameter.grad = torch.full_like(parameter, size)
        optimizer.step()
    assert all(torch.isfinite(parameter).all() for parameter in params)
    if size in (0.0, 1e-15):  # in between, squares of single precision may underflow
        assert equal(params, before) == (size == 0.0)
