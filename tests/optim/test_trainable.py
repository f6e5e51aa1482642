"""FullTO, DiagonalTO and RankOneTO against slow loops, SGD, averages and their stability."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from gap_tune.optim.trainable import DiagonalTO, FullTO, RankOneTO
from tests.optim.stepping import equal, joined, set_gradients, tensors

KINDS = (FullTO, DiagonalTO, RankOneTO)


kinds = pytest.mark.parametrize("kind", KINDS)


class Oracle:
    """The update equations, one number at a time, on one vector."""

    def __init__(self, kind: type, weights: np.ndarray) -> None:
        self.kind, self.weights, self.steps = kind, weights.astype(float), 0
        self.matrix = np.zeros((len(weights), len(weights)))
        self.offset = np.zeros(len(weights))
        self.left = self.right = np.zeros(0)

    def model(self) -> np.ndarray:
        estimate = self.offset.copy()
        for i in range(len(estimate)):
            for j in range(len(estimate)):
                estimate[i] += self.matrix[i, j] * self.weights[j]
        return estimate

    def step(
        self,
        gradient: np.ndarray,
        lr: float = 0.1,
        alpha: float = 0.01,
        beta: float = 1.0,
        alpha_decay: float = 1.0,
        beta_decay: float = 1.0,
        weight_decay: float = 0.0,
        maximize: bool = False,
        present: np.ndarray | None = None,
    ) -> None:
        d = len(self.weights)
        present = np.ones(d, bool) if present is None else present
        alpha, beta = alpha * alpha_decay**self.steps, beta * beta_decay**self.steps
        gradient = (-gradient if maximize else gradient) + weight_decay * self.weights
        if self.kind is RankOneTO and not len(self.left):
            start = np.where(present, gradient, 0.0)
            self.left, self.right = start / np.linalg.norm(start), np.zeros(d)
        error = np.where(present, gradient - self.model(), 0.0)
        if self.kind is RankOneTO:
            left = self.left + alpha * (self.right @ self.weights) * error
            self.right = self.right + alpha * (self.left @ error) * self.weights
            self.left = left
            self.matrix = np.outer(self.left, self.right)
        for i in range(d):
            for j in range(d):
                if self.kind is FullTO or (self.kind is DiagonalTO and i == j):
                    self.matrix[i, j] += alpha * error[i] * self.weights[j]
            self.offset[i] += beta * error[i]
        self.weights = self.weights - lr * np.where(present, self.model(), 0.0)
        self.steps += 1


@kinds
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"alpha": 0.05, "beta": 0.3, "alpha_decay": 0.9, "beta_decay": 0.95},
        {"alpha": 0.02, "beta": 0.0, "weight_decay": 0.1, "maximize": True},
    ],
)
def test_steps_follow_the_slow_loop(kind: type, options: dict[str, Any]) -> None:
    params = tensors()
    oracle = Oracle(kind, joined(params))
    optimizer = kind(params, lr=0.1, **options)
    for step in range(12):
        set_gradients(params, step)
        oracle.step(joined([p.grad for p in params]), **options)
        optimizer.step()
        np.testing.assert_allclose(joined(params), oracle.weights, rtol=1e-10, atol=1e-12)


@kinds
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("options", [{}, {"weight_decay": 0.1, "maximize": True}])
def test_without_matrix_and_with_beta_one_it_is_sgd_bit_for_bit(
    kind: type, dtype: torch.dtype, options: dict[str, Any]
) -> None:
    params, twins = tensors(dtype=dtype), tensors(dtype=dtype)
    optimizer = kind(params, lr=0.1, alpha=0.0, beta=1.0, **options)
    sgd = torch.optim.SGD(twins, lr=0.1, **options)
    for step in range(10):
        set_gradients(params, step)
        set_gradients(twins, step)
        optimizer.step()
        sgd.step()
        assert equal(params, twins)


@kinds
def test_without_matrix_and_with_beta_below_one_it_is_an_exponential_moving_average(
    kind: type,
) -> None:
    params = tensors()
    optimizer = kind(params, lr=0.1, alpha=0.0, beta=0.25)
    weights, average = joined(params), np.zeros(11)
    for step in range(10):
        set_gradients(params, step)
        average = 0.75 * average + 0.25 * joined([p.grad for p in params])
        weights = weights - 0.1 * average
        optimizer.step()
        np.testing.assert_allclose(joined(params), weights, rtol=1e-12)


@kinds
def test_residual_shrinks_by_the_stated_factor(kind: type) -> None:
    weight = torch.nn.Parameter(torch.tensor([3.0], dtype=torch.float64))
    optimizer = kind([weight], lr=0.0, alpha=0.02, beta=0.4)
    residuals = []
    for _ in range(3):
        weight.grad = torch.tensor([5.0], dtype=torch.float64)
        optimizer.step()
        state = optimizer.state[weight]
        slope = state.get("slope", state.get("matrix", torch.zeros(1)))
        if kind is RankOneTO:
            slope = state["left"] * state["right"]
        residuals.append(5.0 - (slope.reshape(-1) * weight + state["offset"]).item())
    factor = 1 - 0.4 - 0.02 * 9
    assert residuals[0] == pytest.approx(factor * 5)
    if kind is not RankOneTO:  # whose factor moves as a and c grow
        assert residuals[2] == pytest.approx(factor**3 * 5)


@kinds
def test_model_diverges_beyond_the_stated_stability_limit(kind: type) -> None:
    def largest_offset(alpha: float) -> float:
        weight = torch.nn.Parameter(torch.tensor([10.0], dtype=torch.float64))
        optimizer = kind([weight], lr=0.0, alpha=alpha, beta=1.0)
        for _ in range(60):
            weight.grad = torch.ones_like(weight)
            optimizer.step()
        return optimizer.state[weight]["offset"].abs().max().item()

    assert largest_offset(0.009) < 10
    assert not largest_offset(0.011 if kind is not RankOneTO else 0.03) < 10


@kinds
def test_model_becomes_exact_on_a_linear_gradient(kind: type) -> None:
    """Gradients h (w - w*) of one coordinate lie in the model: its error vanishes."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
    optimizer = kind([weight], lr=0.0, alpha=0.1, beta=0.2)
    for _ in range(3000):
        with torch.no_grad():
            weight.copy_(torch.randn(1, generator=generator, dtype=torch.float64))
        weight.grad = 2.0 * (weight.detach() - 0.5)
        optimizer.step()
    state = optimizer.state[weight]
    slope = (
        state["left"] * state["right"]
        if kind is RankOneTO
        else state["matrix" if kind is FullTO else "slope"]
    )
    assert slope.item() == pytest.approx(2.0, abs=1e-6)
    assert state["offset"].item() == pytest.approx(-1.0, abs=1e-6)


