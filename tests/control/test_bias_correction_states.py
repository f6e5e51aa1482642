"""The correction of Adam's averages where states are loaded, started anew or left behind."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

import gap_tune
from gap_tune.control import MomentumControl
from tests.control.own_adam import BETA2, LR, adam, controlled, parameters, step
from tests.tune.alone import order


@pytest.mark.parametrize("at", [3, 8, 14])
@pytest.mark.parametrize("order", ["optimizer first", "control first"])
def test_a_resumed_run_equals_the_uninterrupted_one(at: int, order: str) -> None:
    def run(interrupt: bool) -> torch.Tensor:
        params = parameters(2)
        optimizer = adam(params)
        control = controlled(optimizer)
        for t in range(20):
            if interrupt and t == at:
                saved = copy.deepcopy((optimizer.state_dict(), control.state_dict()))
                optimizer = adam(params)
                control = controlled(optimizer)
                if order == "optimizer first":
                    optimizer.load_state_dict(saved[0])
                    control.load_state_dict(saved[1])
                else:
                    control.load_state_dict(saved[1])
                    optimizer.load_state_dict(saved[0])
            if t in (2, 7, 12):
                control.apply({2: 0.5, 7: 0.99, 12: 0.8}[t])
            step(optimizer, {params[0]: 1.0} | ({params[1]: -2.0} if t >= 6 else {}))
        return torch.stack([p.detach() for p in params])

    assert torch.equal(run(False), run(True))


@pytest.mark.parametrize("first", [0.5, 0.9])
def test_bug_a_state_that_is_loaded_later_is_not_taken_for_the_one_before(first: float) -> None:
    (parameter,) = parameters(1)
    trained = adam([parameter], betas=(first, BETA2))
    for _ in range(12):
        step(trained, {parameter: 1.0})
    optimizer = adam([parameter])
    control = controlled(optimizer)
    control.apply(0.99)
    optimizer.load_state_dict(trained.state_dict())
    assert control.momentum == 0.99
    before = parameter.detach().clone()
    step(optimizer, {parameter: 1.0})
    np.testing.assert_allclose((before - parameter.detach()).numpy(), LR, rtol=1e-6)


def test_bug_averages_that_are_started_anew_are_corrected_anew() -> None:
    (parameter,) = parameters(1)
    optimizer = adam([parameter])
    control = controlled(optimizer)
    for _ in range(12):
        step(optimizer, {parameter: 1.0})
    control.apply(0.99)
    step(optimizer, {parameter: 1.0})
    optimizer.state.clear()
    for _ in range(5):
        before = parameter.detach().clone()
        step(optimizer, {parameter: 1.0})
        np.testing.assert_allclose((before - parameter.detach()).numpy(), LR, rtol=1e-6)


def test_bug_an_optimizer_that_is_let_go_takes_no_larger_steps() -> None:
    (parameter,) = parameters(1)
    optimizer = adam([parameter])
    trial = gap_tune.attach(optimizer, {"gap": {"mode": "scheduler", "trust_region": {"span": 1}}})
    for t in range(20):
        if t == 10:
            trial.receive(order(1, 0.99))
        if t == 13:
            trial.detach()
        before = parameter.detach().clone()
        step(optimizer, {parameter: 1.0})
        np.testing.assert_allclose((before - parameter.detach()).numpy(), LR, rtol=1e-6)


def test_an_optimizer_that_is_let_go_is_as_torch_made_it() -> None:
    (parameter,) = parameters(1)
    optimizer = torch.optim.SGD([parameter], lr=LR, momentum=0.9)
    names = set(optimizer.param_groups[0])
    control = controlled(optimizer)
    control.apply(0.5)
    step(optimizer, {parameter: 1.0})
    control.release()
    assert set(optimizer.param_groups[0]) == names


def test_bug_the_reference_of_a_state_that_was_loaded_before_is_kept() -> None:
    (parameter,) = parameters(1)
    optimizer = torch.optim.SGD([parameter], lr=LR, momentum=0.9)
    control = controlled(optimizer)
    control.apply(0.5)
    again = torch.optim.SGD([parameter], lr=LR, momentum=0.9)
    again.load_state_dict(optimizer.state_dict())
    MomentumControl(again)
    assert again.param_groups[0]["momentum"] == 0.5
    assert again.param_groups[0]["reference_momentum"] == 0.9
