"""Whatever optimizers and wrappers PyTorch trains with, the statistics are the same."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gap_tune import AlignmentRule, AlignmentStatistics, GradientMonitor
from gap_tune.gradients.observer import GradientObserver
from gap_tune.optim import SGD, Adam
from gap_tune.testing import HostReads
from tests.benchmarks.memory import held_bytes
from tests.gradients.device_bank import DeviceObserver
from tests.gradients.monitored import CANDIDATES, assert_matches, monitored


def test_permuting_parameters_changes_nothing_when_all_is_observed() -> None:
    gradients = [torch.randn(6, 12) for _ in range(3)]

    def run(order: tuple[int, ...]) -> AlignmentStatistics:
        parameters = [torch.nn.Parameter(torch.zeros(12)) for _ in order]
        optimizer, monitor = monitored(parameters, sample=None)
        for t in range(6):
            for p, i in zip(parameters, order, strict=True):
                p.grad = gradients[i][t].clone()
            optimizer.step()
        return monitor.statistics()

    assert run((0, 1, 2)).alignment == pytest.approx(run((2, 0, 1)).alignment, rel=1e-5)


@settings(max_examples=25)
@given(st.floats(1e-3, 1e3), st.booleans())
def test_scaling_all_gradients_scales_gains_by_its_square_and_changes_no_decision(
    factor: float, whiten: bool
) -> None:
    # Whitened by c_j, which scales too, gains J = A / sqrt(W) scale by the power 1 + 1/2.
    power = 1.5 if whiten else 2.0
    generator = torch.Generator().manual_seed(3)
    history = torch.randn(12, 30, generator=generator, dtype=torch.float64).add(0.5)

    def run(scale: float) -> AlignmentStatistics:
        parameter = torch.nn.Parameter(torch.zeros(30, dtype=torch.float64))
        options = {"whitening": (0.9,), "eps": 0.0} if whiten else {}
        optimizer, monitor = monitored([parameter], **options)
        for gradient in history:
            parameter.grad = scale * gradient
            optimizer.step()
        return monitor.statistics()

    plain, scaled = run(1.0), run(factor)
    np.testing.assert_allclose(scaled.gain(), factor**power * plain.gain(), rtol=1e-9)
    rule = AlignmentRule()
    assert rule.decide(plain, 0.9).momentum == rule.decide(scaled, 0.9).momentum


def test_accumulated_and_clipped_gradients_are_those_of_the_step() -> None:
    weight = torch.nn.Parameter(torch.ones(10))
    optimizer, monitor = monitored([weight], sample=None)
    history = []
    for _ in range(5):
        optimizer.zero_grad()
        for _ in range(3):
            (weight * torch.randn(10)).sum().backward()
        torch.nn.utils.clip_grad_norm_([weight], 0.5)
        history.append(weight.grad.double().numpy().copy())  # type: ignore[union-attr]
        optimizer.step()
    assert monitor.statistics().steps == 5
    assert_matches(monitor.statistics(), history, 1e-5)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("make", [torch.optim.SGD, torch.optim.AdamW])
def test_grad_scaler_does_not_scale_the_statistics_and_skipped_steps_are_not_observed(
    fused: bool, make: Callable[..., torch.optim.Optimizer]
) -> None:
    weight = torch.nn.Parameter(torch.ones(10))
    optimizer = make([weight], lr=0.0, fused=fused)
    options: dict[str, Any] = {"candidates": CANDIDATES, "decay": 1.0, "whitening": None}
    monitor = GradientMonitor(optimizer, **options)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    history = []
    for t in range(6):
        optimizer.zero_grad()
        noise = torch.randn(10)
        loss = (weight * noise).sum() * (float("inf") if t == 3 else 1.0)
        scaler.scale(loss).backward()
        if t != 3:
            history.append(noise.double().numpy())
        scaler.step(optimizer)
        scaler.update()
    statistics = monitor.statistics()
    assert statistics.steps == 5
    # A step that GradScaler leaves out altogether cannot be seen, and so is not counted.
    assert statistics.skipped_steps == (1 if fused else 0)
    assert_matches(statistics, history, 1e-5)


@pytest.mark.parametrize(
    "make",
    [
        lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9),
        lambda p: torch.optim.Adam(p),
        lambda p: torch.optim.AdamW(p),
        lambda p: torch.optim.NAdam(p),
        lambda p: torch.optim.RMSprop(p, momentum=0.5),
    ],
)
def test_any_torch_optimizer_is_watched_without_changing_it(make: Callable[..., Any]) -> None:
    def run(watch: bool) -> torch.Tensor:
        torch.manual_seed(0)
        weight = torch.nn.Parameter(torch.randn(20))
        optimizer = make([weight])
        monitor = GradientMonitor(optimizer) if watch else None
        for _ in range(5):
            optimizer.zero_grad()
            (weight - torch.randn(20)).pow(2).sum().backward()
            optimizer.step()
        assert monitor is None or monitor.statistics().steps == 5
        return weight.detach()

    assert torch.equal(run(True), run(False))


def test_gradients_of_adam_are_whitened_and_those_of_lion_and_sgd_are_not() -> None:
    import pytorch_optimizer

    def whitening(make: Callable[..., Any], **options: Any) -> float | None:
        weight = torch.nn.Parameter(torch.ones(4))
        optimizer = make([weight], lr=0.01)
        monitor = GradientMonitor(optimizer, **options)
        weight.grad = torch.tensor([1.0, -2.0, 4.0, 0.0])
        optimizer.step()
        return monitor.statistics().whitening

    # After one step c_j = |g_j| + eps; a coordinate without a gradient counts for nothing.
    assert whitening(torch.optim.AdamW) == pytest.approx(1 + 1 / 2 + 1 / 4, rel=1e-5)
    assert whitening(torch.optim.AdamW, whitening=None) is None
    assert whitening(pytorch_optimizer.Lion) is None
    assert whitening(torch.optim.SGD) is None


@pytest.mark.parametrize("name", ["Lion", "AdamP"])
def test_third_party_optimizers_are_watched_and_their_momentum_set(name: str) -> None:
    import pytorch_optimizer

    from gap_tune import apply_momentum

    weight = torch.nn.Parameter(torch.randn(20))
    optimizer = getattr(pytorch_optimizer, name)([weight], lr=0.01)
    monitor = GradientMonitor(optimizer)
    for _ in range(3):
        optimizer.zero_grad()
        weight.pow(2).sum().backward()
        optimizer.step()
    assert monitor.statistics().steps == 3
    apply_momentum(optimizer, 0.7)
    assert optimizer.param_groups[0]["betas"][0] == 0.7


def test_a_state_loads_into_another_precision() -> None:
    def make(dtype: torch.dtype) -> tuple[torch.nn.Parameter, SGD]:
        parameter = torch.nn.Parameter(torch.ones(30, dtype=dtype))
        return parameter, SGD([parameter], lr=0.1, momentum=0.9)

    single, optimizer = make(torch.float32)
    for _ in range(4):
        single.grad = torch.randn(30)
        optimizer.step()
    double, other = make(torch.float64)
    other.load_state_dict(optimizer.state_dict())
    assert other.statistics().alignment == pytest.approx(optimizer.statistics().alignment)
    double.grad = torch.randn(30, dtype=torch.float64)
    other.step()
    assert other.statistics().steps == 5


@pytest.mark.parametrize("copy_of", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_a_copied_optimizer_goes_its_own_way(copy_of: Callable[[Any], Any]) -> None:
    weight = torch.nn.Parameter(torch.ones(5))
    optimizer = Adam([weight])
    copied = copy_of(optimizer)
    copied.param_groups[0]["params"][0].grad = torch.ones(5)
    copied.step()
    assert copied.statistics().steps == 1
    assert optimizer.statistics().steps == 0
    assert torch.equal(weight.detach(), torch.ones(5))


@pytest.mark.parametrize("whitening", [None, (0.9, 0.999)])
def test_observing_never_reads_the_device_between_decisions(
    whitening: tuple[float, ...] | None,
) -> None:
    """On a GPU a read waits; here every read of a value is caught where it happens."""
    parameter = torch.nn.Parameter(torch.zeros(50))
    observer = DeviceObserver([parameter], whitening=whitening)
    for _ in range(40):
        parameter.grad = torch.randn(50)
        found_inf = torch.zeros(())
        with HostReads() as reads:
            observer.observe(found_inf=found_inf)
        assert not reads.found
    with HostReads() as reads:
        float(parameter.grad.sum())  # type: ignore[union-attr]
    assert reads.found
    assert observer.statistics().steps == 40


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_observing_never_waits_for_a_gpu() -> None:
    parameter = torch.nn.Parameter(torch.zeros(50, device="cuda"))
    observer = GradientObserver([parameter], whitening=(0.999,))
    parameter.grad = torch.ones(50, device="cuda")
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(40):
            observer.observe()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert observer.statistics().steps == 40


def test_extra_memory_is_bounded_at_any_model_size() -> None:
    parameters = [torch.nn.Parameter(torch.zeros(4_000_000)) for _ in range(5)]
    candidates = tuple(i / 17 for i in range(16))
    for options in ({}, {"whitening": (0.999,)}):
        observer = GradientObserver(parameters, candidates=candidates, **options)
        for _ in range(20):
            observer.observe()
        assert held_bytes(observer) <= 2 * 2**20
