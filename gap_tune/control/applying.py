"""apply_momentum: sets an optimizer's momentum once, by hand."""

from __future__ import annotations

import torch

from gap_tune.control.bias_correction import rescale_averages
from gap_tune.control.momentum import set_momentum
from gap_tune.control.momentum_control import control_of
from gap_tune.errors import check_range
from gap_tune.gradients.wrappers import unwrapped
from gap_tune.theory.families import Update, family_of


def apply_momentum(optimizer: torch.optim.Optimizer, value: float) -> None:
    """Set the momentum (``momentum``, or beta1 of ``betas``) of every parameter group.

    Buffers stay as they are, with two exceptions. At momentum 0 torch's SGD stops updating its
    buffers, so they are dropped; otherwise a later momentum would revive an outdated direction.
    Averages that the optimizer divides by ``1 - beta1^t`` (Adam and its like) are multiplied so
    that they remain the means that they were: without that, going from 0.5 to 0.99 at step 10
    would enlarge the step tenfold.

    Args:
        optimizer: Any optimizer whose groups hold ``momentum`` or ``betas``. Where gap_tune tunes
            its momentum, the value holds until the next decision.
        value: The momentum, in [0, 1).

    Raises:
        InvalidValueError: When ``value`` is outside [0, 1).
        UnsupportedError: When a group has no momentum, or asks for Nesterov momentum of 0; no
            group is changed then.

    >>> optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.ones(1))])
    >>> apply_momentum(optimizer, 0.8)
    >>> optimizer.param_groups[0]["betas"]
    (0.8, 0.999)
    """
    optimizer = unwrapped(optimizer)
    control = control_of(optimizer)
    if control is not None:
        control.apply(value)
        return
    value = check_range("momentum", value, 0.0, 1.0, high_open=True)
    family = family_of(optimizer)
    if family is not None and family.update is Update.CORRECTED_AVERAGE:
        for group in optimizer.param_groups:
            rescale_averages(optimizer, group, value)
    set_momentum(optimizer, optimizer.param_groups, value)
