"""MomentumControl beside states that are loaded, copies, other hooks, and group by group."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch

from gap_tune import apply_momentum
from gap_tune.control import MomentumControl
from tests.control.hooked import hooked, parameter


def test_momentum_that_was_applied_outlives_a_loaded_state_and_nobody_is_blamed() -> None:
    o = torch.optim.SGD([parameter()], lr=0.1, momentum=0.9)
    control = hooked(o)
    o.register_load_state_dict_post_hook(control.after_load)
    control.apply(0.5)
    other = torch.optim.SGD([parameter()], lr=0.1, momentum=0.8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        o.load_state_dict(other.state_dict())
    assert o.param_groups[0]["momentum"] == control.momentum == 0.5


def test_what_is_set_by_hand_is_the_controls_from_then_on() -> None:
    o = torch.optim.SGD([parameter()], lr=0.1, momentum=0.9)
    control = hooked(o)
    apply_momentum(o, 0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        o.step()
    assert control.momentum == control.trained_momentum == 0.5


def test_beta2_of_one_group_is_set_alone() -> None:
    groups = [{"params": [parameter()]}, {"params": [parameter()]}]
    o = torch.optim.Adam(groups, betas=(0.9, 0.99))
    control = hooked(o)
    control.apply_beta2(0.5, group=1)
    assert [group["betas"] for group in o.param_groups] == [(0.9, 0.99), (0.9, 0.5)]
    control.apply_beta2(0.7)
    assert [group["betas"] for group in o.param_groups] == [(0.9, 0.7), (0.9, 0.7)]


def test_a_copy_has_a_control_of_its_own() -> None:
    o = torch.optim.SGD([parameter()], lr=0.1, momentum=0.9)
    control = MomentumControl(o)
    other, its = copy.deepcopy((o, control))
    apply_momentum(other, 0.5)
    assert (its.momentum, control.momentum) == (0.5, 0.9)


@pytest.mark.parametrize("couple_lr", [False, True])
def test_the_scale_and_the_bias_correction_both_count(couple_lr: bool) -> None:
    weights = []
    for lr, scale in ((0.02, 3.0), (0.06, 1.0)):
        p = parameter()
        o = torch.optim.Adam([p], lr=lr)
        control = hooked(o, couple_lr=couple_lr)
        control.scale = scale
        for i in range(6):
            if i == 3:
                control.apply(0.5)
            p.grad = torch.full((3,), float(i + 1))
            o.step()
        weights.append(p.detach())
    assert torch.allclose(*weights, rtol=1e-6)
    # Without the correction the steps after the change would be others.
    plain = parameter()
    o = torch.optim.Adam([plain], lr=0.06)
    for i in range(6):
        if i == 3:
            o.param_groups[0]["betas"] = (0.5, 0.999)
        plain.grad = torch.full((3,), float(i + 1))
        o.step()
    assert not torch.allclose(plain.detach(), weights[0], rtol=1e-3)


def test_one_group_is_changed_alone_and_keeps_what_it_was_given() -> None:
    groups = [{"params": [parameter()]}, {"params": [parameter()]}]
    o = torch.optim.SGD(groups, lr=0.1, momentum=0.9)
    control = hooked(o)
    control.apply(0.5, group=1)
    assert [control.momentum_of(i) for i in range(2)] == [0.9, 0.5]
    assert control.differs(0.5)
    assert not control.differs(0.5, group=1)
    o.param_groups[1]["momentum"] = 0.7
    with pytest.warns(UserWarning, match="also sets momentum"):
        o.step()
    assert [group["momentum"] for group in o.param_groups] == [0.9, 0.5]


def test_rmsprop_whose_momentum_was_zero_gets_the_buffers_it_has_not_made() -> None:
    p = parameter()
    o = torch.optim.RMSprop([p], lr=0.1, momentum=0.0)
    control = hooked(o)
    o.step()
    assert "momentum_buffer" not in o.state[p]
    control.apply(0.5)
    assert o.state[p]["momentum_buffer"].tolist() == [0.0] * 3
    o.step()


def test_a_state_of_a_run_that_scaled_leaves_no_learning_rate_in_use() -> None:
    o = torch.optim.SGD([parameter()], lr=0.1, momentum=0.9)
    hooked(o, couple_lr=False)
    o.param_groups[0]["coupled_lr"] = 7.0
    o.step()
    assert "coupled_lr" not in o.param_groups[0]


def test_what_a_hook_wrote_before_a_step_that_raised_is_taken_back() -> None:
    o = torch.optim.SGD([parameter()], lr=0.1, momentum=0.9)
    control = hooked(o)
    control.apply(0.5)
    o.register_step_pre_hook(lambda o, *_: o.param_groups[0].update(lr=5.0))

    def broken() -> float:
        raise ArithmeticError("in the closure")

    with pytest.raises(ArithmeticError):
        o.step(broken)
    control.settle()
    assert o.param_groups[0]["lr"] == 0.1
