"""The switch against the slow oracle, and against torch where there is nothing to switch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gap_tune.optim.reference import ReferenceSwitchAdam, ReferenceSwitchSGD
from gap_tune.optim.switch import SwitchAdam, SwitchAdamW, SwitchSGD
from gap_tune.optim.switch.base import SwitchOptimizer

torch.set_num_threads(1)

SHAPES = ((3, 4), (), (5,), (2, 1))
SGD_OPTIONS: list[dict[str, Any]] = [
    {},
    {"weight_decay": 0.01, "nesterov": True},
    {"dampening": 0.3, "maximize": True},
]
ADAM_OPTIONS: list[dict[str, Any]] = [
    {},
    {"weight_decay": 0.01, "beta2": 0.9},
    {"amsgrad": True, "beta2": 0.8, "maximize": True, "eps": 1e-3},
]
SWITCH_OPTIONS: list[dict[str, Any]] = [
    {},
    {"smoothing": 0.7, "soft_reset": 0.5, "hysteresis_threshold": 2},
    {"per_parameter": True},
    {"per_parameter": True, "smoothing": 0.5, "soft_reset": 0.0, "hysteresis_threshold": 3},
]
EVERY_KIND = [
    *((SwitchSGD, ReferenceSwitchSGD, o, {}) for o in SGD_OPTIONS),
    *((SwitchAdam, ReferenceSwitchAdam, o, {}) for o in ADAM_OPTIONS),
    (SwitchAdamW, ReferenceSwitchAdam, {"weight_decay": 0.1, "beta2": 0.9}, {"decoupled": True}),
]


def tensors(dtype: torch.dtype = torch.float64, seed: int = 0) -> list[torch.nn.Parameter]:
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.nn.Parameter(torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype))
        for shape in SHAPES
    ]


def set_gradients(
    params: list[torch.nn.Parameter], step: int, *, level: float = 0.1, seed: int = 0
) -> None:
    """A drift that turns round after 22 steps and is weaker then, under noise."""
    generator = torch.Generator().manual_seed(1000 * seed + step)
    for parameter in params:
        noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        drift = 1.0 if step < 22 else -0.25
        parameter.grad = (drift + level * noise).to(parameter.dtype)


def chosen(optimizer: SwitchOptimizer) -> list[float]:
    return [momentum for group in optimizer.parameter_momenta() for momentum in group]


@pytest.mark.parametrize(("kind", "reference", "options", "extra"), EVERY_KIND)
@pytest.mark.parametrize("switching", SWITCH_OPTIONS)
def test_steps_follow_the_slow_loop(
    kind: type[SwitchOptimizer],
    reference: type,
    options: dict[str, Any],
    extra: dict[str, Any],
    switching: dict[str, Any],
) -> None:
    params = tensors()
    start = [p.detach().numpy() for p in params]
    # Only long memories point uphill for long after the drift turns.
    momenta = (0.8, 0.9, 0.98) if "soft_reset" in switching else (0.3, 0.9, 0.97)
    arguments = {"lr": 0.05, "momenta": momenta, **options, **switching}
    optimizer = kind(params, **arguments)
    oracle = reference(start, **arguments, **extra)
    seen = set()
    for step in range(34):
        set_gradients(params, step)
        if step % 4 < 2:  # around the resets, too
            params[step * 7 % 3].grad = None
        oracle.step([None if p.grad is None else p.grad.numpy() for p in params])
        optimizer.step()
        assert chosen(optimizer) == [momenta[k] for k in oracle.chosen]
        choice = optimizer.state_dict()["gap_tune"]["choice"]
        np.testing.assert_allclose(choice["gains"], oracle.smoothed, rtol=1e-9, atol=1e-11)
        assert choice["streak"].tolist() == oracle.streaks
        for parameter, weights in zip(params, oracle.weights, strict=True):
            np.testing.assert_allclose(parameter.detach(), weights, rtol=1e-9, atol=1e-11)
        seen.update(chosen(optimizer))
    assert len(seen) > 1
    assert optimizer.skipped_steps == oracle.skipped == 0
    if "soft_reset" in switching:
        assert oracle.resets > 1


@settings(max_examples=20)
@given(
    momenta=st.lists(st.floats(0.0, 0.99), min_size=2, max_size=4, unique=True).map(sorted),
    smoothing=st.floats(0.0, 0.95),
    soft_reset=st.floats(0.0, 1.0),
    threshold=st.integers(1, 4),
    per_parameter=st.booleans(),
    seed=st.integers(0, 10**6),
)
def test_any_switch_follows_the_slow_loop(
    momenta: list[float],
    smoothing: float,
    soft_reset: float,
    threshold: int,
    per_parameter: bool,
    seed: int,
) -> None:
    params = tensors(seed=seed)
    arguments: dict[str, Any] = {
        "lr": 0.1,
        "momenta": momenta,
        "smoothing": smoothing,
        "soft_reset": soft_reset,
        "hysteresis_threshold": threshold,
        "per_parameter": per_parameter,
    }
    oracle = ReferenceSwitchSGD([p.detach().numpy() for p in params], **arguments)
    optimizer = SwitchSGD(params, **arguments)
    for step in range(12):
        set_gradients(params, 16 + step, level=1.0, seed=seed)
        oracle.step([p.grad.numpy() for p in params])
        optimizer.step()
        for parameter, weights in zip(params, oracle.weights, strict=True):
            np.testing.assert_allclose(parameter.detach(), weights, rtol=1e-8, atol=1e-9)


TORCH_TWINS = [
    *(
        (SwitchSGD, torch.optim.SGD, {"momenta": (m,)}, {"momentum": m}, options)
        for m in (0.0, 0.9)
        for options in (
            {},
            {"weight_decay": 0.1, "maximize": True},
            {"dampening": 0.3},
            {"nesterov": True, "weight_decay": 0.01},
            {"lr": torch.tensor(0.02)},
        )
        if m or not options.get("nesterov")
    ),
    *(
        (kind, twin, {"momenta": (0.8,), "beta2": 0.95}, {"betas": (0.8, 0.95)}, options)
        for kind, twin in ((SwitchAdam, torch.optim.Adam), (SwitchAdamW, torch.optim.AdamW))
        for options in (
            {},
            {"weight_decay": 0.1, "maximize": True},
            {"amsgrad": True, "eps": 1e-4},
        )
    ),
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.complex64])
@pytest.mark.parametrize("foreach", [False, True])
@pytest.mark.parametrize(("kind", "twin", "momenta", "momentum", "options"), TORCH_TWINS)
def test_one_candidate_follows_torch_bit_for_bit(
    kind: type[SwitchOptimizer],
    twin: type[torch.optim.Optimizer],
    momenta: dict[str, Any],
    momentum: dict[str, Any],
    options: dict[str, Any],
    foreach: bool,
    dtype: torch.dtype,
) -> None:
    params, others = tensors(dtype), tensors(dtype)
    options = {"lr": 0.05, "foreach": foreach, **options}
    if foreach and isinstance(options["lr"], torch.Tensor):
        options["foreach"] = None
    switch = kind(params, **momenta, **options, hysteresis_threshold=1)
    torchs = twin(others, **momentum, **options)
    for step in range(20):
        for each in (params, others):
            set_gradients(each, step)
            each[step % 4].grad = None
        switch.step()
        torchs.step()
        for mine, its in zip(params, others, strict=True):
            assert torch.equal(mine, its)
    assert switch.momentum == momenta["momenta"][0]


@pytest.mark.parametrize(
    ("kind", "twin", "options"),
    [
        (SwitchSGD, torch.optim.SGD, {"weight_decay": 0.1, "nesterov": True}),
        (SwitchSGD, torch.optim.SGD, {"dampening": 0.5, "maximize": True}),
        (SwitchAdam, torch.optim.Adam, {"weight_decay": 0.1, "amsgrad": True}),
        (SwitchAdamW, torch.optim.AdamW, {"weight_decay": 0.1, "maximize": True}),
    ],
)
@pytest.mark.parametrize("per_parameter", [False, True])
def test_a_switch_that_never_leaves_a_candidate_follows_torch(
    kind: type[SwitchOptimizer],
    twin: type[torch.optim.Optimizer],
    options: dict[str, Any],
    per_parameter: bool,
) -> None:
    """Gradients of alternating sign align best with the shortest memory."""
    params, others = tensors(), tensors()
    switch = kind(params, lr=0.01, momenta=(0.4, 0.9, 0.99), per_parameter=per_parameter, **options)
    key = {"momentum": 0.4} if twin is torch.optim.SGD else {"betas": (0.4, 0.999)}
    torchs = twin(others, lr=0.01, **key, **options)
    for step in range(20):
        for each in (params, others):
            for parameter in each:
                parameter.grad = torch.full_like(parameter, 10.0 * (-1) ** step)
        switch.step()
        torchs.step()
        assert set(chosen(switch)) == {0.4}
        for mine, its in zip(params, others, strict=True):
            torch.testing.assert_close(mine, its, rtol=1e-12, atol=1e-12)


def test_constant_gradients_choose_the_memory_that_has_filled() -> None:
    """m_t = (1 - beta^t) / (1 - beta): the gain's argmax is known in closed form at each step."""
    weight = torch.nn.Parameter(torch.zeros(2, dtype=torch.float64))
    momenta = (0.5, 0.9, 0.99)
    optimizer = SwitchSGD([weight], lr=0.01, momenta=momenta)
    for t in range(1, 200):
        weight.grad = torch.ones_like(weight)
        optimizer.step()
        gains = [math.sqrt(1 - b * b) * (1 - b**t) / (1 - b) for b in momenta]
        assert optimizer.momentum == momenta[int(np.argmax(gains))]
    assert optimizer.momentum == 0.99


