"""A parameter with a gradient, and a control put into its optimizer's steps."""

from __future__ import annotations

import torch

from gap_tune.control import MomentumControl


def parameter() -> torch.nn.Parameter:
    p = torch.nn.Parameter(torch.ones(3))
    p.grad = torch.ones(3)
    return p


def hooked(optimizer: torch.optim.Optimizer, **options: object) -> MomentumControl:
    control = MomentumControl(optimizer, **options)  # type: ignore[arg-type]
    optimizer.register_step_pre_hook(control.before_step)
    optimizer.register_step_post_hook(control.after_step)
    return control
