from __future__ import annotations

import warnings

import pytest
import torch

from gap_tune import apply_momentum
from gap_tune.control import MomentumControl, group_momentum
from gap_tune.errors import InvalidValueError, UnsupportedError
from gap_tune.gradients.step_hooks import hook_step
from gap_tune.theory.families import register
from tests.control.hooked import hooked, parameter


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


def test_bug_a_group_that_joins_later_belongs_to_the_tuning_from_its_first_step() -> None:
    first, second = parameter(), parameter()
    o = torch.optim.SGD([first], lr=0.1, momentum=0.9)
    control = hooked(o)
    control.apply(0.6)
    o.step()
    o.add_param_group({"params": [second], "lr": 0.2})
    state = control.state_dict()
    assert o.param_groups[1]["momentum"] == 0.6
    assert state["references"] == {0: 0.9, 1: 0.9}
    o.step()
    coupled = 0.2 * ((1 - 0.6**2) / (1 - 0.9**2)) ** 0.5
    torch.testing.assert_close(second.detach(), torch.full((3,), 1 - coupled))
    assert o.param_groups[1]["lr"] == 0.2


def test_a_group_that_joins_before_any_decision_keeps_its_own_momentum() -> None:
    o = torch.optim.SGD([parameter()], lr=0.1, momentum=0.9)
    control = hooked(o)
    o.step()
    o.add_param_group({"params": [parameter()], "momentum": 0.5})
    o.step()
    assert [g["momentum"] for g in o.param_groups] == [0.9, 0.5]
    control.apply(0.8)
    assert [g["momentum"] for g in o.param_groups] == [0.8, 0.8]
    assert [g["reference_momentum"] for g in o.param_groups] == [0.9, 0.5]


@pytest.mark.parametrize("groups", [1, 3])
def test_a_control_s_state_loads_beside_another_number_of_groups(groups: int) -> None:
    o = torch.optim.SGD([{"params": [parameter()]} for _ in range(2)], lr=0.1, momentum=0.9)
    control = hooked(o)
    control.apply(0.6)
    other = torch.optim.SGD(
        [{"params": [parameter()]} for _ in range(groups)], lr=0.1, momentum=0.5
    )
    loaded = hooked(other)
    loaded.load_state_dict(control.state_dict())
    other.step()
    assert [g["momentum"] for g in other.param_groups] == [0.6] * groups
    assert [g["reference_momentum"] for g in other.param_groups] == [0.9, 0.9, 0.5][:groups]


def test_bug_the_reference_survives_a_state_that_torch_saved() -> None:
    o = torch.optim.SGD([parameter()], lr=0.1, momentum=0.9)
    plain = torch.optim.SGD([parameter()], lr=0.3, momentum=0.5)
    plain.step()
    control = hooked(o, reference_momentum=0.8)
    o.register_load_state_dict_post_hook(control.after_load)
    o.load_state_dict(plain.state_dict())
    assert control.momentum == 0.5
    assert o.param_groups[0]["reference_momentum"] == 0.8


class Strange(torch.optim.Optimizer):
    """An optimizer of one's own, with its own bias correction."""

    def __init__(self, params: object, **options: object) -> None:
        super().__init__(params, {"lr": 0.1, "betas": (0.9, 0.99), **options})  # type: ignore[arg-type]

    def step(self) -> None:  # type: ignore[override]
        """Do nothing."""


class HomemadeMuon(torch.optim.Optimizer):
    """As found in training scripts: an orthogonalised momentum."""

    def __init__(self, params: object) -> None:
        super().__init__(params, {"lr": 0.02, "momentum": 0.95, "nesterov": True, "ns_steps": 5})  # type: ignore[arg-type]

    def step(self) -> None:  # type: ignore[override]
        """Do nothing."""


class Registered(Strange):
    """One that the table is told of."""


def test_bug_an_optimizer_of_unknown_bias_correction_is_refused() -> None:
    with pytest.raises(UnsupportedError, match=r"table of families.*but got Strange.*register"):
        MomentumControl(Strange([parameter()]))
    assert not MomentumControl(HomemadeMuon([parameter()])).couples
    register(Registered, like="AdamW")
    assert not MomentumControl(Registered([parameter()])).couples


def test_bug_the_learning_rate_of_a_step_of_fixed_size_is_not_coupled() -> None:
    weight = torch.nn.Parameter(torch.randn(4, 4))
    weight.grad = torch.randn(4, 4)
    o = torch.optim.Muon([weight], lr=0.1, momentum=0.9)
    control = hooked(o)
    control.apply(0.5)
    before = weight.detach().clone()
    o.step()
    changed = (before - weight.detach()).norm()
    same = torch.nn.Parameter(before.clone())
    same.grad = weight.grad
    torch.optim.Muon([same], lr=0.1, momentum=0.5).step()
    torch.testing.assert_close(changed, (before - same.detach()).norm())