def test_smoothing_delays_a_change_of_mind() -> None:
    def first_choice_of_the_long_memory(smoothing: float) -> int:
        weight = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
        optimizer = SwitchSGD([weight], lr=0.01, momenta=(0.5, 0.99), smoothing=smoothing)
        for step in range(400):
            weight.grad = torch.full_like(weight, (-1.0) ** step if step < 50 else 1.0)
            optimizer.step()
            if optimizer.momentum == 0.99:
                return step
        raise AssertionError("the long memory was never chosen")

    assert 50 < first_choice_of_the_long_memory(0.0) < first_choice_of_the_long_memory(0.95)


def test_buffers_shrink_once_per_run_of_negative_gains() -> None:
    """After the drift turns round every gain is negative: resets come every third step."""
    weight = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
    optimizer = SwitchSGD(
        [weight], lr=0.0, momenta=(0.98, 0.99), soft_reset=0.5, hysteresis_threshold=3
    )
    buffers = [0.0, 0.0]
    negative = resets = 0
    for step in range(60):
        g = 1.0 if step < 40 else -0.1
        weight.grad = torch.full_like(weight, g)
        optimizer.step()
        shrink = 1.0
        if negative == 3:
            shrink, negative, resets = 0.5, 0, resets + 1
        buffers = [b * shrink * m + g for b, m in zip(buffers, (0.98, 0.99), strict=True)]
        negative = negative + 1 if all(g * b < 0 for b in buffers) else 0
        state = optimizer.state[weight]["momentum_buffers"]
        np.testing.assert_allclose(state[:, 0], buffers, rtol=1e-12)
    assert resets >= 2


