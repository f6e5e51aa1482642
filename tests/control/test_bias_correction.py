"""Adam's steps when momentum changes, against an average that knows its own weight."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import gap_tune
from gap_tune import apply_momentum
from gap_tune.control import MomentumControl, bias_correction, step_counts
from gap_tune.gradients.step_hooks import hook_step
from gap_tune.optim import AdamW
from tests.tune.alone import order

LR, BETA2, EPS = 0.01, 0.99, 1e-8


class OwnAdam:
    """Adam on one parameter, by hand: averages are divided by the weights that they really hold."""

    def __init__(self, weight: float, decay: float = 0.0, eps: float = EPS) -> None:
        self.weight, self.decay, self.eps = weight, decay, eps
        self.mean = self.square = self.mass = self.square_mass = 0.0

    def step(self, gradient: float, beta1: float, beta2: float = BETA2) -> None:
        self.weight *= 1 - LR * self.decay
        self.mean = beta1 * self.mean + (1 - beta1) * gradient
        self.mass = beta1 * self.mass + (1 - beta1)
        self.square = beta2 * self.square + (1 - beta2) * gradient**2
        self.square_mass = beta2 * self.square_mass + (1 - beta2)
        divisor = np.sqrt(self.square / self.square_mass) + self.eps
        self.weight -= LR * self.mean / self.mass / divisor


def parameters(count: int) -> list[torch.nn.Parameter]:
    return [torch.nn.Parameter(torch.ones(3, dtype=torch.float64)) for _ in range(count)]


def adam(groups: Any, kind: type[torch.optim.Optimizer] = torch.optim.AdamW, **options: Any) -> Any:
    defaults: dict[str, Any] = {"lr": LR, "betas": (0.9, BETA2), "eps": EPS, "weight_decay": 0.0}
    return kind(groups, **{**defaults, **options})


def controlled(optimizer: torch.optim.Optimizer) -> MomentumControl:
    control = MomentumControl(optimizer)
    hook_step(optimizer, before=control.before_step, after=control.after_step)
    optimizer.register_load_state_dict_post_hook(control.after_load)
    return control


def step(optimizer: Any, gradients: dict[torch.nn.Parameter, float]) -> None:
    optimizer.zero_grad()
    for parameter, value in gradients.items():
        parameter.grad = torch.full_like(parameter, value)
    optimizer.step()


schedules = st.lists(
    st.tuples(
        # Which of four parameters have a gradient, and the momentum of the step.
        st.lists(st.booleans(), min_size=4, max_size=4),
        st.sampled_from([0.0, 0.5, 0.9, 0.99]),
    ),
    min_size=1,
    max_size=30,
)


@pytest.mark.parametrize("options", [{}, {"foreach": True}, {"fused": True}], ids=str)
@pytest.mark.parametrize("decay", [0.0, 0.3])
@settings(max_examples=25, deadline=None)
@given(schedule=schedules)
def test_bug_every_parameter_has_its_own_correction_whatever_its_history(
    options: dict[str, Any], decay: float, schedule: list[tuple[list[bool], float]]
) -> None:
    params = parameters(4)
    optimizer = adam(
        [{"params": params[:3]}, {"params": params[3:]}], weight_decay=decay, **options
    )
    control = controlled(optimizer)
    own = [OwnAdam(1.0, decay) for _ in params]
    for t, (present, beta1) in enumerate(schedule):
        if control.differs(beta1):
            control.apply(beta1)
        gradients = {p: float(np.sin(t + i)) for i, p in enumerate(params) if present[i]}
        step(optimizer, gradients)
        for i, parameter in enumerate(params):
            if parameter in gradients:
                own[i].step(gradients[parameter], beta1)
            np.testing.assert_allclose(parameter.detach().numpy(), own[i].weight, rtol=1e-9)
    assert [group["params"] for group in optimizer.param_groups] == [params[:3], params[3:]]
    assert all(group["lr"] == LR for group in optimizer.param_groups)
    assert all(group["weight_decay"] == decay for group in optimizer.param_groups)


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


@pytest.fixture
def on_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Treat the optimizer's counts as if reading them meant waiting for an accelerator."""
    for module in (bias_correction, step_counts):
        monkeypatch.setattr(module, "on_host", lambda tensor: False)


@pytest.mark.usefixtures("on_a_device")
@pytest.mark.parametrize("decay", [0.0, 0.3])
@settings(max_examples=25, deadline=None)
@given(schedule=schedules)
def test_counts_on_a_device_are_followed_without_reading_them_at_a_step(
    decay: float, schedule: list[tuple[list[bool], float]]
) -> None:
    params = parameters(4)
    optimizer = adam(params, fused=True, weight_decay=decay)
    control = controlled(optimizer)
    own = [OwnAdam(1.0, decay) for _ in params]
    for t, (present, beta1) in enumerate(schedule):
        if control.differs(beta1):
            control.apply(beta1)
        gradients = {p: float(np.sin(t + i)) for i, p in enumerate(params) if present[i]}
        step(optimizer, gradients)
        for i, parameter in enumerate(params):
            if parameter in gradients:
                own[i].step(gradients[parameter], beta1)
            np.testing.assert_allclose(parameter.detach().numpy(), own[i].weight, rtol=1e-9)


