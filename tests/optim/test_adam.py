from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from gap_tune import (
    AlignmentStatistics,
    Decision,
    FixedMomentum,
    GradientMonitor,
    MomentumRule,
    Reason,
)
from gap_tune.errors import InvalidValueError, StateError, UnsupportedError
from gap_tune.optim import SGD, Adam, AdamW
from tests.optim.test_sgd import problem, weights

PAIRS = [(torch.optim.Adam, Adam), (torch.optim.AdamW, AdamW)]


class Scripted(MomentumRule):
    """Answers a given beta1 at every step."""

    # What is tested is momentum alone.
    scales_lr = False

    def __init__(self, *values: float) -> None:
        self.values = list(values)

    def decide(self, statistics: AlignmentStatistics, momentum: float) -> Decision:
        value = self.values[min(statistics.steps, len(self.values)) - 1]
        return Decision(value, momentum, Reason.BEST_GAIN, "As the script says.")


@pytest.mark.parametrize(("plain", "tuned"), PAIRS)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"betas": (0.5, 0.9), "weight_decay": 0.1},
        {"amsgrad": True},
        {"maximize": True},
        {"foreach": True},
        {"fused": True},
    ],
)
def test_fixed_momentum_follows_torch_bit_for_bit(
    plain: Any, tuned: Any, options: dict[str, Any]
) -> None:
    results = []
    for make in (plain, lambda p, **o: tuned(p, rule=FixedMomentum(), **o)):
        model, backward = problem()
        optimizer = make(model.parameters(), lr=0.01, **options)
        for _ in range(30):
            backward()
            optimizer.step()
        results.append(weights(model))
    assert torch.equal(*results)


def test_a_rule_that_keeps_beta1_follows_torch_bit_for_bit_while_observing() -> None:
    results = []
    for make in (torch.optim.Adam, lambda p, **o: Adam(p, rule=Scripted(0.9), **o)):
        model, backward = problem()
        optimizer = make(model.parameters(), lr=0.01)
        for _ in range(20):
            backward()
            optimizer.step()
        results.append(weights(model))
    assert torch.equal(*results)


def test_bug_raising_beta1_early_must_not_enlarge_the_step() -> None:
    # torch divides by 1 - beta1^t as if beta1 had always been what it is now. The oracle divides
    # the average by the total weight it really has.
    script = [0.5] * 9 + [0.99] * 6 + [0.8] * 5
    model, backward = problem()
    optimizer = Adam(model.parameters(), lr=0.01, rule=Scripted(*script), betas=(0.5, 0.999))
    parameters = list(model.parameters())
    mean = [torch.zeros_like(p) for p in parameters]
    square = [torch.zeros_like(p) for p in parameters]
    mass, square_mass = 0.0, 0.0
    for beta in script:
        backward()
        before = [p.detach().clone() for p in parameters]
        optimizer.step()
        mass = beta * mass + 1 - beta
        square_mass = 0.999 * square_mass + 0.001
        for p, old, m, v in zip(parameters, before, mean, square, strict=True):
            m.mul_(beta).add_(p.grad, alpha=1 - beta)
            v.mul_(0.999).addcmul_(p.grad, p.grad, value=0.001)
            step = 0.01 * (m / mass) / ((v / square_mass).sqrt() + 1e-8)
            torch.testing.assert_close(p.detach(), old - step, rtol=1e-4, atol=1e-6)
    assert optimizer.param_groups[0]["lr"] == 0.01


def test_gain_equals_that_of_the_theory() -> None:
    # Whitened by the last v alone, the theory's gain is that of constant costs; with decay so
    # small that only the last step counts, the optimizer's must be the same.
    parameter = torch.nn.Parameter(torch.zeros(50, dtype=torch.float64))
    optimizer = Adam(
        [parameter], lr=0.0, sample=None, decay=1e-12, rule=Scripted(0.9), betas=(0.9, 0.95)
    )
    generator = torch.Generator().manual_seed(0)
    history = []
    base = torch.randn(50, generator=generator, dtype=torch.float64)
    for _ in range(30):
        gradient = base + torch.randn(50, generator=generator, dtype=torch.float64)
        history.append(gradient.numpy().copy())
        parameter.grad = gradient
        optimizer.step()
    v = np.zeros(50)
    for gradient in history:
        v = 0.95 * v + 0.05 * gradient**2
    costs = np.sqrt(v / (1 - 0.95**30)) + 1e-8
    whitened = [float((history[-1] * history[-1 - n] / costs).sum()) for n in range(30)]
    statistics = optimizer.statistics()
    assert statistics.whitening == pytest.approx((1 / costs).sum() * statistics.weight)
    expected = [
        np.sqrt((1 - b**2) / (1 / costs).sum()) * sum(b**n * t for n, t in enumerate(whitened))
        for b in statistics.candidates
    ]
    np.testing.assert_allclose(statistics.gain(1.0), expected, rtol=1e-9)