def test_groups_with_their_own_options_share_one_choice() -> None:
    params = tensors()
    groups = [
        {"params": params[:2], "lr": 0.1, "weight_decay": 0.2},
        {"params": params[2:], "nesterov": True},
    ]
    optimizer = SwitchSGD(groups, lr=0.03)
    together = ReferenceSwitchSGD([p.detach().numpy() for p in params], lr=0.03)
    expected = [p.detach().numpy().copy() for p in params]
    for step in range(12):
        set_gradients(params, step)
        gradients = [p.grad.numpy().copy() for p in params]
        for number in (0, 1):  # the weight penalty of the first group enters its buffers
            gradients[number] = gradients[number] + 0.2 * expected[number]
        together.step(gradients)
        optimizer.step()
        for number, gradient in enumerate(gradients):
            beta = together.momenta[together.chosen[number]]
            update = together.momentum(number, beta)
            if number >= 2:
                update = gradient + beta * update
            expected[number] = expected[number] - (0.1 if number < 2 else 0.03) * update
            np.testing.assert_allclose(params[number].detach(), expected[number], rtol=1e-9)
        assert len(set(chosen(optimizer))) == 1


def test_a_tensor_larger_than_the_cache_gives_the_same_as_its_pieces() -> None:
    size = 400_001

    def run(most: int) -> tuple[torch.Tensor, float]:
        generator = torch.Generator().manual_seed(0)
        start = torch.randn(size, generator=generator, dtype=torch.float64)
        weights = [torch.nn.Parameter(piece.clone()) for piece in start.split(most)]
        optimizer = SwitchAdamW(weights, lr=0.1, weight_decay=0.1, amsgrad=True)
        for _ in range(8):
            gradient = torch.randn(size, generator=generator, dtype=torch.float64) + 0.5
            for weight, piece in zip(weights, gradient.split(most), strict=True):
                weight.grad = piece
            optimizer.step()
        return torch.cat([weight.detach() for weight in weights]), optimizer.momentum

    # A quarter of the cache's half million numbers is one weight's share of it.
    whole, momentum = run(size)
    pieces, same = run(50_000)
    torch.testing.assert_close(whole, pieces, rtol=1e-12, atol=1e-12)
    assert momentum == same
