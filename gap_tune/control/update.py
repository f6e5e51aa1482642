"""How an optimizer's update depends on its momentum, and so what must follow it."""

from __future__ import annotations

import torch

from gap_tune.control.momentum import group_momentum
from gap_tune.errors import UnsupportedError
from gap_tune.theory.families import Update, family_of

# Of the optimizers whose steps have a fixed size, those whose decay is no part of it.
_DECOUPLED = ("Lion", "Muon")


def decouples_decay(optimizer: torch.optim.Optimizer) -> bool:
    """Tell whether an optimizer multiplies weights by ``1 - lr * weight_decay``, unasked.

    Muon and Lion do, and what is taken for a Muon; AdamW says so in its groups.

    >>> decouples_decay(torch.optim.SGD([torch.nn.Parameter(torch.ones(2, 2))]))
    False
    """
    family = family_of(optimizer)
    if family is not None and family.update is not Update.MEMORYLESS:
        return family.name in _DECOUPLED
    return update_of(optimizer) is Update.FIXED_SIZE


def update_of(optimizer: torch.optim.Optimizer) -> Update:
    """Return how an optimizer's update depends on its momentum.

    An optimizer that the table of families does not know is taken for a sum of gradients where it
    calls its coefficient ``momentum``, as SGD does, or for one of fixed size where it is called
    Muon or names steps of an orthogonalisation, as Muon does.

    Raises:
        UnsupportedError: When a group has no momentum; or has ``betas``, and the table does not
            know whether averages are divided by ``1 - beta1^t``.
    """
    for group in optimizer.param_groups:
        group_momentum(group)
    family = family_of(optimizer)
    if family is not None and family.update is not Update.MEMORYLESS:
        return family.update
    name = type(optimizer).__name__
    if all("momentum" in group for group in optimizer.param_groups):
        steps = any("ns_steps" in group for group in optimizer.param_groups)
        return Update.FIXED_SIZE if steps or "muon" in name.lower() else Update.SUM
    raise UnsupportedError(
        "an optimizer with 'betas' must be of a class that the table of families knows (gap-tune "
        f"families), since its bias correction must follow momentum, but got {name}: name its like"
        f' by gap_tune.theory.families.register({name}, like="AdamW"), or leave the trial\'s '
        'momentum alone ("gap": {"mode": "fixed"}).'
    )
