"""Lion's decay is decoupled: no scale of the learning rate touches it."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from gap_tune.theory.families import register
from gap_tune.tune.trial.attaching import make_tuning

LR, DECAY = 0.01, 0.5


class OwnLion(torch.optim.Optimizer):
    """Lion (arXiv 2302.06675), whose groups do not say how they decay."""

    def __init__(self, params: Any, **options: Any) -> None:
        super().__init__(params, {"betas": (0.9, 0.99), **options})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for p in group["params"]:
                average = self.state[p].setdefault("exp_avg", torch.zeros_like(p))
                p.mul_(1.0 - group["lr"] * group["weight_decay"])
                p.sub_(group["lr"] * (beta1 * average + (1.0 - beta1) * p.grad).sign())
                average.mul_(beta2).add_(p.grad, alpha=1.0 - beta2)


register(OwnLion, like="Lion")


def lion(parameter: torch.nn.Parameter, kind: str) -> torch.optim.Optimizer:
    """Return a Lion of each kind that says otherwise how it decays."""
    options = {"lr": LR, "weight_decay": DECAY}
    if kind == "own":
        return OwnLion([parameter], **options)
    import pytorch_optimizer

    coupled = {"weight_decouple": kind != "coupled", "fixed_decay": kind == "fixed"}
    made: torch.optim.Optimizer = pytorch_optimizer.Lion([parameter], **options, **coupled)
    return made


@pytest.mark.parametrize("kind", ["own", "decoupled", "fixed", "coupled"])
def test_the_scale_of_lion_leaves_its_decay_alone(kind: str) -> None:
    """Of gradients that point one way, the step is ``w = (1 - lr decay) w - lr scale``."""
    parameter = torch.nn.Parameter(torch.ones(3, dtype=torch.float64))
    optimizer = lion(parameter, kind)
    tuning: Any = make_tuning(optimizer, {"mode": "scheduler"})
    kept = {"fixed": 1.0 - DECAY, "coupled": 1.0}.get(kind, 1.0 - LR * DECAY)
    weight, scales = 1.0, set()
    for step in range(12):
        parameter.grad = torch.full_like(parameter, 100.0 + step)
        optimizer.step()
        weight = kept * weight - LR * tuning.scale
        scales.add(tuning.scale)
        assert parameter.tolist() == pytest.approx([weight] * 3, rel=1e-9)
        assert optimizer.param_groups[0]["weight_decay"] == DECAY
        assert optimizer.param_groups[0]["lr"] == LR
    assert len(scales) > 2
