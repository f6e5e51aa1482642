"""Adaptive memory: steps against NumPy, and momentum against the model that it maximises."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar

from gap_tune.errors import InvalidValueError, StateError, UnsupportedError
from gap_tune.optim import AdaptiveMemoryAdamW, AdaptiveMemorySGD, DiagonalTO
from tests.optim.stepping import joined, run, set_gradients, tensors

Vector = np.ndarray
STEPS = 12


def gradients_of(params: list[torch.nn.Parameter]) -> Vector:
    return joined([p.grad for p in params if p.grad is not None])


def best(value: Callable[[float], float], limit: float) -> float:
    """Return what maximises a concave function within [0, limit]."""
    found = minimize_scalar(lambda b: -value(b), bounds=(0, limit), options={"xatol": 1e-10})
    # It never tries the ends themselves.
    return max((float(found.x), 0.0, limit), key=value)


def model_value(
    beta: float, g: Vector, d: Vector, x: Vector, gap: float, options: dict[str, float], p: Vector
) -> float:
    """Return the least value over steps s of the two planes' mix and all that holds the step."""
    lr, lam, decay = options["lr"], options["lam"], options["weight_decay"]
    mix = (1 - beta) * g + beta * d
    # A sum of quadratics of each coordinate: weight times (s - centre)^2 / 2.
    weights = np.stack([p / lr, lam * p**2 / lr, decay * p])
    centres = np.stack([np.zeros_like(x), -lr * d / p, -x])
    s = ((weights * centres).sum(0) - mix) / weights.sum(0)
    return beta * gap + mix @ s + (weights * (s - centres) ** 2).sum() / 2


@pytest.mark.parametrize("lam", [0.0, 0.1, 2.0])
@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
def test_momentum_of_sgd_maximises_the_two_planes_model(lam: float, weight_decay: float) -> None:
    params = tensors()
    lr, limit = 0.2, 0.9
    optimizer = AdaptiveMemorySGD(params, lr=lr, lam=lam, weight_decay=weight_decay)
    x, d = joined(list(params)), None
    options = {"lr": lr, "lam": lam, "weight_decay": 0.0}
    chosen = []
    for step in range(STEPS):
        set_gradients(params, step)
        # Its weight decay is part of the gradient, no quadratic of the model.
        g = gradients_of(params) + weight_decay * x
        if d is None:
            d = g
        else:
            last, gap = d, lr * (g @ d)
            value = lambda b: model_value(b, g, last, x, gap, options, np.ones_like(x))  # noqa: B023, E731
            chosen.append(best(value, limit))
            d = ((chosen[-1] + lam) * d + (1 - chosen[-1]) * g) / (1 + lam)
        x = x - lr * d
        optimizer.step()
        np.testing.assert_allclose(joined(list(params)), x, rtol=1e-6, atol=1e-7)
    assert len({round(beta, 3) for beta in chosen}) > 3


@pytest.mark.parametrize(("lam", "weight_decay"), [(0.1, 0.0), (3.0, 0.0), (0.0, 0.5)])
def test_momentum_of_adamw_maximises_the_preconditioned_model(
    lam: float, weight_decay: float
) -> None:
    parameter = tensors()[0]
    limit, beta2, eps = 0.99, 0.99, 1e-6
    optimizer = AdaptiveMemoryAdamW(
        [parameter], 0.1, lam, limit, beta2=beta2, eps=eps, weight_decay=weight_decay
    )
    x = joined([parameter])
    d, v, product, before = np.zeros_like(x), np.zeros_like(x), 1.0, 0.0
    chosen = []
    for step in range(STEPS):
        # A schedule: the last step was of another learning rate.
        lr = optimizer.param_groups[0]["lr"] = 0.1 * 0.9**step
        set_gradients([parameter], step)
        if step % 3 == 2:
            # Against the memory, which is worth less then.
            parameter.grad = None if parameter.grad is None else -2 * parameter.grad
        g = gradients_of([parameter])
        v = beta2 * v + (1 - beta2) * g**2
        p = (1 - limit * product) * (np.sqrt(v / (1 - beta2 ** (step + 1))) + eps)
        last, gap = d, before * (g @ (d / p + weight_decay * x))
        options = {"lr": lr, "lam": lam, "weight_decay": weight_decay}
        value = lambda b: model_value(b, g, last, x, gap, options, p)  # noqa: B023, E731
        beta = best(value, limit) if step else limit
        chosen.append(beta)
        d = ((1 - beta) * g + (beta + lam * p) * d) / (1 + lam * p)
        x = (1 - lr * weight_decay) * x - lr * d / p
        product *= beta
        before = lr
        optimizer.step()
        np.testing.assert_allclose(joined([parameter]), x, rtol=1e-6, atol=1e-7)
    assert len({round(beta, 3) for beta in chosen}) > 3


