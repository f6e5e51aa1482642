"""What counts as a step: what torch takes, and nothing that only looks like one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.distributed.checkpoint.state_dict import (
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)

from gap_tune import GradientMonitor, TrustRegion
from gap_tune.gradients.observer import GradientObserver
from gap_tune.optim import SGD, AdamW
from gap_tune.optim.reference import ReferenceAdam, ReferenceSGD
from gap_tune.rules import AlignmentRule, Decision, MomentumRule, Reason
from tests.gradients.device_bank import DeviceObserver
from tests.gradients.monitored import CANDIDATES, assert_matches, monitored

BANKS = [GradientObserver, DeviceObserver]


class Asked(MomentumRule):
    """Counts how often it is asked, and keeps the momentum."""

    def __init__(self) -> None:
        self.times = 0

    def decide(self, statistics: Any, momentum: float) -> Decision:
        self.times += 1
        return Decision(momentum, momentum, Reason.ALREADY_BEST, "counted")


def step(optimizer: Any, weight: torch.nn.Parameter, gradient: Any, *, closure: bool) -> None:
    """Take a step with a gradient, or without any; the closure computes it, as Lightning's does."""

    def compute() -> torch.Tensor:
        optimizer.zero_grad()
        if gradient is not None:
            weight.grad = torch.as_tensor(gradient, dtype=weight.dtype).clone()
        return torch.zeros(())

    if closure:
        optimizer.step(compute)
    else:
        compute()
        optimizer.step()


@pytest.mark.parametrize("closure", [False, True])
@pytest.mark.parametrize("options", [{}, {"every": 2}, {"whitening": (0.9,)}])
def test_bug_a_step_without_any_gradient_counted_as_one_of_zero_gradient(
    closure: bool, options: dict[str, Any]
) -> None:
    def run(empty: tuple[int, ...]) -> Any:
        generator = torch.Generator().manual_seed(0)
        weight = torch.nn.Parameter(torch.zeros(12))
        optimizer = torch.optim.SGD([weight], lr=0.0)
        monitor = GradientMonitor(optimizer, **options)
        for t in range(9):
            for _ in range(empty.count(t)):
                step(optimizer, weight, None, closure=closure)
            gradient = torch.randn(12, generator=generator) + 0.5
            step(optimizer, weight, gradient, closure=closure)
        return monitor.statistics()

    assert run((0, 3, 3, 8)) == run(())
    assert run((0, 3, 3, 8)).skipped_steps == 0


def test_bug_a_validation_without_any_gradient_was_scored() -> None:
    weight = torch.nn.Parameter(torch.zeros(4))
    optimizer, monitor = monitored([weight])
    step(optimizer, weight, torch.ones(4), closure=False)
    optimizer.zero_grad()
    monitor.observe_validation()
    assert monitor.statistics().validation_weight == 0


@pytest.mark.parametrize("closure", [False, True])
@pytest.mark.parametrize(("make", "reference"), [(SGD, ReferenceSGD), (AdamW, ReferenceAdam)])
def test_bug_a_rule_was_asked_at_a_step_without_any_gradient(
    make: Any, reference: Any, closure: bool
) -> None:
    rng = np.random.default_rng(0)
    history = [None if t % 3 == 1 else rng.normal(0.4, 1, size=6) for t in range(24)]
    weight = torch.nn.Parameter(torch.ones(6, dtype=torch.float64))
    options = {"lr": 0.05, "weight_decay": 0.0, "update_every": 2}
    off = TrustRegion.off()
    optimizer = make([weight], rule=AlignmentRule(warmup_steps=2), trust_region=off, **options)
    twin = reference(
        np.ones(6),
        rule=AlignmentRule(warmup_steps=2),
        candidates=optimizer.statistics().candidates,
        **options,
    )
    for gradient in history:
        step(optimizer, weight, gradient, closure=closure)
        twin.step(gradient)
        if not closure:
            assert optimizer.momentum == twin.momentum
            np.testing.assert_allclose(weight.detach().numpy(), twin.weights, rtol=1e-9)
    statistics = optimizer.statistics()
    assert (statistics.steps, statistics.skipped_steps) == (16, 0)
    assert statistics.alignment == pytest.approx(twin.statistics().alignment)


def test_bug_a_group_s_rule_was_asked_where_only_another_group_had_a_gradient() -> None:
    first, second = (torch.nn.Parameter(torch.ones(3)) for _ in range(2))
    rules = [Asked(), Asked()]
    groups = [{"params": [first]}, {"params": [second]}]
    optimizer = SGD(groups, lr=0.1, momentum=0.9, rule=rules, update_every=2)
    for t in range(12):
        optimizer.zero_grad()
        first.grad = torch.ones(3)
        # Always at odd steps: counted for the whole optimizer it would never be its turn.
        second.grad = torch.ones(3) if t % 2 == 0 else None
        optimizer.step()
    assert [rule.times for rule in rules] == [6, 3]


