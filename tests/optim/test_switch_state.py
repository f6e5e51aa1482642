"""Saved states and arguments of the switch: what continues, what is refused, and in what words."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch

from gap_tune.errors import InvalidValueError, StateError, UnsupportedError
from gap_tune.optim.switch import SwitchAdam, SwitchAdamW, SwitchSGD
from gap_tune.optim.switch.base import SwitchOptimizer
from tests.optim.switching import equal, kinds, tensors
from tests.optim.table import switches

torch.set_num_threads(1)

Maker = Callable[[Any], SwitchOptimizer]
makers = pytest.mark.parametrize(
    "make", [row.make for row in switches()], ids=[row.name for row in switches()]
)


def run(optimizer: torch.optim.Optimizer, steps: range) -> None:
    params = [p for group in optimizer.param_groups for p in group["params"]]
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        for number, parameter in enumerate(params):
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.grad = (noise + (1.0 if step < 7 else -2.0)).to(parameter.dtype)
            if number == step % 4:
                parameter.grad = None
        optimizer.step()


@makers
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_a_state_loads_into_another_dtype(make: Maker, dtype: torch.dtype) -> None:
    optimizer = make(tensors())
    run(optimizer, range(8))
    other = make(tensors(dtype))
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert other.parameter_momenta() == optimizer.parameter_momenta()
    for parameter, state in other.state.items():
        for name, value in state.items():
            assert value.dtype == (torch.float32 if name == "step" else parameter.dtype)
    run(other, range(8, 10))
    assert all(p.isfinite().all() for group in other.param_groups for p in group["params"])


@pytest.mark.parametrize("per_parameter", [False, True])
def test_parameters_added_later_join_the_choice_and_are_saved(per_parameter: bool) -> None:
    def make(params: list[torch.nn.Parameter]) -> SwitchSGD:
        return SwitchSGD(params, lr=0.1, per_parameter=per_parameter, smoothing=0.5)

    params = tensors()
    optimizer = make(params[:2])
    run(optimizer, range(6))
    optimizer.add_param_group({"params": params[2:], "lr": 0.01})
    kept = optimizer.parameter_momenta()[0]
    assert optimizer.parameter_momenta() == [kept, [0.5 if per_parameter else kept[0]]]
    saved = copy.deepcopy(optimizer.state_dict())
    twins = copy.deepcopy(params)
    run(optimizer, range(6, 14))

    resumed = make(twins[:2])
    resumed.add_param_group({"params": twins[2:], "lr": 0.01})
    resumed.load_state_dict(saved)
    run(resumed, range(6, 14))
    assert equal(params, twins)


def state_of(kind: type[SwitchOptimizer], steps: int = 2, **options: Any) -> dict[str, Any]:
    optimizer = kind(tensors(), lr=0.1, **options)
    run(optimizer, range(steps))
    return copy.deepcopy(optimizer.state_dict())


@pytest.mark.parametrize(
    ("saved", "expected"),
    [
        (lambda: state_of(SwitchSGD, momenta=(0.5, 0.9)), r"momenta.*0\.99.*but got.*0\.5, 0\.9\]"),
        (lambda: state_of(SwitchSGD, per_parameter=True), "'per_parameter': True"),
        (lambda: state_of(SwitchAdam), "'SwitchSGD'.*but got.*'SwitchAdam'"),
        (lambda: torch.optim.SGD(tensors(), lr=0.1).state_dict(), "but got.*None"),
        (lambda: change(lambda s: s["gap_tune"].update(version=0)), "'version': 0"),
        (lambda: change(lambda s: s["param_groups"][0]["params"].pop()), r"\[3\].*got \[2\]"),
        (lambda: change(lambda s: s["state"][1].update(exp_avg_sq=torch.ones(()))), "parameter 1"),
        (lambda: change(flatten_a_buffer), r"\(3, 3, 4\).*but got.*\(3, 12\)"),
        (lambda: change(lambda s: s["gap_tune"]["choice"].pop("gains")), "'gains'.*but got None"),
        (lambda: change(widen_the_choice), r"'gains' of shape \(1, 3\), but got \(2, 3\)"),
        (lambda: change(widen_the_streak), r"'streak' of shape \(1,\), but got \(2,\)"),
    ],
)
def test_a_state_of_something_else_is_refused_and_changes_nothing(
    saved: Callable[[], dict[str, Any]], expected: str
) -> None:
    optimizer = SwitchSGD(tensors(), lr=0.1)
    run(optimizer, range(3))
    before = str(optimizer.state_dict())
    with pytest.raises(StateError, match=expected):
        optimizer.load_state_dict(saved())
    assert str(optimizer.state_dict()) == before


def change(how: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    state = state_of(SwitchSGD, steps=3)
    assert state["state"]
    how(state)
    return state


def flatten_a_buffer(state: dict[str, Any]) -> None:
    state["state"][0]["momentum_buffers"] = state["state"][0]["momentum_buffers"].view(3, 12)


def widen_the_choice(state: dict[str, Any]) -> None:
    choice = state["gap_tune"]["choice"]
    for name in ("gains", "index", "streak", "shrink"):
        choice[name] = choice[name].repeat_interleave(2, dim=0)


def widen_the_streak(state: dict[str, Any]) -> None:
    state["gap_tune"]["choice"]["streak"] = torch.zeros(2, dtype=torch.int64)


@kinds
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"lr": -0.1}, r"lr must be a number in \[0, inf\), but got -0\.1"),
        ({"lr": float("nan")}, "lr must be a number"),
        ({"lr": torch.ones(2)}, r"lr must hold one number, but got shape \(2,\)"),
        ({"weight_decay": -1.0}, "weight_decay must be a number in"),
        ({"momenta": ()}, "non-empty sequence of momentum values"),
        ({"momenta": 0.9}, "non-empty sequence of momentum values, but got 0.9"),
        ({"momenta": (0.9, 0.5)}, "must increase strictly"),
        ({"momenta": (0.5, 1.0)}, r"in \[0, 1\), but got 1\.0"),
        ({"per_parameter": 2}, "per_parameter must be True or False, but got 2"),
        ({"smoothing": 1.0}, r"smoothing must be a number in \[0, 1\), but got 1\.0"),
        ({"soft_reset": 1.1}, r"soft_reset must be a number in \[0, 1\], but got 1\.1"),
        ({"hysteresis_threshold": 0}, "hysteresis_threshold must be an integer of at least 1"),
        ({"hysteresis_threshold": 2.5}, "hysteresis_threshold must be an integer"),
    ],
)
def test_arguments_out_of_range_are_refused(
    kind: type[SwitchOptimizer], options: dict[str, Any], expected: str
) -> None:
    with pytest.raises(InvalidValueError, match=expected):
        kind(tensors(), **options)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda p: SwitchSGD(p, dampening=1.5), r"dampening must be a number in \[0, 1\]"),
        (lambda p: SwitchSGD(p, dampening=0.1, nesterov=True), "nesterov needs.*dampening=0.1"),
        (lambda p: SwitchSGD(p, momenta=(0.0, 0.9), nesterov=True), "nesterov needs positive"),
        (lambda p: SwitchAdam(p, beta2=1.0), r"beta2 must be a number in \[0, 1\)"),
        (lambda p: SwitchAdamW(p, eps=-1e-8), r"eps must be a number in \[0, inf\)"),
        (lambda p: SwitchAdam(p, foreach=True, lr=torch.ones(())), "foreach.*float lr"),
    ],
)
def test_each_kinds_own_arguments_are_checked(make: Maker, expected: str) -> None:
    with pytest.raises(InvalidValueError, match=expected):
        make(tensors())


@kinds
@pytest.mark.parametrize("key", ["momentum", "momenta", "betas"])
def test_a_group_with_its_own_momentum_is_refused(kind: type[SwitchOptimizer], key: str) -> None:
    optimizer = kind(tensors(), lr=0.1)
    with pytest.raises(InvalidValueError, match=f"compared across all groups.*got \\['{key}'\\]"):
        optimizer.add_param_group({"params": tensors(), key: 0.9})
    assert len(optimizer.param_groups) == 1


@kinds
@pytest.mark.parametrize("empty", [[], iter(())])
def test_an_empty_parameter_list_is_refused(kind: type[SwitchOptimizer], empty: Any) -> None:
    with pytest.raises(InvalidValueError, match="at least one parameter, but got none"):
        kind(empty)


@kinds
def test_sparse_gradients_are_refused(kind: type[SwitchOptimizer]) -> None:
    embedding = torch.nn.Embedding(5, 2, sparse=True)
    embedding(torch.tensor([1])).sum().backward()
    with pytest.raises(UnsupportedError, match=r"dense gradients, but got layout.*sparse_coo"):
        kind(embedding.parameters()).step()


@kinds
def test_parameters_with_gaps_in_memory_are_refused(kind: type[SwitchOptimizer]) -> None:
    weight = torch.nn.Parameter(torch.ones(4, 6)[:, ::2])
    weight.grad = torch.ones(4, 3)
    with pytest.raises(UnsupportedError, match=r"dense in memory.*strides \(6, 2\)"):
        kind([weight]).step()
