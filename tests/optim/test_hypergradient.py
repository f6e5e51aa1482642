"""Hypergradient descent: learning rates against autograd, steps against torch's SGD and AdamW."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from gap_tune.errors import InvalidValueError, StateError, UnsupportedError
from gap_tune.optim import DiagonalTO, HypergradientAdamW, HypergradientSGD
from tests.optim.stepping import run, set_gradients, tensors

OPTIONS = {"lr": 0.05, "momentum": 0.8, "weight_decay": 0.1}


@pytest.mark.parametrize("options", [OPTIONS, {"lr": 0.1}, {**OPTIONS, "maximize": True}], ids=str)
def test_without_a_learning_rate_of_its_own_it_is_torchs_sgd(options: dict[str, Any]) -> None:
    params, twins = tensors(), tensors()
    optimizer = HypergradientSGD(params, hypergrad_lr=0.0, **options)
    plain = torch.optim.SGD(twins, **options)
    for step in range(6):
        for each in (params, twins):
            set_gradients(each, step)
        optimizer.step()
        plain.step()
    for first, second in zip(params, twins, strict=True):
        torch.testing.assert_close(first, second, rtol=1e-12, atol=1e-12)


def loss(weights: list[torch.Tensor]) -> torch.Tensor:
    target = torch.linspace(-1, 1, 6, dtype=torch.float64).reshape(2, 3)
    return (weights[0] - target).pow(4).sum() / 20 + (weights[0].sum() * weights[1]).sin().sum()


@pytest.mark.parametrize("momentum", [0.0, 0.7])
def test_each_groups_learning_rate_descends_along_the_losss_derivative_by_it(
    momentum: float,
) -> None:
    first, second = tensors()[0], tensors()[2]
    params = [first, second]
    optimizer = HypergradientSGD(
        [{"params": [first], "lr": 0.01}, {"params": [second], "lr": 0.02, "hypergrad_lr": 1e-4}],
        lr=0.0,
        momentum=momentum,
        hypergrad_lr=1e-5,
    )
    buffers = [torch.zeros_like(p) for p in params]
    rates = [0.01, 0.02]
    weights = [p.detach().clone() for p in params]
    leaves: list[torch.Tensor] = []
    for _ in range(8):
        optimizer.zero_grad()
        loss(params).backward()  # type: ignore[arg-type]
        optimizer.step()
        if leaves:
            slopes = torch.autograd.grad(loss(weights), leaves)
            pairs = zip(rates, slopes, (1e-5, 1e-4), strict=True)
            rates = [rate - step * slope.item() for rate, slope, step in pairs]
        fixed = [w.detach().requires_grad_() for w in weights]
        gradients = torch.autograd.grad(loss(fixed), fixed)
        buffers = [momentum * b + g for b, g in zip(buffers, gradients, strict=True)]
        leaves = [torch.tensor(rate, dtype=torch.float64, requires_grad=True) for rate in rates]
        # The weights as a function of the learning rates of the last step.
        weights = [
            w.detach() - rate * b for w, rate, b in zip(weights, leaves, buffers, strict=True)
        ]
        assert [g["lr"] for g in optimizer.param_groups] == pytest.approx(rates, rel=1e-10)
    assert rates[0] != pytest.approx(0.01, rel=1e-3)
    for found, expected in zip(params, weights, strict=True):
        torch.testing.assert_close(found.detach(), expected.detach())


def test_the_learning_rate_never_falls_below_zero() -> None:
    weight = torch.nn.Parameter(torch.ones(1))
    optimizer = HypergradientSGD([weight], lr=0.1, hypergrad_lr=1.0)
    rates = []
    for gradient in (1.0, -1.0, -1.0):
        weight.grad = torch.full((1,), gradient)
        optimizer.step()
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates == [0.1, 0.0, 1.0]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_product_that_is_not_finite_leaves_the_learning_rate(value: float) -> None:
    params = tensors()
    optimizer = HypergradientSGD(params, lr=0.1)
    run(optimizer, params, range(2))
    before = optimizer.param_groups[0]["lr"]
    params[0].grad = torch.full_like(params[0], value)
    optimizer.step()
    assert optimizer.param_groups[0]["lr"] == before


def test_a_schedule_multiplies_what_the_rule_made_of_the_learning_rate() -> None:
    params = tensors()
    optimizer = HypergradientSGD(params, lr=0.1, hypergrad_lr=1e-3)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    run(optimizer, params, range(3))
    before = optimizer.param_groups[0]["lr"]
    assert before != 0.1
    schedule.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(before / 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr": -1.0}, "lr must be a number in"),
        ({"hypergrad_lr": math.inf}, "hypergrad_lr must be a number in"),
        ({"momentum": 1.0}, r"momentum must be a number in \[0, 1\), but got 1.0"),
    ],
)
def test_options_out_of_range_are_named(options: dict[str, float], message: str) -> None:
    with pytest.raises(InvalidValueError, match=message):
        HypergradientSGD(tensors(), **{"lr": 0.1, **options})


def test_sparse_gradients_and_states_of_others_are_refused() -> None:
    weight = torch.nn.Parameter(torch.ones(2, 2))
    optimizer = HypergradientSGD([weight], lr=0.1)
    weight.grad = torch.eye(2).to_sparse()
    with pytest.raises(UnsupportedError, match="must be dense"):
        optimizer.step()
    params = tensors()
    other = DiagonalTO(params, lr=0.1)
    run(other, params, range(1))
    with pytest.raises(StateError, match="must hold tensors of shapes"):
        HypergradientSGD(params, lr=0.1).load_state_dict(other.state_dict())


def test_bug_it_goes_on_from_momentum_0_as_a_scheduler_leaves_it() -> None:
    params = tensors()
    optimizer = HypergradientSGD(params, lr=0.1, momentum=0.9)
    for step in range(2):
        set_gradients(params, step)
        optimizer.step()
        for state in optimizer.state.values():
            state["momentum_buffer"] = None
    set_gradients(params, 2)
    optimizer.step()
    assert all(torch.isfinite(p).all() for p in params)


@pytest.mark.parametrize("options", [{}, {"weight_decay": 0.1, "maximize": True}], ids=str)
def test_adamw_without_a_learning_rate_of_its_own_is_torchs(options: dict[str, Any]) -> None:
    params, twins = tensors(), tensors()
    optimizer = HypergradientAdamW(params, lr=0.05, hypergrad_lr=0.0, **options)
    plain = torch.optim.AdamW(twins, lr=0.05, **options)
    for step in range(6):
        for each in (params, twins):
            set_gradients(each, step)
            if step == 2:
                # Each tensor has its own number of steps, by which averages are corrected.
                each[1].grad = None
        optimizer.step()
        plain.step()
    for first, second in zip(params, twins, strict=True):
        torch.testing.assert_close(first, second, rtol=1e-12, atol=1e-12)


def test_each_groups_learning_rate_of_adamw_descends_along_the_losss_derivative_by_it() -> None:
    first, second = tensors()[0], tensors()[2]
    params = [first, second]
    beta1, beta2, eps = 0.8, 0.97, 1e-6
    rates, hyper = [0.01, 0.02], [1e-5, 1e-4]
    optimizer = HypergradientAdamW(
        [
            {"params": [first], "lr": rates[0]},
            {"params": [second], "lr": rates[1], "hypergrad_lr": hyper[1]},
        ],
        betas=(beta1, beta2),
        hypergrad_lr=hyper[0],
        eps=eps,
        weight_decay=0.0,
    )
    means = [torch.zeros_like(p) for p in params]
    squares = [torch.zeros_like(p) for p in params]
    weights = [p.detach().clone() for p in params]
    leaves: list[torch.Tensor] = []
    for count in range(1, 9):
        optimizer.zero_grad()
        loss(params).backward()  # type: ignore[arg-type, no-untyped-call]
        optimizer.step()
        if leaves:
            slopes = torch.autograd.grad(loss(weights), leaves)
            rates = [r - h * s.item() for r, h, s in zip(rates, hyper, slopes, strict=True)]
        fixed = [w.detach().requires_grad_() for w in weights]
        gradients = torch.autograd.grad(loss(fixed), fixed)
        means = [beta1 * m + (1 - beta1) * g for m, g in zip(means, gradients, strict=True)]
        squares = [beta2 * v + (1 - beta2) * g**2 for v, g in zip(squares, gradients, strict=True)]
        leaves = [torch.tensor(rate, dtype=torch.float64, requires_grad=True) for rate in rates]
        # The weights as a function of the learning rates of the last step.
        weights = [
            w.detach() - rate * (m / (1 - beta1**count)) / ((v / (1 - beta2**count)).sqrt() + eps)
            for w, rate, m, v in zip(weights, leaves, means, squares, strict=True)
        ]
        assert [g["lr"] for g in optimizer.param_groups] == pytest.approx(rates, rel=1e-10)
    assert rates[0] != pytest.approx(0.01, rel=1e-4)
    for found, expected in zip(params, weights, strict=True):
        torch.testing.assert_close(found.detach(), expected.detach())


def test_adamws_options_out_of_range_are_named() -> None:
    with pytest.raises(InvalidValueError, match=r"beta1 must be a number in \[0, 1\), but got 1.0"):
        HypergradientAdamW(tensors(), betas=(1.0, 0.999))
    with pytest.raises(InvalidValueError, match="hypergrad_lr must be a number"):
        HypergradientAdamW(tensors(), hypergrad_lr=-1.0)
