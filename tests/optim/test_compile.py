"""torch.compile of the step: really compiled, and not compiled again when momentum changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch._dynamo.testing import CompileCounterWithBackend

from gap_tune import (
    AlignmentStatistics,
    Decision,
    FixedMomentum,
    MomentumRule,
    Reason,
    TrustRegion,
)
from gap_tune.optim import SGD, Adam


class Walk(MomentumRule):
    """Another momentum at every step: ever new ones, or a few candidates over and over."""

    # What is tested is momentum alone.
    scales_lr = False

    def __init__(self, period: int) -> None:
        self.period = period

    def decide(self, statistics: AlignmentStatistics, momentum: float) -> Decision:
        value = 0.5 + 0.4 * ((statistics.steps * 7) % self.period) / self.period
        return Decision(value, momentum, Reason.BEST_GAIN, "A walk.")


def compiled_frames(make: Callable[[list[Any]], Any], steps: int) -> list[int]:
    """Train eagerly and compiled side by side; return how many graphs existed after each step."""
    torch.compiler.reset()
    counter = CompileCounterWithBackend("inductor")

    def start() -> tuple[list[torch.nn.Parameter], Any]:
        torch.manual_seed(0)
        parameters = [torch.nn.Parameter(torch.randn(6, 5)) for _ in range(3)]
        return parameters, make(parameters)

    (eager, eager_optimizer), (compiled, optimizer) = start(), start()

    @torch.compile(backend=counter)
    def step() -> None:
        optimizer.step()

    frames = []
    for t in range(steps):
        generator = torch.Generator().manual_seed(t)
        for p, q in zip(eager, compiled, strict=True):
            p.grad = torch.randn(6, 5, generator=generator)
            q.grad = p.grad.clone()
        eager_optimizer.step()
        step()
        frames.append(counter.frame_count)
    for p, q in zip(eager, compiled, strict=True):
        torch.testing.assert_close(p, q)
    assert optimizer.statistics().steps == steps
    assert frames[-1] > 0, "nothing was compiled"
    return frames


def test_adam_with_tensor_betas_is_not_compiled_again_whatever_momentum_comes() -> None:
    def make(parameters: list[Any]) -> Adam:
        betas = (torch.tensor(0.9), torch.tensor(0.999))
        lr = torch.tensor(0.05)
        return Adam(parameters, lr=lr, betas=betas, rule=Walk(13), foreach=False)

    frames = compiled_frames(make, 14)
    assert frames[3:] == [frames[3]] * len(frames[3:])


def test_sgd_is_compiled_once_per_candidate_and_then_never_again() -> None:
    # torch's SGD asks whether momentum is 0: a tensor would break its graph, so it stays a number,
    # which is part of the compiled graph.
    def make(parameters: list[Any]) -> SGD:
        lr = torch.tensor(0.05)
        return SGD(parameters, lr=lr, momentum=0.9, rule=Walk(4), foreach=True)

    frames = compiled_frames(make, 14)
    assert frames[0] < frames[5]
    assert frames[5:] == [frames[5]] * len(frames[5:])


def test_a_scale_that_moves_at_every_step_compiles_nothing_again() -> None:
    """With a learning rate that is a tensor, as torch asks of those who schedule it."""

    def make(parameters: list[Any]) -> SGD:
        lr = torch.tensor(0.05)
        options = {"rule": FixedMomentum(), "trust_region": TrustRegion(start_gain=0.5)}
        return SGD(parameters, lr=lr, momentum=0.9, foreach=True, **options)

    frames = compiled_frames(make, 14)
    assert frames[3:] == [frames[3]] * len(frames[3:])
