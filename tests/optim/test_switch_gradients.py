"""Gradients as training brings them to a switch: odd, missing, of any dtype and layout."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from gap_tune.optim.switch import SwitchSGD
from gap_tune.optim.switch.base import SwitchOptimizer
from tests.optim.switching import (
    equal,
    kinds,
    per_parameter,
    run,
    set_gradients,
    tensors,
)

torch.set_num_threads(1)


@kinds
@per_parameter
def test_a_step_with_a_non_finite_gradient_is_not_observed(
    kind: type[SwitchOptimizer], per_parameter: bool
) -> None:
    for bad in (float("nan"), float("inf"), -float("inf")):
        params = tensors()
        optimizer = kind(params, lr=0.01, smoothing=0.9, per_parameter=per_parameter)
        run(optimizer, params, range(30))
        chosen, gains = optimizer.parameter_momenta(), optimizer.state_dict()["gap_tune"]["choice"]
        set_gradients(params, 30)
        params[0].grad[1, 2] = bad
        optimizer.step()
        after = optimizer.state_dict()["gap_tune"]["choice"]
        assert optimizer.parameter_momenta()[0][0] == chosen[0][0]
        assert torch.equal(after["gains"][0], gains["gains"][0])
        assert torch.equal(after["streak"][0], gains["streak"][0])
        assert optimizer.skipped_steps == 1
        # As in torch, the gradient does reach the weights, and the tensors without it train on.
        assert not params[0][1, 2].isfinite()
        assert params[0].isfinite().sum() == 11
        run(optimizer, params, range(31, 34))
        assert params[2].isfinite().all()
        assert optimizer.skipped_steps == 4


@kinds
def test_a_gradient_too_large_for_an_inner_product_is_not_observed(
    kind: type[SwitchOptimizer],
) -> None:
    params = tensors()
    optimizer = kind(params, lr=1e-30)
    for parameter in params:
        parameter.grad = torch.full_like(parameter, 3e38)
    optimizer.step()
    assert optimizer.skipped_steps == 1
    assert optimizer.momentum == 0.5


@kinds
def test_grad_scaler_skips_a_step_and_the_run_is_that_without_it(
    kind: type[SwitchOptimizer],
) -> None:
    params, others = tensors(), tensors()
    scaled, plain = kind(params, lr=0.01), kind(others, lr=0.01)
    scaler = torch.amp.GradScaler("cpu", init_scale=256.0)
    for step in range(8):
        scaler.scale(torch.zeros(()))
        set_gradients(params, step)
        for parameter in params:
            parameter.grad.mul_(scaler.get_scale())
        if step == 3:
            params[1].grad.fill_(float("inf"))
        scaler.step(scaled)
        scaler.update()
        if step != 3:
            set_gradients(others, step)
            plain.step()
    assert equal(params, others)
    assert scaled.skipped_steps == 0
    assert scaled.momentum == plain.momentum


@kinds
@per_parameter
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_follows_single_precision_within_its_rounding(
    kind: type[SwitchOptimizer], per_parameter: bool, dtype: torch.dtype
) -> None:
    halves = tensors(dtype)
    singles = [torch.nn.Parameter(p.detach().float()) for p in halves]
    eps = {} if kind is SwitchSGD else {"eps": 1e-6}
    options: dict[str, Any] = {"lr": 0.01, "per_parameter": per_parameter, **eps}
    half, single = kind(halves, **options), kind(singles, **options)
    for step in range(20):
        set_gradients(halves, step)
        for parameter, twin in zip(halves, singles, strict=True):
            twin.grad = parameter.grad.float()
        half.step()
        single.step()
    assert half.parameter_momenta() == single.parameter_momenta()
    for parameter, twin in zip(halves, singles, strict=True):
        assert half.state[parameter]["momentum_buffers"].dtype == dtype
        atol = 40 * torch.finfo(dtype).eps
        torch.testing.assert_close(parameter.float(), twin, rtol=atol, atol=atol)


@kinds
def test_mixed_dtypes_share_one_choice(kind: type[SwitchOptimizer]) -> None:
    kinds_of_float = (torch.float64, torch.float32, torch.bfloat16)
    params = [torch.nn.Parameter(torch.ones(4, dtype=dtype)) for dtype in kinds_of_float]
    optimizer = kind(params, lr=0.01)
    for _ in range(30):
        for parameter in params:
            parameter.grad = torch.ones_like(parameter)
        optimizer.step()
    assert optimizer.momentum == 0.9
    torch.testing.assert_close(params[0].float(), params[1].detach())


@kinds
@per_parameter
def test_complex_parameters_are_pairs_of_real_ones(
    kind: type[SwitchOptimizer], per_parameter: bool
) -> None:
    generator = torch.Generator().manual_seed(0)
    pairs = torch.nn.Parameter(torch.randn(3, 4, 2, generator=generator, dtype=torch.float64))
    number = torch.nn.Parameter(torch.view_as_complex(pairs.detach().clone()))
    real = kind([pairs], lr=0.1, weight_decay=0.1, per_parameter=per_parameter)
    imaginary = kind([number], lr=0.1, weight_decay=0.1, per_parameter=per_parameter)
    for step in range(12):
        pairs.grad = torch.randn(3, 4, 2, generator=generator, dtype=torch.float64) + step / 6
        number.grad = torch.view_as_complex(pairs.grad)
        real.step()
        imaginary.step()
    assert torch.equal(torch.view_as_real(number), pairs)
    assert imaginary.momentum == real.momentum


@kinds
def test_memory_format_changes_nothing_even_in_mid_training(kind: type[SwitchOptimizer]) -> None:
    def convolution() -> torch.nn.Parameter:
        generator = torch.Generator().manual_seed(0)
        return torch.nn.Parameter(torch.randn(4, 3, 2, 5, generator=generator, dtype=torch.float64))

    expected, changing = convolution(), convolution()
    plain, changed = kind([expected], lr=0.1), kind([changing], lr=0.1)
    for step in range(12):
        generator = torch.Generator().manual_seed(step)
        gradient = torch.randn(4, 3, 2, 5, generator=generator, dtype=torch.float64) + 0.5
        if step == 4:
            changing.data = changing.data.to(memory_format=torch.channels_last)
        if step == 8:
            changing.data = changing.data.contiguous()
        expected.grad = gradient
        # Autograd may hand over another layout than the parameter's.
        channels_last = gradient.to(memory_format=torch.channels_last)
        changing.grad = channels_last if step % 2 else gradient.clone()
        plain.step()
        changed.step()
        torch.testing.assert_close(changing, expected, rtol=1e-12, atol=1e-12)
        assert changed.momentum == plain.momentum


@kinds
def test_frozen_and_gradientless_parameters_stay_and_keep_their_buffers(
    kind: type[SwitchOptimizer],
) -> None:
    params = tensors()
    params[0].requires_grad_(False)
    optimizer = kind(params, lr=0.1)
    set_gradients(params[1:], 0)
    optimizer.step()
    buffers = optimizer.state[params[1]]["momentum_buffers"].clone()
    before = copy.deepcopy(params)
    params[1].grad = None
    optimizer.step()
    assert equal(params[:2], before[:2])
    assert not torch.equal(params[2], before[2])
    assert torch.equal(optimizer.state[params[1]]["momentum_buffers"], buffers)
    assert params[0] not in optimizer.state


@kinds
def test_empty_tensors_take_part(kind: type[SwitchOptimizer]) -> None:
    empty, weight = torch.nn.Parameter(torch.ones(0, 3)), torch.nn.Parameter(torch.ones(2))
    optimizer = kind([empty, weight], lr=0.1)
    for _ in range(3):
        empty.grad, weight.grad = torch.ones(0, 3), torch.ones(2)
        optimizer.step()
    assert (weight < 1).all()