def test_the_first_step_of_adamw_is_torchs() -> None:
    params, twins = tensors(), tensors()
    optimizer = AdaptiveMemoryAdamW(params, lr=0.1, lam=0.0, weight_decay=0.1)
    plain = torch.optim.AdamW(twins, lr=0.1, weight_decay=0.1)
    for each in (params, twins):
        set_gradients(each, 0)
    optimizer.step()
    plain.step()
    for first, second in zip(params, twins, strict=True):
        torch.testing.assert_close(first, second)


def test_without_noise_sgd_needs_no_memory_and_follows_the_gradient() -> None:
    weight = torch.nn.Parameter(torch.ones(3, dtype=torch.float64))
    optimizer = AdaptiveMemorySGD([weight], lr=0.1)
    for _ in range(5):
        weight.grad = torch.ones(3, dtype=torch.float64)
        optimizer.step()
    # All gradients are one: so is every average of them.
    torch.testing.assert_close(weight.detach(), torch.full((3,), 0.5, dtype=torch.float64))


@pytest.mark.parametrize("kind", [AdaptiveMemorySGD, AdaptiveMemoryAdamW])
def test_momentum_does_not_depend_on_the_unit_of_the_loss(kind: Any) -> None:
    options = {"lam": 0.0} if kind is AdaptiveMemoryAdamW else {}
    small, large = tensors(), tensors()
    first, second = kind(small, lr=0.1, **options), kind(large, lr=0.1, **options)
    if kind is AdaptiveMemorySGD:
        second.param_groups[0]["lr"] = 0.1 / 64
    for step in range(6):
        for each in (small, large):
            set_gradients(each, step)
        for parameter, twin in zip(small, large, strict=True):
            twin.grad = None if parameter.grad is None else 64 * parameter.grad
        first.step()
        second.step()
    for one, other in zip(small, large, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr": -1.0}, "lr must be a number in"),
        ({"lam": -0.1}, "lam must be a number in"),
        ({"beta_max": 1.0}, r"beta_max must be a number in \[0, 1\), but got 1.0"),
    ],
)
@pytest.mark.parametrize("kind", [AdaptiveMemorySGD, AdaptiveMemoryAdamW])
def test_options_out_of_range_are_named(kind: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidValueError, match=message):
        kind(tensors(), **{"lr": 0.1, **options})


def test_adamws_own_options_out_of_range_are_named() -> None:
    with pytest.raises(InvalidValueError, match=r"beta2 must be a number in \[0, 1\)"):
        AdaptiveMemoryAdamW(tensors(), beta2=1.0)
    with pytest.raises(InvalidValueError, match="eps must be a number"):
        AdaptiveMemoryAdamW(tensors(), eps=0.0)


@pytest.mark.parametrize("kind", [AdaptiveMemorySGD, AdaptiveMemoryAdamW])
def test_sparse_gradients_and_states_of_others_are_refused(kind: Any) -> None:
    weight = torch.nn.Parameter(torch.ones(2, 2))
    optimizer = kind([weight], lr=0.1)
    weight.grad = torch.eye(2).to_sparse()
    with pytest.raises(UnsupportedError, match="must be dense"):
        optimizer.step()
    params = tensors()
    other = DiagonalTO(params, lr=0.1)
    run(other, params, range(1))
    with pytest.raises(StateError, match="must hold tensors of shapes"):
        kind(params, lr=0.1).load_state_dict(other.state_dict())
