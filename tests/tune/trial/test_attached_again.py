"""Who is the master of an optimizer, what it was built with, and which momentum trained."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch

import gap_tune
from gap_tune import apply_momentum
from gap_tune.control import MomentumControl
from gap_tune.errors import InvalidValueError
from gap_tune.theory.momentum import coupling_factor
from gap_tune.tune import keys
from tests.tune.alone import order, session, weight

SCHEDULER = {"gap": {"mode": "scheduler", "trust_region": {"span": 1}}}


def step(optimizer: torch.optim.Optimizer) -> None:
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.ones_like(parameter)
    optimizer.step()


def test_bug_a_second_session_took_over_the_first_one_s_reference() -> None:
    optimizer = torch.optim.SGD([weight()], lr=0.1, momentum=0.9)
    first = gap_tune.attach(optimizer, SCHEDULER)
    first.receive(order(1, 0.99))
    step(optimizer)
    second = gap_tune.attach(optimizer, SCHEDULER)
    step(optimizer)
    assert optimizer.param_groups[0]["coupled_lr"] == 0.1
    second.receive(order(1, 0.8))
    step(optimizer)
    expected = 0.1 * coupling_factor(0.8, 0.99)
    assert optimizer.param_groups[0]["coupled_lr"] == pytest.approx(expected)


def test_bug_momentum_set_by_hand_did_not_reach_the_second_session() -> None:
    optimizer = torch.optim.AdamW([weight()])
    kept = [gap_tune.attach(optimizer, SCHEDULER) for _ in range(2)]
    apply_momentum(optimizer, 0.5)
    # What it was told, it insists on.
    optimizer.param_groups[0]["betas"] = (0.7, 0.999)
    with pytest.warns(UserWarning, match="gap_tune's value is kept"):
        step(optimizer)
    assert optimizer.param_groups[0]["betas"][0] == kept[-1].momentum == 0.5


def test_bug_a_session_let_go_long_ago_rescaled_averages_once_more() -> None:
    parameter = weight()
    optimizer = torch.optim.Adam([parameter])
    trial = gap_tune.attach(optimizer, SCHEDULER)
    for _ in range(3):
        step(optimizer)
    trial.detach()
    # From here on the user's own affair.
    optimizer.param_groups[0]["betas"] = (0.5, 0.999)
    average = optimizer.state[parameter]["exp_avg"].clone()
    gap_tune.attach(optimizer, SCHEDULER)
    assert torch.equal(optimizer.state[parameter]["exp_avg"], average)


def test_bug_a_group_in_the_place_of_one_that_is_gone_took_over_its_reference() -> None:
    optimizer = torch.optim.SGD([{"params": [weight()]}, {"params": [weight()]}], 0.1, 0.9)
    trial = gap_tune.attach(optimizer, SCHEDULER)
    trial.receive(order(1, 0.8))
    step(optimizer)
    del optimizer.param_groups[1]
    optimizer.add_param_group({"params": [weight()], "momentum": 0.5})
    step(optimizer)
    expected = 0.1 * coupling_factor(0.8, 0.5)
    assert optimizer.param_groups[1]["coupled_lr"] == pytest.approx(expected)


@pytest.mark.parametrize("change", ["decision", "by hand"])
def test_bug_a_decision_that_has_not_trained_yet_was_reported(change: str) -> None:
    optimizer = torch.optim.SGD([weight()], lr=0.1, momentum=0.9)
    trial = session(optimizer)
    step(optimizer)
    if change == "decision":
        trial.receive(order(1, 0.5))
    else:
        apply_momentum(optimizer, 0.5)
    assert trial.result({})[keys.MOMENTUM] == 0.9
    assert trial.momentum == 0.5
    step(optimizer)
    assert trial.result({})[keys.MOMENTUM] == 0.5


@pytest.mark.parametrize("kind", [torch.optim.SGD, gap_tune.optim.SGD])
def test_bug_where_a_closure_decides_the_next_step_s_momentum_was_reported(kind: Any) -> None:
    torch.manual_seed(0)
    parameter = weight()
    optimizer = kind([parameter], lr=0.01, momentum=0.5)
    trial = gap_tune.attach(optimizer, {"gap": {"mode": "trial"}})
    used = []

    def evaluate() -> torch.Tensor:
        optimizer.zero_grad()
        loss = parameter @ torch.randn(20) + parameter.square().sum()
        loss.backward()
        used.append(optimizer.param_groups[0]["momentum"])
        return loss

    for _ in range(40):
        optimizer.step(evaluate)
        assert trial.result({})[keys.MOMENTUM] == used[-1]
    assert len(set(used)) > 1


@pytest.mark.parametrize("mode", ["fixed", "scheduler"])
def test_bug_a_step_without_any_gradient_counted_as_trained_with_its_momentum(mode: str) -> None:
    optimizer = torch.optim.SGD([weight()], lr=0.1, momentum=0.9)
    trial = gap_tune.attach(optimizer, {"gap": {"mode": mode}})
    step(optimizer)
    optimizer.param_groups[0]["momentum"] = 0.3
    optimizer.zero_grad()
    optimizer.step()
    assert trial.result({})[keys.MOMENTUM] == 0.9


@pytest.mark.parametrize(
    ("betas", "config", "told"),
    [
        ((0.9, 0.999), {"betas": (0.5, 0.999)}, "betas=0.5"),
        ((0.9, 0.999), {"betas": [0.9, 0.99]}, "betas=0.99"),
        ((0.9, 0.999), {"beta1": np.float32(0.5)}, "beta1=0.5"),
        ((0.9, 0.999), {"momentum": torch.tensor(0.5)}, "momentum=0.5"),
        ((0.9, 0.999), {"loop": {"beta1": 0.5, "gap": {"mode": "fixed"}}}, "beta1=0.5"),
        ((0.9, 0.999), {"betas": [0.9, 0.999], "beta1": np.float32(0.9)}, None),
        ((0.9, 0.999), {"betas": "auto", "momentum": None, "beta2": True}, None),
    ],
    ids=str,
)
def test_bug_a_momentum_that_was_no_plain_number_was_not_compared(
    betas: Any, config: dict[str, Any], told: str | None
) -> None:
    optimizer = torch.optim.AdamW([weight()], betas=betas)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        gap_tune.attach(optimizer, config)
    messages = [str(each.message) for each in caught]
    assert len(messages) == (told is not None)
    assert all(f"configuration's {told}," in message for message in messages)


def test_bug_lazy_weights_without_a_shape_stopped_a_checkpoint() -> None:
    model = torch.nn.LazyLinear(3)
    trial = gap_tune.attach(torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9))
    assert not trial.is_spoiled()


def test_a_group_with_a_rule_of_its_own_that_is_gone_is_refused_in_a_sentence() -> None:
    groups = [{"params": [weight()]}, {"params": [weight()]}]
    rules = [gap_tune.AlignmentRule(), gap_tune.AlignmentRule()]
    optimizer = gap_tune.optim.SGD(groups, lr=0.1, momentum=0.9, rule=rules)
    step(optimizer)
    del optimizer.param_groups[1]
    with pytest.raises(InvalidValueError, match="each of the 2 groups has its own rule, but got 1"):
        step(optimizer)


def test_bug_a_muon_that_does_not_name_its_steps_was_coupled() -> None:
    class Muon(torch.optim.Optimizer):
        def __init__(self, params: Any, lr: float = 0.02, momentum: float = 0.95) -> None:
            super().__init__(params, {"lr": lr, "momentum": momentum})

    assert not MomentumControl(Muon([weight()])).couples
