"""The switch where PyTorch trains: devices, schedulers, closures, compilers, shards."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import distributed as dist
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import Shard, distribute_tensor

from gap_tune.errors import UnsupportedError
from gap_tune.optim.reference import ReferenceSwitchSGD
from gap_tune.optim.switch import SwitchAdam, SwitchAdamW, SwitchSGD
from gap_tune.optim.switch.base import SwitchOptimizer
from gap_tune.optim.switch.buffers import inner_products
from tests.optim.switching import (
    kinds,
    per_parameter,
    run,
    set_gradients,
    tensors,
)

torch.set_num_threads(1)


@kinds
@pytest.mark.parametrize("lr", [0.1, torch.tensor(0.1, dtype=torch.float64)])
def test_the_learning_rate_of_a_scheduler_is_used(kind: type[SwitchOptimizer], lr: Any) -> None:
    def train(scheduled: bool) -> torch.nn.Parameter:
        weight = torch.nn.Parameter(torch.ones(3, dtype=torch.float64))
        optimizer = kind([weight], lr=copy.deepcopy(lr))
        scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.5)
        for step in range(4):
            weight.grad = torch.full_like(weight, 1.0 + step)
            if not scheduled:
                optimizer.param_groups[0]["lr"] = 0.1 * 0.5**step
            optimizer.step()
            if scheduled:
                scheduler.step()
        return weight

    torch.testing.assert_close(train(True), train(False), rtol=1e-12, atol=1e-12)


@kinds
def test_one_cycle_without_momentum_works_and_with_momentum_torch_refuses(
    kind: type[SwitchOptimizer],
) -> None:
    optimizer = kind(tensors(), lr=0.1)
    options = {"max_lr": 0.1, "total_steps": 10}
    torch.optim.lr_scheduler.OneCycleLR(optimizer, cycle_momentum=False, **options)
    with pytest.raises(ValueError, match="momentum"):
        torch.optim.lr_scheduler.OneCycleLR(optimizer, **options)


@kinds
@per_parameter
def test_a_device_without_data_can_step(
    kind: type[SwitchOptimizer], per_parameter: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Meta tensors have nothing to read: the whole step is decided on the device, by shapes."""
    calls: list[int] = []
    monkeypatch.setattr(torch, "_fused_sgd_", lambda weights, *_, **__: calls.append(len(weights)))
    params = [torch.nn.Parameter(torch.empty(s, device="meta")) for s in ((3, 4), (), (5,))]
    optimizer = kind(params, lr=0.1, per_parameter=per_parameter)
    for _ in range(3):
        for parameter in params:
            parameter.grad = torch.empty_like(parameter)
        optimizer.step()
    if kind is SwitchSGD:
        assert calls == 3 * ([1] * 9 if per_parameter else [3] * 3)


@pytest.mark.parametrize("kind", [SwitchSGD, SwitchAdamW])
def test_a_compiled_training_step_calls_the_switch(kind: type[SwitchOptimizer]) -> None:
    params, others = tensors(), tensors()
    eager, compiled = kind(params, lr=0.1), kind(others, lr=0.1)
    step = torch.compile(compiled.step, backend="aot_eager")
    for number in range(4):
        set_gradients(params, number)
        set_gradients(others, number)
        eager.step()
        step()
        for mine, its in zip(params, others, strict=True):
            torch.testing.assert_close(mine, its)
    torch.compiler.reset()


def test_inner_products_agree_between_devices() -> None:
    class Elsewhere(torch.Tensor):
        is_cpu = False

    buffers = torch.randn(3, 100, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    vector = buffers.sum(0)
    elsewhere = inner_products(buffers.as_subclass(Elsewhere), vector)
    torch.testing.assert_close(inner_products(buffers, vector), elsewhere.as_subclass(torch.Tensor))


@pytest.fixture
def mesh() -> Iterator[DeviceMesh]:
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield DeviceMesh("cpu", [0])
    dist.destroy_process_group()


def test_sharded_parameters_are_refused_unless_torch_steps_them(mesh: DeviceMesh) -> None:
    def sharded() -> torch.nn.Parameter:
        weight = torch.nn.Parameter(distribute_tensor(torch.ones(4, 2), mesh, [Shard(0)]))
        weight.grad = distribute_tensor(torch.ones(4, 2), mesh, [Shard(0)])
        return weight

    with pytest.raises(UnsupportedError, match="whole on each rank, but got a DTensor"):
        SwitchSGD([sharded()]).step()
    weight = sharded()
    optimizer = SwitchAdam([weight], lr=0.5, momenta=(0.9,))
    optimizer.step()
    torch.testing.assert_close(weight.detach().full_tensor(), torch.full((4, 2), 0.5))
    again = SwitchAdam([sharded()], lr=0.5, momenta=(0.9,))
    again.load_state_dict(optimizer.state_dict())


@pytest.mark.parametrize(("kind", "numbers"), [(SwitchSGD, 3), (SwitchAdam, 4), (SwitchAdamW, 4)])
def test_state_holds_the_stated_numbers_per_weight(
    kind: type[SwitchOptimizer], numbers: int
) -> None:
    params = tensors()
    optimizer = kind(params, lr=0.1)
    run(optimizer, params, range(2))
    held = sum(v.numel() for s in optimizer.state.values() for k, v in s.items() if k != "step")
    assert held == numbers * sum(p.numel() for p in params)


def test_momentum_per_parameter_is_the_mean_over_coordinates() -> None:
    long, short = torch.nn.Parameter(torch.zeros(3)), torch.nn.Parameter(torch.zeros(1))
    optimizer = SwitchSGD([{"params": [long]}, {"params": [short]}], lr=0.1, per_parameter=True)
    assert optimizer.momentum == 0.5
    for step in range(30):
        long.grad, short.grad = torch.ones(3), torch.full((1,), (-1.0) ** step)
        optimizer.step()
    assert optimizer.parameter_momenta() == [[0.9], [0.5]]
    assert optimizer.momentum == pytest.approx((3 * 0.9 + 0.5) / 4)


def test_a_small_network_learns_as_the_oracle_does() -> None:
    """Gradients from autograd on a moving network, float32 against the double-precision loop."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
    inputs, targets = torch.randn(64, 4), torch.randn(64, 1)
    params = list(model.parameters())
    optimizer = SwitchSGD(params, lr=0.02)
    oracle = ReferenceSwitchSGD([p.detach().numpy() for p in params], lr=0.02)
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        loss = (model(inputs) - targets).square().mean()
        loss.backward()
        oracle.step([p.grad.numpy() for p in params])
        optimizer.step()
        losses.append(loss.item())
    for parameter, weights in zip(params, oracle.weights, strict=True):
        np.testing.assert_allclose(parameter.detach(), weights, rtol=1e-3, atol=1e-5)
    assert losses[-1] < 0.9 * losses[0]