def test_beta2_is_chosen_by_the_two_dimensional_search() -> None:
    # One coordinate dies out early: a short memory of v forgets it, a long one does not.
    parameter = torch.nn.Parameter(torch.zeros(20, dtype=torch.float64))
    optimizer = Adam(
        [parameter], lr=0.0, sample=None, beta2_candidates=(0.5, 0.9, 0.999), betas=(0.9, 0.9)
    )
    twin = torch.nn.Parameter(torch.zeros(20, dtype=torch.float64))
    plain = torch.optim.Adam([twin], lr=0.0)
    candidates = optimizer.statistics().candidates
    monitor = GradientMonitor(
        plain, sample=None, whitening=(0.5, 0.9, 0.999), candidates=candidates
    )
    generator = torch.Generator().manual_seed(0)
    for t in range(40):
        gradient = torch.randn(20, generator=generator, dtype=torch.float64) + 1
        gradient[:10] *= 100 if t < 10 else 0.01
        parameter.grad, twin.grad = gradient, gradient.clone()
        optimizer.step()
        plain.step()
    by_beta2 = monitor.statistics_by_beta2()
    assert optimizer.statistics().steps == monitor.statistics().steps == 40
    best = max((max(s.gain(0.3)), b) for s, b in zip(by_beta2, (0.5, 0.9, 0.999), strict=True))
    assert optimizer.param_groups[0]["betas"][1] == best[1]
    whitenings = [s.whitening for s in by_beta2]
    assert len(set(whitenings)) == 3


def test_a_bad_state_is_refused_and_nothing_is_loaded() -> None:
    model, backward = problem()
    optimizer = AdamW(model.parameters(), lr=0.01)
    backward()
    optimizer.step()
    other = AdamW(model.parameters(), lr=0.3).state_dict()
    with pytest.raises(StateError, match="version 1, but got 9"):
        optimizer.load_state_dict({**other, "gap_tune": {"version": 9}})
    broken = {**other["gap_tune"], "observers": [{"version": 9}]}
    with pytest.raises(StateError, match="version 3, but got 9"):
        optimizer.load_state_dict({**other, "gap_tune": broken})
    assert optimizer.param_groups[0]["lr"] == 0.01
    assert optimizer.statistics().steps == 1


def test_a_state_of_another_number_of_rules_loads_and_only_the_statistics_start_anew() -> None:
    saved = SGD(two_groups(), lr=0.1, momentum=0.9).state_dict()
    rules = [FixedMomentum(), FixedMomentum()]
    optimizer = SGD(two_groups(), lr=0.3, momentum=0.9, rule=rules)
    with pytest.warns(UserWarning, match="1 rules, but here are 2"):
        optimizer.load_state_dict(saved)
    assert optimizer.param_groups[0]["lr"] == 0.1


def two_groups() -> list[dict[str, Any]]:
    return [
        {"params": [torch.nn.Parameter(torch.zeros(30))]},
        {"params": [torch.nn.Parameter(torch.zeros(40))], "lr": 0.2},
    ]


def run_two_groups(optimizer: torch.optim.Optimizer) -> None:
    """Group 0 sees a steady gradient, group 1 one that turns around at every step."""
    for t in range(40):
        for group, sign in zip(optimizer.param_groups, (1.0, (-1.0) ** t), strict=True):
            group["params"][0].grad = sign * torch.ones_like(group["params"][0])
        optimizer.step()


@pytest.mark.parametrize("make", [SGD, Adam])
def test_one_rule_per_group_decides_from_that_groups_gradients(
    make: Callable[..., Any],
) -> None:
    from gap_tune import AlignmentRule

    options: dict[str, Any] = {"candidates": (0.5, 0.9, 0.99)}
    optimizer = make(two_groups(), lr=0.1, rule=[AlignmentRule(), AlignmentRule()], **options)
    run_two_groups(optimizer)
    momenta = [g["momentum"] if "momentum" in g else g["betas"][0] for g in optimizer.param_groups]
    assert momenta[0] > 0.5
    assert momenta[1] == 0.5
    together = make(two_groups(), lr=0.1, **options)
    run_two_groups(together)
    momenta = [g["momentum"] if "momentum" in g else g["betas"][0] for g in together.param_groups]
    assert momenta[0] == momenta[1]


