"""The products of Adam are whitened by the beta2 in use, wherever it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gap_tune import optim
from gap_tune.gradients import GradientMonitor, used_filter
from tests.control.scaled import ON, gradients, parameters, train


class OnDevice(torch.Tensor):
    """A number that nobody may ask for, as on a device."""

    @property
    def is_cpu(self) -> bool:
        return False

    def __float__(self) -> float:
        raise AssertionError("a device was asked for its number")


def beta2_of_device(value: float) -> Tensor:
    return torch.tensor(value).as_subclass(OnDevice)


@pytest.mark.parametrize(
    ("place", "made"),
    [
        ("host", float),
        ("host", torch.tensor),
        ("device", float),
        ("device", beta2_of_device),
    ],
)
def test_bug_products_are_whitened_by_the_beta2_in_use(
    place: str, made: Callable[[float], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it is a tensor, in host memory or on the gradients' device."""
    params = parameters()
    o = torch.optim.Adam(params, lr=1e-3, betas=(0.9, 0.999), foreach=False)
    monitor = GradientMonitor(o, sample=None)
    if place == "device":
        monkeypatch.setattr(used_filter, "lives_on_host", lambda device: False)
    used = used_filter.UsedFilter(monitor, o, 0.99)
    moment, filtered, missing = 0.0, 0.0, 1.0
    found, expected = [], []
    for step in range(8):
        beta2 = 0.999 if step < 4 else 0.5
        for p, fresh in zip(params, gradients(step, params), strict=True):
            p.grad = fresh
        monitor.observe()
        o.param_groups[0]["betas"] = (0.9, made(beta2))
        products = used.products(0.9)
        assert products is not None
        found.append(float(products[0]))
        g = np.concatenate([p.grad.numpy().ravel() for p in params]).astype(float)  # type: ignore[union-attr]
        moment, missing = beta2 * moment + (1 - beta2) * g**2, missing * beta2
        judge = g / (np.sqrt(moment / (1 - missing)) + 1e-8)
        expected.append(float(np.sum(judge * filtered)))
        filtered = 0.9 * filtered + 0.1 * g
    assert found == pytest.approx(expected, rel=1e-4)


def test_a_tensor_beta2_that_is_tuned_is_that_of_a_number() -> None:
    """The whole optimizer: choices of beta2, averages and scale."""
    courses = []
    for made in (float, lambda beta: torch.tensor(beta, dtype=torch.float64)):
        params = parameters()
        optimizer: Any = optim.Adam(
            params,
            lr=0.01,
            betas=(made(0.9), made(0.99)),
            beta2_candidates=(0.5, 0.9),
            foreach=False,
            **ON,
        )
        course = []
        for step in range(30):
            train(optimizer, params, range(step, step + 1))
            course.append((optimizer.scale, float(optimizer.param_groups[0]["betas"][1])))
        courses.append((course, torch.cat([p.detach().reshape(-1) for p in params]).tolist()))
    (numbers, weights), (tensors, others) = courses
    assert len({beta2 for _, beta2 in numbers}) > 1
    assert np.array(tensors) == pytest.approx(np.array(numbers), rel=1e-4)
    assert others == pytest.approx(weights, rel=1e-4)
