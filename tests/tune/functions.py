"""Training functions and rules that tests send to real trials."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gap_tune import AlignmentStatistics, Decision, MomentumRule, Reason, attach


class Cycle(MomentumRule):
    """Walks through a list of momenta, so that what must happen is known beforehand."""

    momenta = (0.9, 0.5, 0.99, 0.8)
    # What is tested is momentum alone.
    scales_lr = False

    def decide(self, statistics: AlignmentStatistics, momentum: float) -> Decision:
        place = self.momenta.index(round(momentum, 6))
        chosen = self.momenta[(place + 1) % len(self.momenta)]
        return Decision(chosen, momentum, Reason.BEST_GAIN, f"{chosen} follows {momentum}.")


class Raises(MomentumRule):
    """A user's rule with a bug."""

    def decide(self, statistics: AlignmentStatistics, momentum: float) -> Decision:
        raise RuntimeError("a bug in a user's rule")


def quadratic(config: dict[str, Any]) -> None:
    """Descend a noisy quadratic; report what each step used, and die or go wrong on request."""
    if config.get("fails"):
        raise ValueError("a bug in a user's function")
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(config.get("seed", 0))
    weight = torch.nn.Parameter(torch.randn(50, generator=generator))
    # Searchers may well hand out NumPy numbers, which a checkpoint must survive.
    lr = np.float64(config["lr"])
    optimizer = torch.optim.SGD([weight], lr=lr, momentum=config["momentum"])
    model = torch.nn.ParameterList([weight])
    trial = attach(optimizer, config)
    restored = trial.restore(model=model, generator=generator)
    spoiled = False
    start = (trial.momentum, trial.seq, trial.monitor.statistics().steps)
    for epoch in trial.epochs(config.get("epochs", 8)):
        used = []
        for _ in range(6):
            optimizer.zero_grad()
            noise = 0.1 * torch.randn(50, generator=generator)
            (weight.pow(2).sum() / 2 + (noise * weight).sum()).backward()
            if config.get("bad_gradient_at") == epoch and not spoiled:
                spoiled = True
                spoil_one_step(weight, optimizer)
            optimizer.step()
            used.append(optimizer.param_groups[0]["momentum"])
        loss = weight.detach().pow(2).sum().item()
        if config.get("bad_metric_at") == epoch:
            loss = float("nan")
        kill_once(config, epoch)
        trial.report(
            {
                "loss": loss,
                "used": used[0] if len(set(used)) == 1 else -1.0,
                "pid": os.getpid(),
                "restored": restored,
                "start": start,
                "checksum": weight.detach().double().sum().item(),
            },
            checkpoint=True,
        )


def spoil_one_step(weight: torch.nn.Parameter, optimizer: torch.optim.Optimizer) -> None:
    """Take one step with a NaN in the gradient, and undo what it did to the weights."""
    kept, gradient = weight.detach().clone(), weight.grad.clone()  # type: ignore[union-attr]
    momenta = {k: v.clone() for k, v in optimizer.state[weight].items() if v is not None}
    weight.grad[0] = float("nan")  # type: ignore[index]
    optimizer.step()
    optimizer.state[weight].update(momenta)
    weight.data.copy_(kept)
    weight.grad.copy_(gradient)  # type: ignore[union-attr]


def kill_once(config: dict[str, Any], epoch: int) -> None:
    """Kill this very process, as the kernel would, the first time a marker file is absent."""
    marker = config.get("kill_marker")
    if marker and epoch == config["kill_at"] and not Path(marker).exists():
        Path(marker).touch()
        os.kill(os.getpid(), 9)
