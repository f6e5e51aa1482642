"""Hooks around an optimizer's step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils.hooks import RemovableHandle

Hook = Callable[[torch.optim.Optimizer, tuple[Any, ...], dict[str, Any]], None]


def hook_step(
    optimizer: torch.optim.Optimizer,
    *,
    before: Hook | None = None,
    after: Hook | None = None,
    first: bool = True,
) -> list[RemovableHandle]:
    """Have functions called around every step of an optimizer; return the handles to remove them.

    Neither function is compiled where the step is: a
    decision is Python's business, and its numbers would be part of the compiled graph, which would
    be made anew whenever one of them changes.

    Args:
        optimizer: A torch optimizer.
        before: Called before the step, after the hooks that are there already.
        after: Called after the step.
        first: Whether ``after`` comes before the hooks that are there already, so that it finds
            gradients and options as the step left them.
    """
    # A decorator would import torch's compiler with this module.
    handles = []
    if before is not None:
        handles.append(optimizer.register_step_pre_hook(torch.compiler.disable(before)))
    if after is not None:
        handle = optimizer.register_step_post_hook(torch.compiler.disable(after))
        if first:
            # It is an OrderedDict, although torch declares less.
            hooks: Any = optimizer._optimizer_step_post_hooks
            hooks.move_to_end(handle.id, last=False)
        handles.append(handle)
    return handles
