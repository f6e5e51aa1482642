"""Observe what trains: freezing, unfreezing, groups and parameters that come later, checkpoints."""

from __future__ import annotations

import copy
import pickle
import warnings
from typing import Any

import pytest
import torch

from gap_tune import AlignmentStatistics, GradientMonitor
from gap_tune.errors import StateError
from gap_tune.gradients.observer import GradientObserver
from gap_tune.optim import SGD, Adam, YellowFin
from tests.gradients.device_bank import DeviceObserver

BANKS = [GradientObserver, DeviceObserver]
SIZES = (30, 20, 10)


def parameters_of(sizes: tuple[int, ...] = SIZES, trains: int = 3) -> list[torch.nn.Parameter]:
    """Return parameters of which the last ``trains`` are not frozen."""
    frozen = len(sizes) - trains
    return [
        torch.nn.Parameter(torch.zeros(n), requires_grad=i >= frozen) for i, n in enumerate(sizes)
    ]


def give(parameters: list[torch.nn.Parameter], t: int, trains: int = 3) -> None:
    """Give gradients of step t to the last ``trains`` parameters, and to no other."""
    generator = torch.Generator().manual_seed(t)
    for i, parameter in enumerate(parameters):
        gradient = torch.randn(parameter.shape, generator=generator) + 0.3
        parameter.grad = gradient if i >= len(parameters) - trains else None


def assert_close(first: AlignmentStatistics, second: AlignmentStatistics) -> None:
    mine, theirs = first.to_dict(), second.to_dict()
    for name in mine:
        expected = pytest.approx(theirs[name] or 0.0, rel=1e-5, abs=1e-9)
        assert (mine[name] or 0.0) == expected, name


@pytest.mark.parametrize("whitening", [None, (0.9, 0.999)])
@pytest.mark.parametrize("make", BANKS)
@pytest.mark.parametrize("flag", [True, False])
def test_bug_a_parameter_unfrozen_later_was_never_observed(
    make: Any, whitening: Any, flag: bool
) -> None:
    # The same as for an observer whose parameters could have trained from the start.
    late, early = parameters_of(trains=1), parameters_of()
    options = {"whitening": whitening, "sample": None, "candidates": (0.0, 0.5, 0.99)}
    observer, whole = make(late, **options), make(early, **options)
    assert observer.statistics().dimension == 10
    for t in range(24):
        trains = 1 + (t >= 8) + (t >= 15)
        if flag:
            for parameter in late[-trains:]:
                parameter.requires_grad_()
        give(late, t, trains)
        give(early, t, trains)
        observer.observe()
        whole.observe()
    assert observer.statistics().dimension == 60
    for mine, expected in zip(
        observer.statistics_by_beta2(), whole.statistics_by_beta2(), strict=True
    ):
        assert_close(mine, expected)


@pytest.mark.parametrize("make", [torch.optim.SGD, SGD, torch.optim.AdamW, Adam])
@pytest.mark.parametrize("way", ["flag", "group", "replaced", "appended"])
def test_bug_what_begins_to_train_later_was_never_observed(make: Any, way: str) -> None:
    weight, late = torch.nn.Parameter(torch.ones(4)), torch.nn.Parameter(torch.ones(6))
    other = torch.nn.Parameter(torch.ones(4))
    late.requires_grad_(way != "flag")
    optimizer = make([weight, late] if way == "flag" else [weight], lr=0.01)
    monitor = GradientMonitor(optimizer, sample=None)
    for t in range(12):
        if t == 6:
            group = optimizer.param_groups[0]["params"]
            if way == "flag":
                late.requires_grad_()
            elif way == "group":
                optimizer.add_param_group({"params": [late]})
            elif way == "replaced":
                group[0] = other
            else:
                group.append(late)
        for parameter in (weight, late, other):
            parameter.grad = torch.ones_like(parameter) if parameter.requires_grad else None
        optimizer.step()
    expected = 4 if way == "replaced" else 10
    for statistics in (
        monitor.statistics(),
        getattr(optimizer, "statistics", monitor.statistics)(),
    ):
        assert (statistics.steps, statistics.dimension) == (12, expected)
    if way == "group":
        # <g, g> of all ten coordinates, once the old four have faded.
        for _ in range(60):
            optimizer.step()
        statistics = monitor.statistics()
        if statistics.whitening is None:
            assert statistics.power / statistics.weight == pytest.approx(10, rel=1e-3)


