from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from gap_tune import AlignmentRule, FixedMomentum, TrustRegion
from gap_tune.errors import InvalidValueError, UnsupportedError
from gap_tune.optim import SGD


def problem() -> tuple[torch.nn.Module, Callable[[], None]]:
    """A small regression whose minibatch gradients are the same for every optimizer."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Tanh(), torch.nn.Linear(16, 1))
    generator = torch.Generator().manual_seed(1)

    def backward() -> None:
        x = torch.randn(32, 8, generator=generator)
        model.zero_grad()
        (model(x).squeeze() - x[:, 0]).pow(2).mean().backward()

    return model, backward


def weights(model: torch.nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"momentum": 0.9},
        {"momentum": 0.9, "nesterov": True},
        {"momentum": 0.9, "dampening": 0.3, "weight_decay": 0.01},
        {"momentum": 0.5, "maximize": True},
        {"momentum": 0.9, "foreach": True},
        {"momentum": 0.9, "fused": True},
    ],
)
def test_fixed_momentum_follows_torch_bit_for_bit(options: dict[str, float]) -> None:
    results = []
    for make in (torch.optim.SGD, lambda p, **o: SGD(p, rule=FixedMomentum(), **o)):
        model, backward = problem()
        optimizer = make(model.parameters(), lr=0.05, **options)
        for _ in range(30):
            backward()
            optimizer.step()
        results.append(weights(model))
    assert torch.equal(*results)


def test_momentum_and_coupled_learning_rate_are_what_the_step_uses() -> None:
    model, backward = problem()
    off = TrustRegion.off()
    optimizer = SGD(model.parameters(), lr=0.05, momentum=0.9, trust_region=off)
    buffers = [torch.zeros_like(p) for p in model.parameters()]
    changes = set()
    for _ in range(40):
        backward()
        gradients = [p.grad.clone() for p in model.parameters()]
        before = [p.detach().clone() for p in model.parameters()]
        optimizer.step()
        beta = optimizer.param_groups[0]["momentum"]
        lr = 0.05 * ((1 - beta**2) / (1 - 0.9**2)) ** 0.5
        changes.add(beta)
        for p, g, old, buffer in zip(model.parameters(), gradients, before, buffers, strict=True):
            buffer.mul_(beta).add_(g)
            torch.testing.assert_close(p.detach(), old - lr * buffer)
    assert len(changes) > 1


def test_decisions_come_every_update_every_steps() -> None:
    model, backward = problem()
    optimizer = SGD(model.parameters(), lr=0.05, momentum=0.9, update_every=10)
    decisions = []
    for _ in range(30):
        backward()
        optimizer.step()
        decisions.append(optimizer.decision)
    assert decisions[8] is None
    assert decisions[9] is decisions[18]
    assert decisions[19] is not decisions[18]


def test_a_state_of_torch_sgd_loads() -> None:
    model, backward = problem()
    plain = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    backward()
    plain.step()
    optimizer = SGD(model.parameters(), lr=0.05, momentum=0.8)
    optimizer.load_state_dict(plain.state_dict())
    backward()
    optimizer.step()
    assert optimizer.param_groups[0]["reference_momentum"] == 0.8


def test_a_state_with_other_candidates_loads_and_only_the_statistics_start_anew() -> None:
    model, backward = problem()
    saved = SGD(model.parameters(), lr=0.3, momentum=0.9, candidates=(0.5, 0.9))
    backward()
    saved.step()
    optimizer = SGD(model.parameters(), momentum=0.9)
    with pytest.warns(UserWarning, match="candidates"):
        optimizer.load_state_dict(saved.state_dict())
    assert optimizer.param_groups[0]["lr"] == 0.3
    assert len(optimizer.state) == len(saved.state)
    assert optimizer.statistics().steps == 0
    backward()
    optimizer.step()
    assert optimizer.statistics().steps == 1


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"update_every": 0}, InvalidValueError),
        ({"sample": -1}, InvalidValueError),
        ({"decay": 2.0}, InvalidValueError),
        ({"candidates": (0.9, 0.9)}, InvalidValueError),
        ({"rule": "paper"}, UnsupportedError),
    ],
)
def test_bad_arguments_are_refused(options: dict[str, object], error: type[Exception]) -> None:
    with pytest.raises(error, match="but got"):
        SGD(problem()[0].parameters(), **options)


def test_it_learns_at_least_as_well_as_the_worst_fixed_momentum() -> None:
    def final(optimizer_of: Callable[[torch.nn.Module], torch.optim.Optimizer]) -> float:
        model, backward = problem()
        optimizer = optimizer_of(model)
        for _ in range(200):
            backward()
            optimizer.step()
        x = torch.randn(500, 8, generator=torch.Generator().manual_seed(2))
        with torch.no_grad():
            return float((model(x).squeeze() - x[:, 0]).pow(2).mean())

    fixed = [
        final(lambda m, b=b: torch.optim.SGD(m.parameters(), lr=0.05, momentum=b))
        for b in (0.0, 0.5, 0.9, 0.99)
    ]
    tuned = final(lambda m: SGD(m.parameters(), lr=0.05, momentum=0.9, rule=AlignmentRule()))
    assert tuned < max(fixed)