@kinds
def test_parameter_without_gradient_stays_and_the_others_follow_the_slow_loop(kind: type) -> None:
    params = tensors()
    oracle = Oracle(kind, joined(params))
    optimizer = kind(params, lr=0.1, alpha=0.03, beta=0.5)
    for step in range(8):
        set_gradients(params, step)
        present = np.ones(11, bool)
        if step % 2:
            present[:6] = False
        oracle.step(joined([p.grad for p in params]), alpha=0.03, beta=0.5, present=present)
        if step % 2:
            params[0].grad = None
        optimizer.step()
        np.testing.assert_allclose(joined(params), oracle.weights, rtol=1e-10, atol=1e-12)


def test_rank_one_per_tensor_equals_one_optimizer_per_tensor() -> None:
    params, twins = tensors(), tensors()
    optimizer = RankOneTO(params, lr=0.1, alpha=0.05, per_tensor=True)
    others = [RankOneTO([twin], lr=0.1, alpha=0.05) for twin in twins]
    for step in range(6):
        set_gradients(params, step)
        set_gradients(twins, step)
        optimizer.step()
        for other in others:
            other.step()
    assert equal(params, twins)


def test_rank_one_leaves_its_saddle_when_weights_start_at_zero() -> None:
    weight = torch.nn.Parameter(torch.zeros(3))
    optimizer = RankOneTO([weight], lr=0.1, alpha=0.1, beta=0.5)
    for _ in range(3):
        weight.grad = torch.tensor([1.0, -2.0, 0.5])
        optimizer.step()
    state = optimizer.state[weight]
    assert torch.outer(state["left"], state["right"]).abs().max() > 1e-3


def test_rank_one_leaves_its_saddle_when_the_first_gradient_is_zero() -> None:
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = RankOneTO([weight], lr=0.1, alpha=0.1, beta=0.5)
    for size in (0.0, 1.0, 1.0):
        weight.grad = torch.full((3,), size)
        optimizer.step()
    state = optimizer.state[weight]
    assert torch.outer(state["left"], state["right"]).abs().max() > 1e-3
    assert torch.isfinite(weight).all()


def test_diagonal_steps_tensors_together_as_one_by_one() -> None:
    """Accelerators take all tensors in one batch, the CPU one by one."""

    class Elsewhere(torch.Tensor):
        device = torch.device("meta")  # type: ignore[assignment]

    alone = tensors()
    together = [torch.nn.Parameter(p.detach().clone().as_subclass(Elsewhere)) for p in alone]
    optimizers = [DiagonalTO(each, lr=0.2, alpha=0.1, beta=0.7) for each in (together, alone)]
    for step in range(3):
        for optimizer, params in zip(optimizers, (together, alone), strict=True):
            set_gradients(params, step)
            optimizer.step()
    assert equal(together, alone)
    for first, second in zip(together, alone, strict=True):
        ours, theirs = (o.state[p] for o, p in zip(optimizers, (first, second), strict=True))
        assert all(torch.equal(ours[name], theirs[name]) for name in ("slope", "offset"))
