"""The oracle itself: against torch, against closed forms, and against what it is the oracle of."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import gap_tune.optim
from gap_tune.gradients.observer import GradientObserver
from gap_tune.gradients.statistics import AlignmentStatistics
from gap_tune.optim.reference import (
    ReferenceAdam,
    ReferenceSGD,
    adam_divisors,
    alignment_statistics,
    gains,
)
from gap_tune.rules import AlignmentRule, FixedMomentum
from gap_tune.theory.momentum import momentum_gain

torch.set_num_threads(1)

# The reference chooses momentum alone.
OFF = gap_tune.TrustRegion.off()
CANDIDATES = (0.0, 0.5, 0.9)


def gradients(steps: int, size: int = 6, seed: int = 0, drift: float = 0.5) -> list[np.ndarray]:
    return list(np.random.default_rng(seed).normal(drift, 1.0, size=(steps, size)))


def assert_same(first: AlignmentStatistics, second: AlignmentStatistics) -> None:
    assert (first.whitening is None) == (second.whitening is None)
    mine, theirs = first.to_dict(), second.to_dict()
    for name in mine.keys() | theirs.keys():
        expected = pytest.approx(theirs[name] or 0.0, rel=1e-9, abs=1e-9)
        assert (mine[name] or 0.0) == expected, name


def observed(history: list[np.ndarray], **options: Any) -> GradientObserver:
    weight = torch.nn.Parameter(torch.zeros(history[0].size, dtype=torch.float64))
    observer = GradientObserver([weight], candidates=CANDIDATES, sample=None, **options)
    for gradient in history:
        weight.grad = torch.from_numpy(gradient)
        observer.observe()
    return observer


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"decay": 1.0, "lags": 3},
        {"decay": 0.95, "lags": 20, "every": 3},
    ],
)
def test_statistics_are_what_an_observer_of_all_coordinates_holds(options: dict[str, Any]) -> None:
    history = gradients(25)
    history[7] = history[7] * np.nan
    history[12] = np.full(6, np.inf)
    assert_same(
        alignment_statistics(history, CANDIDATES, **options),
        observed(history, **options).statistics(),
    )


@pytest.mark.parametrize("beta2", [0.0, 0.9, 0.999])
def test_whitened_statistics_are_what_an_observer_of_all_coordinates_holds(beta2: float) -> None:
    history = gradients(25)
    for gradient in history:
        gradient[0] = 0.0  # never a gradient: no cost
    history[7] = history[7] * np.nan
    divisors = adam_divisors(history, beta2=beta2, eps=1e-3)
    observer = observed(history, decay=0.9, whitening=(beta2,), eps=1e-3)
    assert_same(
        alignment_statistics(history, CANDIDATES, decay=0.9, divisors=divisors),
        observer.statistics(),
    )


@pytest.mark.parametrize("beta2", [None, 0.9])
def test_validation_statistics_are_what_an_observer_holds(beta2: float | None) -> None:
    history, held_out = gradients(12), {4: np.arange(6.0), 9: np.ones(6), 11: np.full(6, np.nan)}
    weight = torch.nn.Parameter(torch.zeros(6, dtype=torch.float64))
    whitening = None if beta2 is None else (beta2,)
    observer = GradientObserver([weight], candidates=CANDIDATES, sample=None, whitening=whitening)
    for call, gradient in enumerate(history, start=1):
        weight.grad = torch.from_numpy(gradient)
        observer.observe()
        if call in held_out:
            weight.grad = torch.from_numpy(held_out[call])
            observer.observe_validation()
    divisors = None if beta2 is None else adam_divisors(history, beta2=beta2)
    assert_same(
        alignment_statistics(history, CANDIDATES, divisors=divisors, validation=held_out),
        observer.statistics(),
    )


@settings(max_examples=30)
@given(
    steps=st.integers(2, 12),
    weight=st.none() | st.floats(0.0, 1.0),
    decay=st.floats(0.5, 1.0),
    whitened=st.booleans(),
    seed=st.integers(0, 10**6),
)
def test_gain_of_statistics_is_the_gain_of_the_history(
    steps: int, weight: float | None, decay: float, whitened: bool, seed: int
) -> None:
    history = gradients(steps, seed=seed)
    divisors = adam_divisors(history) if whitened else None
    statistics = alignment_statistics(history, CANDIDATES, decay=decay, divisors=divisors)
    expected = gains(history, CANDIDATES, lag_zero_weight=weight, decay=decay, divisors=divisors)
    np.testing.assert_allclose(statistics.gain(weight), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("weight", [None, 0.0, 0.3, 1.0])
def test_gain_of_the_history_is_that_of_its_mean_autocorrelation(weight: float | None) -> None:
    history = gradients(10)
    S = [sum(float(history[t] @ history[t - n]) for t in range(n, 10)) / 10 for n in range(10)]
    expected = [momentum_gain(S, beta, lag_zero_weight=weight) for beta in CANDIDATES]
    found = gains(history, CANDIDATES, lag_zero_weight=weight)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_divisors_are_those_of_torchs_adam() -> None:
    """lr = 1, beta1 = 0: Adam moves by g / c."""
    history = gradients(9)
    weight = torch.nn.Parameter(torch.zeros(6, dtype=torch.float64))
    adam = torch.optim.Adam([weight], lr=1.0, betas=(0.0, 0.9), eps=1e-3)
    for gradient, divisor in zip(history, adam_divisors(history, beta2=0.9, eps=1e-3), strict=True):
        before = weight.detach().clone()
        weight.grad = torch.from_numpy(gradient)
        adam.step()
        np.testing.assert_allclose((before - weight.detach()).numpy(), gradient / divisor)


TORCHS: list[tuple[type, type, dict[str, Any], dict[str, Any]]] = [
    *(
        (ReferenceSGD, torch.optim.SGD, options, {})
        for options in (
            {"momentum": 0.0},
            {"momentum": 0.9, "weight_decay": 0.1},
            {"momentum": 0.9, "dampening": 0.5, "maximize": True},
            {"momentum": 0.8, "nesterov": True},
        )
    ),
    (ReferenceAdam, torch.optim.Adam, {"betas": (0.8, 0.9), "weight_decay": 0.1}, {}),
    (ReferenceAdam, torch.optim.Adam, {"eps": 1e-3, "maximize": True}, {}),
    (ReferenceAdam, torch.optim.AdamW, {"weight_decay": 0.1}, {"decoupled": True}),
]


@pytest.mark.parametrize(("kind", "twin", "options", "extra"), TORCHS)
def test_without_decisions_it_is_torchs_optimizer(
    kind: type, twin: type, options: dict[str, Any], extra: dict[str, Any]
) -> None:
    weight = torch.nn.Parameter(torch.ones(6, dtype=torch.float64))
    torchs = twin([weight], lr=0.05, **options)
    reference = kind(np.ones(6), lr=0.05, rule=FixedMomentum(), **options, **extra)
    for step, gradient in enumerate(gradients(15)):
        reference.lr = torchs.param_groups[0]["lr"] = 0.05 / (1 + step)
        weight.grad = torch.from_numpy(gradient)
        torchs.step()
        reference.step(gradient)
        np.testing.assert_allclose(weight.detach().numpy(), reference.weights, rtol=1e-12)


@pytest.mark.parametrize(
    "options",
    [
        {"momentum": 0.9},
        {"momentum": 0.5, "dampening": 0.3, "weight_decay": 0.1, "update_every": 3},
        {"momentum": 0.9, "nesterov": True, "couple_lr": False, "decay": 0.95},
        {"momentum": 0.0, "maximize": True},
    ],
)
def test_self_tuning_sgd_follows_the_reference(options: dict[str, Any]) -> None:
    candidates = (0.5, 0.9, 0.99) if options.get("nesterov") else CANDIDATES
    weight = torch.nn.Parameter(torch.ones(6, dtype=torch.float64))
    rule = AlignmentRule(warmup_steps=2)
    shared = {"lr": 0.05, "rule": rule, "candidates": candidates, **options}
    fast = gap_tune.optim.SGD([weight], sample=None, trust_region=OFF, **shared)
    slow = ReferenceSGD(np.ones(6), **shared)
    seen = set()
    for step, drift in enumerate([0.0] * 12 + [2.0] * 12 + [-1.0] * 12):
        gradient = gradients(1, seed=step, drift=drift)[0]
        weight.grad = torch.from_numpy(gradient)
        fast.step()
        slow.step(gradient)
        seen.add(slow.momentum)
        assert fast.momentum == slow.momentum
        assert fast.param_groups[0].get("coupled_lr", 0.05) == pytest.approx(slow.coupled_lr)
        np.testing.assert_allclose(weight.detach().numpy(), slow.weights, rtol=1e-9)
    assert len(seen) > 1


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"betas": (0.5, 0.9), "weight_decay": 0.1, "update_every": 3},
        {"couple_lr": True, "decay": 0.95},
        {"decoupled": True, "weight_decay": 0.2, "couple_lr": True},
        {"maximize": True},
    ],
)
def test_self_tuning_adam_follows_the_reference(options: dict[str, Any]) -> None:
    weight = torch.nn.Parameter(torch.ones(6, dtype=torch.float64))
    shared = {"lr": 0.05, "rule": AlignmentRule(warmup_steps=2), "candidates": CANDIDATES}
    decoupled = options.get("decoupled", False)
    make = gap_tune.optim.AdamW if decoupled else gap_tune.optim.Adam
    own = {name: value for name, value in options.items() if name != "decoupled"}
    fast = make([weight], sample=None, trust_region=OFF, **shared, **{"weight_decay": 0.0, **own})
    slow = ReferenceAdam(np.ones(6), **shared, **options)
    seen = set()
    for step, drift in enumerate([0.0] * 12 + [2.0] * 12 + [-1.0] * 12):
        gradient = gradients(1, seed=step, drift=drift)[0]
        weight.grad = torch.from_numpy(gradient)
        fast.step()
        slow.step(gradient)
        seen.add(slow.momentum)
        assert fast.momentum == slow.momentum
        np.testing.assert_allclose(weight.detach().numpy(), slow.weights, rtol=1e-9)
    assert len(seen) > 1


def test_self_tuning_adam_decides_by_whitened_gains() -> None:
    """A large coordinate that only swings outweighs five steady ones, unless it is whitened."""
    arguments: dict[str, Any] = {
        "lr": 0.01,
        "rule": AlignmentRule.paper(),
        "candidates": (0.0, 0.9),
        "couple_lr": False,
    }
    adam = ReferenceAdam(np.zeros(6), betas=(0.5, 0.999), **arguments)
    sgd = ReferenceSGD(np.zeros(6), momentum=0.5, **arguments)
    for step in range(60):
        gradient = np.array([8.0 * (-1) ** step, 1.0, 1.0, 1.0, 1.0, 1.0])
        adam.step(gradient)
        sgd.step(gradient)
    W = adam.statistics().whitening / adam.statistics().weight
    assert pytest.approx(5 + 1 / 8) == W
    assert (adam.momentum, sgd.momentum) == (0.9, 0.0)
