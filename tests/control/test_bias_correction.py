"""Adam's steps when momentum changes, against an average that knows its own weight."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings

from gap_tune import TrustRegion
from gap_tune.optim import AdamW
from tests.control.own_adam import (
    BETA2,
    EPS,
    LR,
    OwnAdam,
    Schedule,
    Twins,
    adam,
    controlled,
    follow_schedule,
    parameters,
    schedules,
    step,
)
from tests.optim.test_compile import Walk


@pytest.mark.parametrize("options", [{}, {"foreach": True}, {"fused": True}], ids=str)
@pytest.mark.parametrize("decay", [0.0, 0.3])
@settings(max_examples=25, deadline=None)
@given(schedule=schedules)
def test_bug_every_parameter_has_its_own_correction_whatever_its_history(
    options: dict[str, Any], decay: float, schedule: Schedule
) -> None:
    params = parameters(4)
    groups = [{"params": params[:3]}, {"params": params[3:]}]
    optimizer = adam(groups, weight_decay=decay, **options)
    follow_schedule(optimizer, params, schedule, decay)
    assert [group["params"] for group in optimizer.param_groups] == [params[:3], params[3:]]
    assert all(group["lr"] == LR for group in optimizer.param_groups)
    assert all(group["weight_decay"] == decay for group in optimizer.param_groups)


def test_bug_a_schedule_that_cycled_momentum_before_the_first_decision_is_part_of_the_weight() -> (
    None
):
    (parameter,) = parameters(1)
    optimizer = adam([parameter])
    control = controlled(optimizer)
    own = OwnAdam(1.0)
    # As torch leaves it: until something is decided, the optimizer follows torch bit for bit.
    for t, beta1 in enumerate([0.5, 0.6, 0.7, 0.8]):
        optimizer.param_groups[0]["betas"] = (beta1, BETA2)
        step(optimizer, {parameter: 1.0 + t})
        own.step(1.0 + t, beta1)
    control.apply(0.95)
    own.weight = float(parameter.detach()[0])
    for t in range(6):
        step(optimizer, {parameter: 2.0 - t})
        own.step(2.0 - t, 0.95)
        np.testing.assert_allclose(parameter.detach().numpy(), own.weight, rtol=1e-9)


def test_without_a_decision_the_optimizer_follows_torch_bit_for_bit() -> None:
    ours, theirs = parameters(2), parameters(2)
    optimizer, plain = adam(ours), adam(theirs)
    controlled(optimizer)
    for t in range(10):
        late = t >= 5
        for o, params in ((optimizer, ours), (plain, theirs)):
            step(o, {params[0]: float(t)} | ({params[1]: 1.0} if late else {}))
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


CORRECTED: list[tuple[type[torch.optim.Optimizer], dict[str, Any]]] = [
    (torch.optim.Adam, {}),
    (torch.optim.AdamW, {"amsgrad": True}),
    (torch.optim.Adamax, {}),
    (torch.optim.RAdam, {"decoupled_weight_decay": True}),
    (torch.optim.NAdam, {}),
]


@pytest.mark.parametrize(("kind", "options"), CORRECTED, ids=lambda v: getattr(v, "__name__", ""))
def test_bug_every_family_that_corrects_keeps_the_size_of_its_steps(
    kind: type[torch.optim.Optimizer], options: dict[str, Any]
) -> None:
    """Along a constant gradient, a mean is a mean, whatever its momentum was."""

    def sizes(change: bool) -> np.ndarray:
        (parameter,) = parameters(1)
        optimizer = adam([parameter], kind, **options)
        control = controlled(optimizer)
        found = []
        for t in range(40):
            if change and t == 10:
                control.apply(0.99)
            before = parameter.detach().clone()
            step(optimizer, {parameter: 1.0})
            found.append(float((before - parameter.detach())[0]))
        return np.array(found)

    ratio = sizes(True) / sizes(False)
    # NAdam's first steps are no mean yet: they grow to it, at 0.99 more slowly than at 0.9.
    np.testing.assert_allclose(ratio, 1.0, rtol=0.13 if kind is torch.optim.NAdam else 1e-9)


def test_the_self_tuning_optimizer_corrects_each_parameter() -> None:
    params = parameters(2)
    optimizer = AdamW(params, lr=LR, betas=(0.9, BETA2), eps=EPS, weight_decay=0.0, rule=Walk(13))
    twins = Twins(params)
    for t in range(40):
        gradients = {params[0]: float(np.sin(t))} | ({params[1]: 1.0} if t >= 25 else {})
        step(optimizer, gradients)
        twins.follow(gradients, optimizer.momentum)


@pytest.mark.parametrize("eps", [1e-8, 0.1])
def test_bug_a_beta2_that_changes_is_corrected_as_well(eps: float) -> None:
    params = parameters(2)
    optimizer = adam(params, betas=(0.9, 0.9), eps=eps)
    control, twins = controlled(optimizer), Twins(params, eps=eps)
    control.apply(0.8)
    for t in range(30):
        beta2 = 0.9 if t < 10 else 0.999 if t < 20 else 0.95
        control.apply_beta2(beta2)
        gradients = {params[0]: float(np.sin(t))} | ({params[1]: 1.0} if t >= 7 else {})
        step(optimizer, gradients)
        twins.follow(gradients, 0.8, beta2)
    assert optimizer.param_groups[0]["eps"] == eps


def test_bug_the_self_tuning_optimizer_s_beta2_is_corrected() -> None:
    (parameter,) = parameters(1)
    optimizer = AdamW(
        [parameter],
        lr=LR,
        betas=(0.9, 0.9),
        weight_decay=0.0,
        beta2_candidates=(0.5, 0.9, 0.999),
        trust_region=TrustRegion.off(),
    )
    own, used = OwnAdam(1.0), set()
    for t in range(60):
        # Dies out at first, comes and goes then: now a long memory of squares is best, now a short.
        step(optimizer, {parameter: (100.0 if t < 10 else 0.01) * (1 + np.sin(t) * (t > 20))})
        betas = optimizer.param_groups[0]["betas"]
        own.step(float(parameter.grad[0]), *betas)  # type: ignore[index]
        used.add(betas[1])
        np.testing.assert_allclose(parameter.detach().numpy(), own.weight, rtol=1e-9)
    assert len(used) > 1
