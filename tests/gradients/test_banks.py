"""The two filter banks, for gradients on the host and elsewhere, are one in what they say."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import pytest
import torch

from gap_tune import AlignmentStatistics
from gap_tune.gradients.observer import GradientObserver
from tests.gradients.device_bank import DeviceObserver

CANDIDATES = (0.0, 0.5, 0.99)
OPTIONS: list[dict[str, Any]] = [
    {},
    {"lags": 1, "decay": 0.95, "every": 3},
    {"whitening": (0.9,), "eps": 0.0},
    {"whitening": (0.5, 0.9, 0.999), "lags": 3, "every": 2},
]
Make = Callable[..., GradientObserver]


def observe(observer: GradientObserver, parameters: list[torch.nn.Parameter], steps: range) -> None:
    """Let the observer see gradients, some of them unusable, and two of held-out batches."""
    for t in steps:
        generator = torch.Generator().manual_seed(t)
        for parameter in parameters:
            noise = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
            parameter.grad = 0.5 + noise
            # Coordinates that never have a gradient.
            parameter.grad[:2] = 0.0
        if t in (0, 6, 7, 23):
            parameters[0].grad[3, 1] = (float("nan"), float("inf"))[t % 2]  # type: ignore[index]
        found_inf = torch.tensor(1.0) if t == 11 else None
        observer.observe(grad_scale=torch.tensor(4.0), found_inf=found_inf)
        if t in (9, 28):
            observer.observe_validation()


def parameters_of(dtype: torch.dtype = torch.float64) -> list[torch.nn.Parameter]:
    return [torch.nn.Parameter(torch.zeros(n, 5, dtype=dtype)) for n in (30, 8)]


def start(make: Make, **options: Any) -> tuple[list[torch.nn.Parameter], GradientObserver]:
    parameters = parameters_of()
    return parameters, make(parameters, candidates=CANDIDATES, sample=60, **options)


def assert_same(first: AlignmentStatistics, second: AlignmentStatistics) -> None:
    assert (first.whitening is None) == (second.whitening is None)
    for name, value in asdict(first).items():
        expected = asdict(second)[name] or 0.0
        assert (value or 0.0) == pytest.approx(expected, rel=1e-9, abs=1e-12), name


@pytest.mark.parametrize("options", OPTIONS)
def test_both_banks_give_the_same_statistics(options: dict[str, Any]) -> None:
    results = []
    for make in (GradientObserver, DeviceObserver):
        parameters, observer = start(make, **options)
        observe(observer, parameters, range(41))
        results.append(observer.statistics_by_beta2())
    for host, device in zip(*results, strict=True):
        assert (host.steps, host.skipped_steps) == (36, 5)
        assert host.validation_weight > 0
        assert_same(host, device)


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize(
    ("saver", "loader"), [(GradientObserver, DeviceObserver), (DeviceObserver, GradientObserver)]
)
def test_a_state_of_one_bank_continues_in_the_other(
    options: dict[str, Any], saver: Make, loader: Make
) -> None:
    parameters, observer = start(saver, **options)
    observe(observer, parameters, range(21))
    others, other = start(loader, **options)
    other.load_state_dict(observer.state_dict())
    observe(observer, parameters, range(21, 45))
    observe(other, others, range(21, 45))
    assert_same(observer.statistics(), other.statistics())


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("make", [GradientObserver, DeviceObserver])
def test_looking_saving_and_copying_at_any_step_change_nothing(
    options: dict[str, Any], make: Make
) -> None:
    parameters, observer = start(make, **options)
    observe(observer, parameters, range(40))
    undisturbed = observer.statistics()
    parameters, observer = start(make, **options)
    for t in range(40):
        # Gradients wait for their bank in blocks: each of these must reach those that wait.
        if t in (3, 18, 33):
            observer.statistics()
        elif t in (8, 22):
            others, other = start(make, **options)
            other.load_state_dict(observer.state_dict())
            parameters, observer = others, other
        elif t in (12, 26):
            parameters, observer = copy.deepcopy((parameters, observer))
        elif t in (15, 37):
            parameters, observer = pickle.loads(pickle.dumps((parameters, observer)))
        observe(observer, parameters, range(t, t + 1))
    assert observer.statistics() == undisturbed
