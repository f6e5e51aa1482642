"""A session without Ray: the other end of its channel is the test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from gap_tune import Decision, Reason
from gap_tune.tune.ray_private.delivery import Directive
from gap_tune.tune.trial.attaching import make_tuning
from gap_tune.tune.trial.session import TrialSession


class Recorded:
    """A channel whose other end is the test."""

    speaks = True
    mailbox = "here"

    def __init__(self, *answers: Directive | None) -> None:
        self.sent: list[dict[str, Any]] = []
        self.answers = list(answers)

    def exchange(self, result: dict[str, Any], folder: Path | None, seq: int) -> Directive | None:
        self.sent.append(result)
        return self.answers.pop(0) if self.answers else None

    def missed(self, mailbox: str, seq: int) -> Directive | None:
        return self.answers.pop(0) if self.answers else None

    def checkpoint(self) -> Any:
        return None


def session(
    optimizer: torch.optim.Optimizer,
    *answers: Directive | None,
    channel: Recorded | None = None,
    metric: Any = "loss",
) -> TrialSession:
    own = {"mode": "scheduler", "metric": metric, "trust_region": {"span": 1}}
    return TrialSession(make_tuning(optimizer, own), channel or Recorded(*answers), own)


def order(seq: int, momentum: float) -> Directive:
    return Directive(seq, Decision(momentum, 0.9, Reason.BEST_GAIN, "because."))


def weight() -> nn.Parameter:
    return nn.Parameter(torch.ones(20))


def train(optimizer: torch.optim.Optimizer, steps: int, *, closure: bool = False) -> list[float]:
    """Descend a noisy quadratic; return the momentum that each step ended with."""
    (parameter,) = optimizer.param_groups[0]["params"]
    generator = torch.Generator().manual_seed(1)
    momenta = []
    for _ in range(steps):
        noise = 0.3 * torch.randn(len(parameter), generator=generator)

        def evaluate(noise: torch.Tensor = noise) -> Any:
            optimizer.zero_grad()
            loss = (parameter.square().sum() / 2) + (noise * parameter).sum()
            loss.backward()
            return loss

        if closure:
            optimizer.step(evaluate)
        else:
            evaluate()
            optimizer.step()
        group = optimizer.param_groups[0]
        momenta.append(group["momentum"] if "momentum" in group else group["betas"][0])
    return momenta


def changes(momenta: list[float], first: float) -> int:
    return sum(a != b for a, b in zip([first, *momenta], momenta, strict=False))
