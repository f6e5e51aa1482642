from __future__ import annotations

import pytest
import torch

from gap_tune import apply_momentum
from gap_tune.errors import InvalidValueError, UnsupportedError
from gap_tune.control import MomentumControl, group_momentum


def parameter() -> torch.nn.Parameter:
    p = torch.nn.Parameter(torch.ones(3))
    p.grad = torch.ones(3)
    return p


def hooked(optimizer: torch.optim.Optimizer, **options: object) -> MomentumControl:
    control = MomentumControl(optimizer, **options)  # type: ignore[arg-type]
    optimizer.register_step_pre_hook(control.before_step)
    optimizer.register_step_post_hook(control.after_step)
    return control


@pytest.mark.parametrize(
    ("optimizer", "read"),
    [
        (torch.optim.SGD, lambda g: g["momentum"]),
        (torch.optim.RMSprop, lambda g: g["momentum"]),
        (torch.optim.Adam, lambda g: g["betas"][0]),
        (torch.optim.NAdam, lambda g: g["betas"][0]),
    ],
)
def test_the_right_key_is_set(optimizer: type[torch.optim.Optimizer], read: object) -> None:
    o = optimizer([parameter()], lr=0.1)  # type: ignore[call-arg]
    apply_momentum(o, 0.75)
    assert read(o.param_groups[0]) == 0.75  # type: ignore[operator]
    assert group_momentum(o.param_groups[0]) == 0.75


def test_an_optimizer_without_momentum_is_refused() -> None:
    with pytest.raises(UnsupportedError, match=r"'momentum'.*'betas'"):
        apply_momentum(torch.optim.Adagrad([parameter()]), 0.5)


@pytest.mark.parametrize("value", [-0.1, 1.0, float("nan"), "0.9", None, True])
def test_a_momentum_out_of_range_is_refused_and_changes_nothing(value: object) -> None:
    o = torch.optim.SGD([parameter()], lr=0.1, momentum=0.9)
    with pytest.raises(InvalidValueError, match=r"momentum must be a number in \[0, 1\)"):
        apply_momentum(o, value)  # type: ignore[arg-type]
    assert o.param_groups[0]["momentum"] == 0.9


def test_bug_momentum_zero_must_not_leave_a_buffer_that_a_later_momentum_revives() -> None:
    p = parameter()
    o = torch.optim.SGD([p], lr=0.0, momentum=0.9)
    o.step()
    apply_momentum(o, 0.0)
    p.grad = -torch.ones(3)
    o.step()
    apply_momentum(o, 0.9)
    o.step()
    assert torch.equal(o.state[p]["momentum_buffer"], -torch.ones(3))


def test_the_step_uses_the_coupled_learning_rate_and_the_group_keeps_the_reference() -> None:
    p = parameter()
    o = torch.optim.SGD([p], lr=0.1, momentum=0.9)
    control = hooked(o)
    control.apply(0.6)
    o.step()
    coupled = 0.1 * ((1 - 0.6**2) / (1 - 0.9**2)) ** 0.5
    torch.testing.assert_close(p.detach(), torch.full((3,), 1 - coupled))
    assert o.param_groups[0]["lr"] == 0.1
    assert o.param_groups[0]["coupled_lr"] == pytest.approx(coupled)


def test_bug_a_learning_rate_schedule_must_not_compound_with_the_coupling() -> None:
    def lrs(couple: bool) -> list[float]:
        o = torch.optim.SGD([parameter()], lr=0.1, momentum=0.9)
        control = hooked(o, couple_lr=couple)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(o, T_max=10)
        seen = []
        for t in range(10):
            control.apply(0.5 if t % 2 else 0.95)
            o.step()
            schedule.step()
            seen.append(o.param_groups[0]["lr"])
        return seen

    assert lrs(True) == lrs(False)


def test_bug_a_step_that_raised_must_not_leave_the_coupled_learning_rate_behind() -> None:
    o = torch.optim.SGD([parameter()], lr=0.1, momentum=0.9)
    control = hooked(o)
    control.apply(0.5)

    def closure() -> float:
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        o.step(closure)
    o.step()
    assert o.param_groups[0]["lr"] == 0.1


def test_a_tensor_learning_rate_is_written_in_place() -> None:
    lr = torch.tensor(0.1)
    p = parameter()
    o = torch.optim.SGD([p], lr=lr, momentum=0.9, foreach=False)
    hooked(o).apply(0.6)
    o.step()
    assert o.param_groups[0]["lr"] is lr
    assert lr.item() == pytest.approx(0.1)
    assert p.detach()[0].item() == pytest.approx(1 - 0.1 * (0.64 / 0.19) ** 0.5)


def test_adam_is_not_coupled_by_default() -> None:
    assert not MomentumControl(torch.optim.Adam([parameter()])).couples
    assert MomentumControl(torch.optim.SGD([parameter()], lr=0.1)).couples