@pytest.mark.parametrize("closure", [False, True])
def test_lightning_like_saving_between_empty_steps_continues_exactly(closure: bool) -> None:
    def run(resume_at: int | None) -> tuple[torch.Tensor, float]:
        generator = torch.Generator().manual_seed(1)
        weight = torch.nn.Parameter(torch.ones(8))
        optimizer = SGD([weight], lr=0.05, momentum=0.9, update_every=3)
        for t in range(20):
            if t == resume_at:
                other = torch.nn.Parameter(weight.detach().clone())
                again = SGD([other], lr=0.05, momentum=0.9, update_every=3)
                again.load_state_dict(optimizer.state_dict())
                weight, optimizer = other, again
            gradient = torch.randn(8, generator=generator) + 0.2
            step(optimizer, weight, None if t % 4 == 2 else gradient, closure=closure)
        return weight.detach(), optimizer.momentum

    assert torch.equal(run(None)[0], run(11)[0])
    assert run(None)[1] == run(11)[1]


def per_parameter(history: list[list[Any]], beta: float) -> float:
    """Alignment with torch's own buffers: a parameter without a gradient takes no step."""
    buffers: list[Any] = [0.0] * len(history[0])
    total = 0.0
    for gradients in history:
        for i, gradient in enumerate(gradients):
            if gradient is not None:
                total += float(np.sum(gradient * buffers[i]))
                buffers[i] = beta * buffers[i] + gradient
    return total


@pytest.mark.parametrize("make", BANKS)
def test_bug_filters_of_a_parameter_without_a_gradient_moved_on(make: Any) -> None:
    # Heads in turn: torch's momentum of the one whose turn it is not waits, and so must ours.
    rng = np.random.default_rng(2)
    parameters = [torch.nn.Parameter(torch.zeros(5, dtype=torch.float64)) for _ in range(3)]
    observer = make(parameters, candidates=CANDIDATES, decay=1.0, sample=None)
    history: list[list[Any]] = []
    for t in range(20):
        gradients = [rng.normal(0.5, 1, size=5) if i in (0, 1 + t % 2) else None for i in range(3)]
        history.append(gradients)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = None if gradient is None else torch.from_numpy(gradient)
        observer.observe()
    expected = [per_parameter(history, beta) for beta in CANDIDATES]
    assert observer.statistics().alignment == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("make", BANKS)
def test_bug_whitening_corrected_all_parameters_by_the_steps_of_the_first(make: Any) -> None:
    first, late = (torch.nn.Parameter(torch.zeros(4, dtype=torch.float64)) for _ in range(2))
    observer = make([first, late], whitening=(0.999,), sample=None, decay=0.5)
    adam = torch.optim.Adam([first, late], lr=0.0, betas=(0.9, 0.999))
    price, weight = 0.0, 0.0
    for t in range(60):
        generator = torch.Generator().manual_seed(t)
        first.grad = torch.randn(4, generator=generator, dtype=torch.float64)
        late.grad = torch.randn(4, generator=generator, dtype=torch.float64) if t >= 50 else None
        observer.observe()
        adam.step()
        fresh = 0.0
        for parameter in (first, late):
            if parameter.grad is not None:
                state = adam.state[parameter]
                v = state["exp_avg_sq"] / (1 - 0.999 ** float(state["step"]))
                fresh += float((1 / (v.sqrt() + 1e-8)).sum())
        price, weight = 0.5 * price + fresh, 0.5 * weight + 1.0
    statistics = observer.statistics()
    assert statistics.weight == pytest.approx(weight)
    assert statistics.whitening == pytest.approx(price, rel=1e-9)


MAKERS: list[Callable[..., Any]] = [
    lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    lambda p: torch.optim.AdamW(p, lr=0.1),
    lambda p: torch.optim.AdamW(p, lr=torch.tensor(0.1)),
    lambda p: SGD(p, lr=0.1, momentum=0.9),
    lambda p: AdamW(p, lr=0.1),
]


@pytest.mark.parametrize("make", MAKERS)
def test_bug_the_step_that_makes_an_optimizer_s_state_was_observed(make: Any) -> None:
    # It has gradients of zero and a learning rate of zero.
    model = torch.nn.Linear(3, 2)
    optimizer = make(model.parameters())
    monitor = GradientMonitor(optimizer)
    state = get_optimizer_state_dict(model, optimizer)
    assert optimizer.state, "torch has taken its step"
    other = torch.nn.Linear(3, 2)
    again = make(other.parameters())
    other_monitor = GradientMonitor(again)
    if not isinstance(again, (SGD, AdamW)):
        set_optimizer_state_dict(other, again, state)
    for observed in (monitor, other_monitor):
        assert observed.statistics().steps == 0
        assert not observed.stepped
    if isinstance(optimizer, (SGD, AdamW)):
        assert optimizer.statistics().steps == 0
        assert optimizer.decision is None
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    assert monitor.statistics().steps == 1
    assert monitor.stepped


def test_the_first_step_of_a_warm_up_from_zero_is_observed() -> None:
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([weight], lr=0.1, momentum=0.9)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda t: t / 10)
    monitor = GradientMonitor(optimizer)
    for _ in range(3):
        step(optimizer, weight, torch.ones(3), closure=False)
        schedule.step()
    assert monitor.statistics().steps == 3


def test_gradients_of_zero_at_a_learning_rate_are_a_step_as_in_torch() -> None:
    weight = torch.nn.Parameter(torch.zeros(3))
    optimizer, monitor = monitored([weight])
    optimizer.param_groups[0]["lr"] = 0.1
    for gradient in (np.ones(3), np.zeros(3)):
        step(optimizer, weight, gradient, closure=False)
    assert monitor.statistics().steps == 2
    assert_matches(monitor.statistics(), [np.ones(3), np.zeros(3)], 1e-6)