@pytest.mark.usefixtures("on_a_device")
@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_steps_that_the_grad_scaler_skips_on_a_device_are_no_steps(decay: float) -> None:
    params = parameters(2)
    optimizer = adam(params, fused=True, weight_decay=decay)
    control = controlled(optimizer)
    own = [OwnAdam(1.0, decay) for _ in params]
    optimizer.grad_scale = torch.ones(())
    for t in range(30):
        if t in (4, 11, 20):
            control.apply({4: 0.5, 11: 0.99, 20: 0.8}[t])
        skipped = t in (0, 5, 6, 12, 13, 21)
        optimizer.found_inf = torch.tensor(float(skipped))
        gradients = {params[0]: 1.0 + t} | ({params[1]: -1.0} if t >= 9 else {})
        step(optimizer, gradients)
        for i, parameter in enumerate(params):
            if parameter in gradients and not skipped:
                own[i].step(gradients[parameter], control.momentum)
            np.testing.assert_allclose(parameter.detach().numpy(), own[i].weight, rtol=1e-5)


def test_the_self_tuning_optimizer_corrects_each_parameter(make: Callable[..., AdamW]) -> None:
    params = parameters(2)
    optimizer = make(params)
    own = [OwnAdam(1.0) for _ in params]
    for t in range(40):
        gradients = {params[0]: float(np.sin(t))} | ({params[1]: 1.0} if t >= 25 else {})
        step(optimizer, gradients)
        for i, parameter in enumerate(params):
            if parameter in gradients:
                own[i].step(gradients[parameter], optimizer.momentum)
            np.testing.assert_allclose(parameter.detach().numpy(), own[i].weight, rtol=1e-9)


@pytest.fixture
def make() -> Callable[..., AdamW]:
    from tests.optim.test_compile import Walk

    return lambda params: AdamW(
        params, lr=LR, betas=(0.9, BETA2), eps=EPS, weight_decay=0.0, rule=Walk(13)
    )


@pytest.mark.parametrize("kind", [torch.optim.AdamW, torch.optim.Adamax, torch.optim.RAdam])
def test_bug_momentum_set_once_by_hand_must_not_enlarge_the_steps(
    kind: type[torch.optim.Optimizer],
) -> None:
    def run(change: bool) -> torch.Tensor:
        params = parameters(2)
        optimizer = adam(params, kind)
        for t in range(30):
            if change and t == 10:
                apply_momentum(optimizer, 0.99)
            step(optimizer, {params[0]: 1.0} | ({params[1]: 1.0} if t >= 8 else {}))
        return torch.stack([p.detach() for p in params])

    torch.testing.assert_close(run(True), run(False))


def test_momentum_set_by_hand_is_the_control_s_where_there_is_one() -> None:
    (parameter,) = parameters(1)
    optimizer = adam([parameter])
    control = controlled(optimizer)
    for _ in range(10):
        step(optimizer, {parameter: 1.0})
    apply_momentum(optimizer, 0.99)
    before = parameter.detach().clone()
    step(optimizer, {parameter: 1.0})
    assert control.momentum == 0.99
    np.testing.assert_allclose((before - parameter.detach()).numpy(), LR, rtol=1e-6)


def test_bug_an_optimizer_that_is_let_go_takes_no_larger_steps() -> None:
    (parameter,) = parameters(1)
    optimizer = adam([parameter])
    trial = gap_tune.attach(optimizer, {"gap": {"mode": "scheduler"}})
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


@pytest.mark.parametrize("eps", [1e-8, 0.1])
def test_bug_a_beta2_that_changes_is_corrected_as_well(eps: float) -> None:
    params = parameters(2)
    optimizer = adam(params, betas=(0.9, 0.9), eps=eps)
    control = controlled(optimizer)
    control.apply(0.8)
    own = [OwnAdam(1.0, eps=eps) for _ in params]
    for t in range(30):
        beta2 = 0.9 if t < 10 else 0.999 if t < 20 else 0.95
        control.apply_beta2(beta2)
        gradients = {params[0]: float(np.sin(t))} | ({params[1]: 1.0} if t >= 7 else {})
        step(optimizer, gradients)
        for i, parameter in enumerate(params):
            if parameter in gradients:
                own[i].step(gradients[parameter], 0.8, beta2)
            np.testing.assert_allclose(parameter.detach().numpy(), own[i].weight, rtol=1e-9)
    assert optimizer.param_groups[0]["eps"] == eps


def test_bug_the_self_tuning_optimizer_s_beta2_is_corrected() -> None:
    (parameter,) = parameters(1)
    optimizer = AdamW(
        [parameter], lr=LR, betas=(0.9, 0.9), weight_decay=0.0, beta2_candidates=(0.5, 0.9, 0.999)
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