def test_bug_the_scale_leaves_the_decoupled_weight_decay_of_muon_alone() -> None:
    weight = torch.nn.Parameter(torch.ones(4, 4))
    # The orthogonalised step of no gradient is none: what moves the weight is its decay.
    weight.grad = torch.zeros(4, 4)
    o = torch.optim.Muon([weight], lr=0.1, weight_decay=0.5)
    control = hooked(o)
    control.scale = 0.25
    o.step()
    torch.testing.assert_close(weight.detach(), torch.full((4, 4), 1.0 - 0.1 * 0.5))
    assert o.param_groups[0]["lr"] == 0.1
    assert o.param_groups[0]["weight_decay"] == 0.5


@pytest.mark.parametrize("kind", [torch.optim.RMSprop, torch.optim.SGD])
def test_sums_of_gradients_are_coupled(kind: type[torch.optim.Optimizer]) -> None:
    assert MomentumControl(kind([parameter()], lr=0.1, momentum=0.9)).couples  # type: ignore[call-arg]


def test_bug_the_momentum_that_trained_is_not_what_a_schedule_has_written_since() -> None:
    o = torch.optim.SGD([parameter()], lr=0.1, momentum=0.95)
    control = hooked(o)
    schedule = torch.optim.lr_scheduler.OneCycleLR(o, max_lr=0.1, total_steps=10)
    used: list[float] = []
    # Registered later, but what it sees is what the step used.
    o.register_step_post_hook(lambda o, *_: used.append(o.param_groups[0]["momentum"]))
    for t in range(6):
        if t == 3:
            control.apply(0.5)
            assert control.momentum == 0.5
            assert control.trained_momentum == used[-1]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            o.step()
        schedule.step()
        assert control.trained_momentum == used[-1] != o.param_groups[0]["momentum"]
        if t >= 3:
            assert control.momentum == used[-1] == 0.5
            assert not control.differs(0.5)


def test_bug_what_a_hook_writes_after_the_step_did_not_train() -> None:
    o = torch.optim.SGD([parameter()], lr=0.1, momentum=0.9)

    def write(optimizer: torch.optim.Optimizer, *_: object) -> None:
        optimizer.param_groups[0]["momentum"] = 0.1

    # There before ours.
    o.register_step_post_hook(write)
    control = MomentumControl(o)
    hook_step(o, before=control.before_step, after=control.after_step)
    o.step()
    assert control.trained_momentum == 0.9


def test_bug_a_checkpoint_of_an_earlier_version_enlarged_adams_steps() -> None:
    """There, the total weight of an average was saved by group, with the steps of the group."""
    p, late = parameter(), parameter()
    late.grad = None
    optimizer = torch.optim.Adam([p, late], lr=0.01, betas=(0.5, 0.999))
    control = hooked(optimizer)
    weight = 0.0
    for step in range(1, 13):
        if step == 11:
            control.apply(0.99)
        late.grad = None if step < 8 else torch.ones(3)
        optimizer.step()
        weight = group_momentum(optimizer.param_groups[0]) * (weight - 1.0) + 1.0
    state = control.state_dict()
    again = torch.optim.Adam([p, late], lr=0.01, betas=(0.5, 0.999))
    resumed = hooked(again)
    again.load_state_dict(optimizer.state_dict())
    resumed.load_state_dict(
        {"applied": state["applied"] | {0: 0.99}, "averages": {0: (12, weight)}}
    )
    for _ in range(3):
        before = p.detach().clone()
        again.step()
        # The gradient has always been 1, so that each step is one of the learning rate.
        assert torch.allclose(before - p.detach(), torch.full((3,), 0.01), rtol=1e-4)


def test_a_warm_up_of_momentum_is_kept_until_the_first_change_which_is_said_once() -> None:
    o = torch.optim.SGD([parameter()], lr=0.1, momentum=0.9)
    control = hooked(o)
    used = []
    o.register_step_post_hook(lambda o, *_: used.append(o.param_groups[0]["momentum"]))

    def warm_up(momenta: list[float]) -> None:
        for momentum in momenta:
            o.param_groups[0]["momentum"] = momentum
            o.step()

    sentence = (
        r"^a learning-rate scheduler or the training code also sets momentum; gap_tune's value is "
        r"kept from its first change on, and the other's until then, as in a warm-up: pass "
        r"cycle_momentum=False to OneCycleLR or CyclicLR\.$"
    )
    with pytest.warns(UserWarning, match=sentence):
        warm_up([0.8, 0.82, 0.84])
    assert control.trained_momentum == 0.84
    control.apply(0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warm_up([0.86, 0.88])
    assert used == [0.8, 0.82, 0.84, 0.5, 0.5]


def test_momentum_that_a_loaded_state_brings_is_no_training_codes() -> None:
    o = torch.optim.SGD([parameter()], lr=0.1, momentum=0.9)
    control = hooked(o)
    o.register_load_state_dict_post_hook(control.after_load)
    other = torch.optim.SGD([parameter()], lr=0.1, momentum=0.8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        o.step()
        o.load_state_dict(other.state_dict())
        o.step()