def test_bug_an_optimizer_whose_parameters_are_all_frozen_was_refused() -> None:
    parameters = parameters_of(trains=0)
    optimizer = torch.optim.SGD(parameters, lr=0.1)
    monitor = GradientMonitor(optimizer)
    optimizer.step()
    statistics = monitor.statistics()
    assert (statistics.steps, statistics.dimension, statistics.sampled) == (0, 0, 0)
    assert AlignmentStatistics.from_dict(statistics.to_dict()) == statistics
    assert statistics.gain().tolist() == [0.0] * 4
    for t in range(3):
        give(parameters, t, 2)
        optimizer.step()
    assert (monitor.statistics().steps, monitor.statistics().dimension) == (3, 30)


def test_bug_lazy_parameters_could_not_be_observed() -> None:
    model = torch.nn.Sequential(torch.nn.LazyLinear(3), torch.nn.Linear(3, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    monitor = GradientMonitor(optimizer)
    assert monitor.statistics().dimension == 4
    for _ in range(2):
        model(torch.ones(2, 5)).sum().backward()
        optimizer.step()
    assert (monitor.statistics().steps, monitor.statistics().dimension) == (2, 22)


def test_a_parameter_frozen_later_adds_nothing() -> None:
    parameters, alone = parameters_of((4, 6)), parameters_of((6,))
    observer, only = (GradientObserver(p, decay=1.0) for p in (parameters, alone))
    give(parameters, 0)
    observer.observe()
    before = observer.statistics()
    parameters[0].requires_grad_(False)
    alone[0].grad = parameters[1].grad
    only.observe()
    base = only.statistics()
    for t in range(1, 9):
        give(parameters, t, 1)
        alone[0].grad = parameters[1].grad
        observer.observe()
        only.observe()
    grown = [a - b for a, b in zip(observer.statistics().alignment, before.alignment, strict=True)]
    expected = [a - b for a, b in zip(only.statistics().alignment, base.alignment, strict=True)]
    assert grown == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("make", BANKS)
def test_a_sample_that_grows_goes_on_with_what_it_had(make: Any) -> None:
    parameters = parameters_of((40_000, 300), trains=1)
    observer = make(parameters, sample=256, decay=1.0, whitening=(0.99,))
    for t in range(5):
        give(parameters, t, 1)
        observer.observe()
    before = observer.statistics()
    for t in range(5, 40):
        give(parameters, t, 2)
        observer.observe()
    after = observer.statistics()
    assert (after.steps, after.dimension) == (40, 40_300)
    assert after.weight == before.weight + 35
    assert after.sampled < 600
    # <g, g> per step and coordinate: 1 + 0.3^2, whitened by about its root.
    assert (after.power - before.power) / 35 == pytest.approx(40_300, rel=0.15)


@pytest.mark.parametrize("make", BANKS)
@pytest.mark.parametrize("copies", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
@pytest.mark.parametrize("frozen_at_load", [True, False])
@pytest.mark.parametrize("at", [3, 12, 18])
def test_bug_a_checkpoint_of_another_freezing_was_refused(
    make: Any, copies: Any, frozen_at_load: bool, at: int
) -> None:
    # Resumed: made with what is frozen at the start, or with nothing frozen yet; the freezing of
    # that epoch is set after loading. It equals the run that was never interrupted.
    def trains(t: int) -> int:
        return 2 if t < 6 else 3 if t < 15 else 1

    def freeze(parameters: list[torch.nn.Parameter], t: int) -> None:
        for i, parameter in enumerate(parameters):
            parameter.requires_grad_(i >= 3 - trains(t))

    def run(parameters: Any, observer: Any, steps: range) -> None:
        for t in steps:
            freeze(parameters, t)
            give(parameters, t, trains(t))
            observer.observe()

    options = {"whitening": (0.9,), "sample": 50}
    parameters = parameters_of(trains=2)
    observer = make(parameters, **options)
    run(parameters, observer, range(at))
    others = parameters_of(trains=2 if frozen_at_load else 3)
    other = make(others, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        other.load_state_dict(observer.state_dict())
    others, other = copies((others, other))
    for each in ((parameters, observer), (others, other)):
        run(*each, range(at, 25))
    assert other.statistics() == observer.statistics()


@pytest.mark.parametrize("make", [SGD, Adam])
def test_bug_a_self_tuning_optimizer_s_state_of_another_freezing_was_refused(make: Any) -> None:
    def run(resume_at: int | None) -> tuple[list[torch.Tensor], float]:
        parameters = parameters_of(trains=1)
        optimizer = make(parameters, lr=0.01)
        for t in range(20):
            if t == resume_at:
                others = [torch.nn.Parameter(p.detach().clone()) for p in parameters]
                again = make(others, lr=0.01)
                with warnings.catch_warnings():
                    warnings.simplefilter("error")
                    again.load_state_dict(optimizer.state_dict())
                parameters, optimizer = others, again
            trains = 1 + (t >= 8)
            for i, parameter in enumerate(parameters):
                parameter.requires_grad_(i >= 3 - trains)
            give(parameters, t, trains)
            optimizer.step()
        return [p.detach() for p in parameters], optimizer.momentum

    (whole, beta), (resumed, resumed_beta) = run(None), run(13)
    assert all(map(torch.equal, whole, resumed))
    assert beta == resumed_beta


def odd_states() -> list[tuple[Any, str]]:
    def state(sizes: tuple[int, ...] = SIZES, **options: Any) -> Any:
        return GradientObserver(parameters_of(sizes), **options).state_dict()

    return [
        (state((30, 25, 10)), r"parameter 1 of shape \[25\], but it has \[20\]"),
        (state((30, 20, 10, 5)), r"parameter 3 of shape \[5\], but there are 3"),
        (state(candidates=(0.1, 0.5)), r"candidates \[0\.1, 0\.5\], but here \[0\.8"),
        (state(whitening=(0.9,)), r"whitening \[0\.9\], but here None"),
        (state(lags=3), "lags 3, but here 16"),
    ]


@pytest.mark.parametrize(("state", "complaint"), odd_states())
def test_bug_statistics_of_other_shapes_stopped_a_run_from_resuming(
    state: Any, complaint: str
) -> None:
    parameters = parameters_of()
    observer = GradientObserver(parameters)
    give(parameters, 0)
    observer.observe()
    with pytest.warns(UserWarning, match=complaint) as caught:
        observer.load_state_dict(state)
    assert len(caught) == 1
    assert observer.statistics() == GradientObserver(parameters).statistics()
    observer.observe()
    assert observer.statistics().steps == 1


def test_bug_statistics_of_another_beta2_stopped_an_optimizer_from_loading() -> None:
    saved = Adam(parameters_of(), betas=(0.9, 0.95))
    optimizer = Adam(parameters_of(), betas=(0.9, 0.999))
    with pytest.warns(UserWarning, match="everything else continues") as caught:
        optimizer.load_state_dict(saved.state_dict())
    assert len(caught) == 1
    assert optimizer.param_groups[0]["betas"] == (0.9, 0.95)


def test_a_state_that_does_not_say_what_was_observed_loads_as_before() -> None:
    parameters = parameters_of()
    observer = GradientObserver(parameters)
    give(parameters, 0)
    observer.observe()
    state = {k: v for k, v in observer.state_dict().items() if k != "observed"} | {"version": 2}
    other = GradientObserver(parameters_of())
    other.load_state_dict(state)
    assert other.statistics() == observer.statistics()


@pytest.mark.parametrize("garbage", [None, [], {}, {"version": 9}, {"version": 3}])
def test_garbage_is_refused_and_changes_nothing(garbage: Any) -> None:
    parameters = parameters_of()
    observer = GradientObserver(parameters)
    give(parameters, 0)
    observer.observe()
    before = observer.statistics()
    with pytest.raises(StateError, match="the statistics' state must"):
        observer.load_state_dict(garbage)
    assert observer.statistics() == before


def test_bug_yellow_fin_never_measured_what_was_unfrozen_later() -> None:
    def run(unfreeze_at: int) -> YellowFin:
        parameters = parameters_of(trains=1)
        optimizer = YellowFin(parameters)
        for t in range(20):
            if t == unfreeze_at:
                parameters[0].requires_grad_()
            give(parameters, t, 1)
            if parameters[0].requires_grad:
                parameters[0].grad = torch.ones(30)
            optimizer.step()
            if t == 12:
                other = YellowFin(parameters)
                other.load_state_dict(optimizer.state_dict())
                optimizer = other
        return optimizer

    optimizer = run(10)
    mean = optimizer.state_dict()["gap_tune"]["mean"]
    assert mean.shape == (40,)
    assert mean[:30].abs().min() > 0


def test_bug_yellow_fin_s_state_of_another_freezing_was_refused() -> None:
    parameters = parameters_of()
    optimizer = YellowFin(parameters)
    give(parameters, 0)
    optimizer.step()
    frozen = parameters_of(trains=1)
    other = YellowFin(frozen)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        other.load_state_dict(optimizer.state_dict())
    give(frozen, 1, 1)
    other.step()
    assert other.state_dict()["gap_tune"]["averages"]["steps"] == 2
