"""The products that the scale follows, against filters by hand."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gap_tune import FixedMomentum, TrustRegion, optim
from gap_tune.control.scale import ScaleControl
from gap_tune.gradients import GradientMonitor
from tests.control.scaled import ON, Hand, gradients, parameters, train


def test_scale_follows_the_products_with_torchs_own_momentum_buffer() -> None:
    params = parameters()
    optimizer = optim.SGD(params, lr=1e-3, momentum=0.9, **ON)
    hand, found, expected, chosen = Hand([0.9] * 3), [], [], set()
    for step in range(60):
        fresh = gradients(step, params)
        # Whatever momentum was chosen, torch's buffer is the filter that was really used.
        buffers = [optimizer.state[p].get("momentum_buffer") for p in params]
        hand.used = {i: b.double().clone() for i, b in enumerate(buffers) if b is not None}
        expected.append(hand.step(list(fresh)))
        train(optimizer, params, range(step, step + 1))
        found.append(optimizer.scale)
        chosen.add(optimizer.momentum)
    assert len(chosen) > 1
    assert found == pytest.approx(expected, rel=1e-4)
    assert max(found) > 0.9
    assert any(b < a for a, b in pairwise(found))


def test_products_of_adam_are_whitened_by_its_own_second_moments() -> None:
    params = parameters()
    optimizer = optim.AdamW(params, lr=1e-3, rule=FixedMomentum(), **ON)
    hand, found, expected = Hand([0.9] * 3, beta2=0.999), [], []
    for step in range(50):
        expected.append(hand.step(list(gradients(step, params))))
        train(optimizer, params, range(step, step + 1))
        found.append(optimizer.scale)
    assert found == pytest.approx(expected, rel=1e-4)


def test_the_filter_of_adam_is_its_own_average_also_after_beta1_has_changed() -> None:
    params = parameters()
    optimizer = optim.AdamW(params, lr=1e-3, **ON)
    hand, chosen = Hand([0.9] * 3, beta2=0.999), set()
    for step in range(60):
        averages = [optimizer.state[p].get("exp_avg") for p in params]
        hand.used = {i: m.double().clone() for i, m in enumerate(averages) if m is not None}
        expected = hand.step(list(gradients(step, params)))
        train(optimizer, params, range(step, step + 1))
        assert optimizer.scale == pytest.approx(expected, rel=1e-4)
        chosen.add(optimizer.momentum)
    assert len(chosen) > 1


@pytest.mark.parametrize("maximize", [False, True])
@pytest.mark.parametrize("family", ["SGD", "Adam"])
def test_weight_decay_in_the_gradient_is_part_of_it(family: str, maximize: bool) -> None:
    """The decay in the optimizer, or written into the gradient: the scale is the same."""
    scales = []
    for written in (False, True):
        params = parameters()
        decay = 0.0 if written else 0.5
        optimizer = getattr(optim, family)(
            params, lr=0.01, weight_decay=decay, maximize=maximize, rule=FixedMomentum(), **ON
        )
        for step in range(40):
            for p, fresh in zip(params, gradients(step, params), strict=True):
                sign = -1.0 if maximize else 1.0
                p.grad = fresh + (sign * 0.5 * p.detach() if written else 0.0)
            optimizer.step()
        scales.append(optimizer.scale)
    assert scales[0] == pytest.approx(scales[1], rel=1e-5)


@pytest.mark.parametrize("correlation", [0.8, 0.2, -0.6])
def test_agreement_of_autoregressive_gradients_is_what_theory_says(correlation: float) -> None:
    """``E[x] = rho / (1 - beta rho)``; of Gaussians of correlation r, by the angle between them.

    ``E|x| = 2 / pi (sqrt(1 - r^2) + r asin(r))`` times their standard deviations.
    """
    beta, steps = 0.8, 20_000
    rng = np.random.default_rng(3)
    noise = rng.normal(size=steps) * math.sqrt(1 - correlation**2)
    parameter = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
    optimizer = torch.optim.SGD([parameter], lr=0.0, momentum=beta)
    monitor = GradientMonitor(optimizer)
    region = TrustRegion(memory=0.9999)
    control = ScaleControl(region, [monitor], optimizer)
    value = 0.0
    for shock in noise:
        value = correlation * value + shock
        parameter.grad = torch.full((1,), value, dtype=torch.float64)
        monitor.observe()
        control.follow(beta)
    mean = correlation / (1 - beta * correlation)
    power = (1 + beta * correlation) / ((1 - beta**2) * (1 - beta * correlation))
    r = mean / math.sqrt(power)
    size = (math.sqrt(1 - r**2) + r * math.asin(r)) * 2 / math.pi
    assert control.agreement == pytest.approx(r / size, abs=0.02)


def test_a_parameter_without_gradient_keeps_its_part_of_the_filters() -> None:
    """As torch keeps its momentum buffer."""
    params = parameters()
    optimizer = optim.SGD(params, lr=0.0, momentum=0.5, rule=FixedMomentum(), **ON)
    hand = Hand([0.5] * 3)
    for step in range(12):
        fresh: list[Tensor | None] = list(gradients(step, params))
        fresh[step % 3] = None
        for parameter, gradient in zip(params, fresh, strict=True):
            parameter.grad = gradient
        optimizer.step()
        assert optimizer.scale == pytest.approx(hand.step(fresh), rel=1e-5)


def test_groups_of_different_momenta_are_filtered_by_their_own() -> None:
    params = parameters()
    groups = [{"params": params[:1], "momentum": 0.3}, {"params": params[1:]}]
    optimizer = optim.SGD(groups, lr=0.0, momentum=0.9, rule=FixedMomentum(), **ON)
    hand = Hand([0.3, 0.9, 0.9])
    for step in range(12):
        train(optimizer, params, range(step, step + 1))
        expected = hand.step(list(gradients(step, params)))
        assert optimizer.scale == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("family", [torch.optim.SGD, torch.optim.AdamW])
def test_a_parameter_that_joins_late_starts_from_zero(family: Any) -> None:
    params = parameters()
    sgd = family is torch.optim.SGD
    options: dict[str, Any] = {"momentum": 0.9} if sgd else {}
    optimizer = getattr(optim, family.__name__)(
        params[:2], lr=0.0, rule=FixedMomentum(), **options, **ON
    )
    hand = Hand([0.9] * 3, beta2=None if sgd else 0.999)
    for step in range(12):
        if step == 5:
            optimizer.add_param_group({"params": params[2:]})
        present = params if step >= 5 else params[:2]
        train(optimizer, present, range(step, step + 1))
        expected = hand.step(list(gradients(step, params)[: len(present)]))
        assert optimizer.scale == pytest.approx(expected, rel=1e-5)
