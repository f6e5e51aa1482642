"""GradientMonitor: watches the gradients of any torch optimizer at its step."""

from __future__ import annotations

from typing import Any

import torch

from gap_tune.errors import UnsupportedError
from gap_tune.gradients.observer import GradientObserver
from gap_tune.gradients.reading import trainable_parameters
from gap_tune.gradients.step_hooks import hook_step


class GradientMonitor(GradientObserver):
    """Observes an optimizer's gradients at every ``step()`` and accumulates alignment statistics.

    It hooks the optimizer and changes nothing: neither gradients, nor parameters, nor state. The
    cost per step does not depend on the size of the model (a coordinate sample), and observing
    never waits for the device; ``statistics()`` does, once.

    Args:
        optimizer: Any ``torch.optim.Optimizer``.
        **options: ``candidates, sample, decay, lags, every, whitening, eps, process_group`` of
            ``GradientObserver``. Unless ``whitening`` is given, the gradients of optimizers that
            divide by ``sqrt(v)`` (their groups hold ``betas`` and ``eps``, as Adam's) are whitened
            by the optimizer's own beta2.

    Raises:
        InvalidValueError: When an argument is out of range or nothing is trainable.
        UnsupportedError: When ``optimizer`` is no torch optimizer.

    >>> import torch
    >>> weight = torch.nn.Parameter(torch.ones(3))
    >>> optimizer = torch.optim.SGD([weight], lr=0.1, momentum=0.9)
    >>> monitor = GradientMonitor(optimizer)
    >>> for _ in range(4):
    ...     optimizer.zero_grad()
    ...     (weight ** 2).sum().backward()
    ...     _ = optimizer.step()
    >>> monitor.statistics().steps
    4
    """

    def __init__(self, optimizer: torch.optim.Optimizer, **options: Any) -> None:
        if not isinstance(optimizer, torch.optim.Optimizer):
            raise UnsupportedError(
                f"optimizer must be a torch.optim.Optimizer, but got {type(optimizer).__name__}."
            )
        super().__init__(trainable_parameters(optimizer), **{**_costs(optimizer), **options})
        self._hooks = hook_step(optimizer, before=self._before_step, after=self._after_step)

    def detach(self) -> None:
        """Stop observing: remove the hooks from the optimizer. Calling it twice is harmless."""
        for hook in self._hooks:
            hook.remove()
        self._hooks = []

    def _before_step(
        self, optimizer: torch.optim.Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        if not has_closure(args, kwargs):
            self.observe(**amp_state(optimizer))

    def _after_step(
        self, optimizer: torch.optim.Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        if has_closure(args, kwargs):
            self.observe()


def _costs(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Return how an optimizer whitens gradients, as options of ``GradientObserver``."""
    group = optimizer.param_groups[0]
    if "betas" not in group or "eps" not in group:
        return {}
    return {"whitening": (float(group["betas"][1]),), "eps": float(group["eps"])}


def amp_state(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Return what ``torch.amp.GradScaler`` tells optimizers that unscale gradients themselves.

    Fused optimizers see gradients still multiplied by the scale, and skip a step with infinities
    on the device. Other optimizers' gradients have been unscaled before ``step()``, and a bad
    step never gets there.
    """
    return {
        name: getattr(optimizer, name)
        for name in ("grad_scale", "found_inf")
        if getattr(optimizer, name, None) is not None
    }


def has_closure(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Tell from a step hook's arguments whether ``step`` got a closure.

    A closure computes the gradients inside ``step()``, so they exist only after it.
    """
    # args[0] is the optimizer itself.
    return (len(args) > 1 and args[1] is not None) or kwargs.get("closure") is not None
