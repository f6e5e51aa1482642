"""The scale of the trust region, put on the steps of real optimizers."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch

import gap_tune
from gap_tune import FixedMomentum, TrustRegion, optim
from gap_tune.tune.trial.attaching import make_tuning
from tests.control.scaled import MAKERS, ON, Params, gradients, parameters, train


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_bug_with_a_closure_the_first_step_was_not_scaled(name: str) -> None:
    params = parameters()
    optimizer: Any = MAKERS[name](params)
    seen: list[float] = []
    optimizer.register_step_pre_hook(lambda o, *_: seen.append(o.param_groups[0]["lr"]))

    def step_of(these: Params, of: Any, step: int) -> None:
        def closure() -> float:
            for p, g in zip(these, gradients(step, these), strict=True):
                p.grad = g
            return 0.0

        of.step(closure)

    step_of(params, optimizer, 0)
    assert seen == [pytest.approx(0.01 * TrustRegion().start)]
    for step in range(1, 9):
        step_of(params, optimizer, step)
    others = copy.deepcopy(params)
    resumed: Any = MAKERS[name](others)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for step in range(9, 15):
        step_of(params, optimizer, step)
        step_of(others, resumed, step)
        assert all(torch.equal(a, b) for a, b in zip(params, others, strict=True))


@pytest.mark.parametrize("family", [torch.optim.SGD, torch.optim.AdamW])
def test_scale_is_blind_to_the_scale_of_the_loss(family: Any) -> None:
    options = {"momentum": 0.9} if family is torch.optim.SGD else {"eps": 0.0}
    scales = []
    for factor in (1.0, 2.0**20, 2.0**-20):
        params = parameters()
        optimizer = getattr(optim, family.__name__)(params, lr=0.0, **options, **ON)
        train(optimizer, params, range(40), factor)
        scales.append(optimizer.scale)
    assert scales[0] != TrustRegion().start
    assert scales == pytest.approx([scales[0]] * 3, rel=1e-6)


def controlled(params: Params, mode: str = "scheduler", **options: Any) -> Any:
    optimizer = torch.optim.SGD(params, lr=0.1, momentum=0.9)
    return make_tuning(optimizer, {"mode": mode}, sample=None, **options)


@pytest.mark.parametrize("mode", ["scheduler", "trial"])
def test_the_scale_multiplies_the_learning_rate_of_the_step_alone(mode: str) -> None:
    params = parameters()
    tuning = controlled(
        params, mode, rule=FixedMomentum() if mode == "trial" else None, trust_region={"start": 0.5}
    )
    seen: list[float] = []
    tuning.optimizer.register_step_pre_hook(
        lambda optimizer, *_: seen.append(optimizer.param_groups[0]["lr"])
    )
    scheduler = torch.optim.lr_scheduler.ExponentialLR(tuning.optimizer, 0.5)
    for step in range(5):
        train(tuning.optimizer, params, range(step, step + 1))
        assert tuning.optimizer.param_groups[0]["lr"] == pytest.approx(0.1 * 0.5**step)
        assert seen[-1] == pytest.approx(0.1 * 0.5**step * tuning.scale)
        assert scheduler.get_last_lr() == [tuning.optimizer.param_groups[0]["lr"]]
        scheduler.step()
    assert tuning.scale > 0.5


class Unscaled(gap_tune.AlignmentRule):
    """The default rule, which leaves the learning rate alone."""

    scales_lr = False


@pytest.mark.parametrize("off", [{"span": 1.0}, TrustRegion(span=1), TrustRegion.off()])
@pytest.mark.parametrize("mode", ["scheduler", "trial"])
def test_a_span_of_one_is_without_control_bit_for_bit(off: Any, mode: str) -> None:
    runs = []
    for options in ({"rule": Unscaled()}, {"trust_region": off}):
        params = parameters()
        tuning = controlled(params, mode, **options)
        train(tuning.optimizer, params, range(30))
        assert (tuning.scale, tuning.agreement) == (1.0, None)
        runs.append(params)
    assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))


def test_weight_decay_of_adamw_is_not_scaled() -> None:
    """Decoupled, it is lr * decay of the schedule's learning rate, whatever the scale."""
    params = [torch.nn.Parameter(torch.ones(4)), torch.nn.Parameter(torch.ones(2))]
    optimizer = optim.AdamW(params, lr=0.01, weight_decay=0.1, rule=FixedMomentum(), **ON)
    for step in range(10):
        params[0].grad = torch.zeros(4)
        params[1].grad = torch.ones(2)
        optimizer.step()
        assert params[0].tolist() == pytest.approx([(1 - 0.001) ** (step + 1)] * 4, rel=1e-5)
    assert optimizer.scale != 1.0


def test_baselines_are_left_alone() -> None:
    params = parameters()
    tuning = controlled(params, "fixed", trust_region=TrustRegion())
    plain = parameters()
    other = torch.optim.SGD(plain, lr=0.1, momentum=0.9)
    train(tuning.optimizer, params, range(10))
    train(other, plain, range(10))
    assert all(torch.equal(a, b) for a, b in zip(params, plain, strict=True))
    assert tuning.agreement is None


@pytest.mark.parametrize("spoiled", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite_moves_nothing(spoiled: float) -> None:
    params = parameters()
    optimizer = optim.SGD(params, lr=0.0, momentum=0.9, rule=FixedMomentum(), **ON)
    train(optimizer, params, range(10))
    scale, twin = optimizer.scale, copy.deepcopy(optimizer)
    params[0].grad = torch.full((3,), spoiled)
    optimizer.step()
    assert optimizer.scale == scale
    train(optimizer, params, range(10, 15))
    train(twin, [p for g in twin.param_groups for p in g["params"]], range(10, 15))
    assert optimizer.scale == twin.scale


def test_the_scale_is_found_by_its_public_name() -> None:
    assert gap_tune.TrustRegion is TrustRegion