def test_rules_and_groups_that_disagree_are_refused() -> None:
    with pytest.raises(InvalidValueError, match=r"one per group \(2\), but got 1 rules"):
        SGD(two_groups(), lr=0.1, rule=[FixedMomentum()])
    optimizer = SGD(two_groups(), lr=0.1, rule=[FixedMomentum(), FixedMomentum()])
    with pytest.raises(InvalidValueError, match="another group"):
        optimizer.add_param_group({"params": [torch.nn.Parameter(torch.ones(2))]})


def test_a_group_added_later_is_observed_and_tuned() -> None:
    model, backward = problem()
    optimizer = SGD(model[0].parameters(), lr=0.05, momentum=0.9)  # type: ignore[index]
    before = optimizer.statistics().dimension
    optimizer.add_param_group({"params": model[2].parameters(), "momentum": 0.5})  # type: ignore[index]
    for _ in range(10):
        backward()
        optimizer.step()
    assert optimizer.statistics().dimension > before
    assert {g["momentum"] for g in optimizer.param_groups} == {optimizer.momentum}
    assert [g["reference_momentum"] for g in optimizer.param_groups] == [0.9, 0.5]


@pytest.mark.parametrize("make", [SGD, Adam, AdamW])
def test_differentiable_is_refused_with_the_reason(make: Any) -> None:
    with pytest.raises(UnsupportedError, match="has no gradient"):
        make([torch.nn.Parameter(torch.ones(1))], differentiable=True)


def constant_steps(optimizer: torch.optim.Optimizer, count: int) -> list[float]:
    """Take steps along a constant gradient; Adam's steps must all be the learning rate then."""
    sizes = []
    parameter = optimizer.param_groups[-1]["params"][0]
    for _ in range(count):
        for group in optimizer.param_groups:
            group["params"][0].grad = torch.ones_like(group["params"][0])
        before = parameter.detach().clone()
        optimizer.step()
        sizes.append(float((before - parameter.detach()).max()))
    return sizes


def test_bug_a_loaded_torch_state_brings_its_step_count() -> None:
    parameter = torch.nn.Parameter(torch.zeros(3, dtype=torch.float64))
    plain = torch.optim.Adam([parameter], lr=1e-3)
    constant_steps(plain, 50)
    optimizer = Adam([parameter], lr=1e-3, rule=Scripted(0.99))
    optimizer.load_state_dict(plain.state_dict())
    assert constant_steps(optimizer, 5) == pytest.approx([1e-3] * 5, rel=1e-4)


def test_bug_a_group_added_later_has_its_own_step_count() -> None:
    first, second = (torch.nn.Parameter(torch.zeros(3, dtype=torch.float64)) for _ in range(2))
    rule = Scripted(0.9)
    optimizer = Adam([first], lr=1e-3, rule=rule)
    constant_steps(optimizer, 30)
    optimizer.add_param_group({"params": [second]})
    rule.values = [0.99]
    assert constant_steps(optimizer, 5) == pytest.approx([1e-3] * 5, rel=1e-4)


def test_bug_a_step_that_the_grad_scaler_skips_is_not_counted() -> None:
    parameter = torch.nn.Parameter(torch.zeros(3, dtype=torch.float64))
    optimizer = Adam([parameter], lr=1e-3, rule=Scripted(0.5, 0.99), fused=True)
    constant_steps(optimizer, 3)
    optimizer.grad_scale, optimizer.found_inf = torch.ones(()), torch.ones(())  # type: ignore[attr-defined]
    constant_steps(optimizer, 4)
    del optimizer.grad_scale, optimizer.found_inf  # type: ignore[attr-defined]
    assert constant_steps(optimizer, 5) == pytest.approx([1e-3] * 5, rel=1e-4)


def test_bug_one_rule_sets_every_group_even_where_the_first_already_agrees() -> None:
    groups = two_groups()
    groups[0]["momentum"], groups[1]["momentum"] = 0.95, 0.5
    optimizer = SGD(groups, lr=0.1, rule=Scripted(0.95))
    run_two_groups(optimizer)
    assert [g["momentum"] for g in optimizer.param_groups] == [0.95, 0.95]


def test_bug_a_schedule_that_cycles_momentum_does_not_undo_the_decision() -> None:
    parameter = torch.nn.Parameter(torch.zeros(3))
    optimizer = SGD([parameter], lr=0.1, momentum=0.9, rule=Scripted(0.99))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=20)
    used = []
    optimizer.register_step_post_hook(lambda o, *_: used.append(o.param_groups[0]["momentum"]))

    def train() -> None:
        for _ in range(6):
            parameter.grad = torch.ones(3)
            optimizer.step()
            schedule.step()

    with pytest.warns(UserWarning, match="cycle_momentum=False"):
        train()
    assert used == [0.99] * 6
