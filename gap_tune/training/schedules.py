"""Learning-rate schedules over a trial's steps, with a linear warm-up before."""

from __future__ import annotations

from typing import Any

from torch.optim import Optimizer, lr_scheduler

SCHEDULES = ("cosine", "step", "none")
# He et al. (2016) divide by ten after 32 k and 48 k of 64 k steps.
_DROPS = (0.5, 0.75)


def make_schedule(optimizer: Optimizer, kind: str, *, steps: int, warmup_steps: int = 0) -> Any:
    """Return a schedule to step after every optimizer step.

    Args:
        optimizer: Its groups' present ``lr`` is the highest one.
        kind: "cosine" falls to zero, "step" divides by ten after a half and after three quarters,
            "none" stays.
        steps: Optimizer steps in all.
        warmup_steps: Steps in which the learning rate rises linearly, on top of the schedule.

    >>> import torch
    >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
    >>> schedule = make_schedule(optimizer, "step", steps=8, warmup_steps=2)
    >>> rates = []
    >>> for _ in range(8):
    ...     rates.append(round(optimizer.param_groups[0]["lr"], 3))
    ...     optimizer.step()
    ...     schedule.step()
    >>> rates
    [0.5, 1.0, 1.0, 1.0, 0.1, 0.1, 0.01, 0.01]
    """
    course = _course(optimizer, kind, steps)
    if warmup_steps < 2:
        return course
    # The warm-up multiplies what the other sets: both follow the recursive form.
    warmup = lr_scheduler.LinearLR(
        optimizer, start_factor=1 / warmup_steps, total_iters=warmup_steps - 1
    )
    return lr_scheduler.ChainedScheduler([course, warmup], optimizer=optimizer)


def _course(optimizer: Optimizer, kind: str, steps: int) -> lr_scheduler.LRScheduler:
    if kind == "cosine":
        return lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)
    if kind == "step":
        drops = [round(share * steps) for share in _DROPS]
        return lr_scheduler.MultiStepLR(optimizer, drops, gamma=0.1)
    return lr_scheduler.ConstantLR(optimizer, factor=1.0)
