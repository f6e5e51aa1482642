"""GradientMonitor: watches the gradients of any torch optimizer at its step."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist

from gap_tune.gradients.observer import GradientObserver
from gap_tune.gradients.reading import all_parameters, is_sharded
from gap_tune.gradients.step_hooks import hook_step
from gap_tune.gradients.wrappers import unwrapped


class GradientMonitor(GradientObserver):
    """Observes an optimizer's gradients at every ``step()`` and accumulates alignment statistics.

    It hooks the optimizer and changes nothing: neither gradients, nor parameters, nor state. The
    cost per step does not depend on the size of the model (a coordinate sample), and observing
    never waits for the device; ``statistics()`` does, once.

    Whatever trains is observed from its first step: parameters that are unfrozen, replaced or
    added as a group later too. A step without any gradient is none, as in torch, and neither is
    the one that ``torch.distributed.checkpoint.state_dict`` takes to make an optimizer's state.

    Args:
        optimizer: Any ``torch.optim.Optimizer``, or a wrapper of one (``unwrapped``).
        **options: ``candidates, sample, decay, lags, every, whitening, eps, process_group`` of
            ``GradientObserver``. Unless ``whitening`` is given, the gradients of optimizers that
            divide by ``sqrt(v)`` (their groups hold ``betas`` and ``eps``, as Adam's) are whitened
            by the optimizer's own beta2.

    Attributes:
        stepped: Whether the optimizer's last step counts as one. With a ``process_group`` one
            without gradients here does too, since other ranks may have some: what is decided
            together must be decided at the same steps.

    Raises:
        InvalidValueError: When an argument is out of range.
        UnsupportedError: When ``optimizer`` is no torch optimizer and wraps none.

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
        optimizer = unwrapped(optimizer)
        parameters = all_parameters(optimizer.param_groups)
        super().__init__(parameters, **{**_costs(optimizer), **options})
        self.stepped = False
        self._hooks = hook_step(optimizer, before=self._before_step, after=self._after_step)

    def detach(self) -> None:
        """Stop observing: remove the hooks from the optimizer. Calling it twice is harmless."""
        for hook in self._hooks:
            hook.remove()
        self._hooks = []

    def _before_step(
        self, optimizer: torch.optim.Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        self.stepped = False
        if not has_closure(args, kwargs) and not is_placeholder_step(optimizer, self.process_group):
            self._observe_step(optimizer, **amp_state(optimizer))

    def _after_step(
        self, optimizer: torch.optim.Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        if has_closure(args, kwargs):
            self._observe_step(optimizer)

    def _observe_step(self, optimizer: torch.optim.Optimizer, **amp: Any) -> None:
        observed = self.observe(parameters=all_parameters(optimizer.param_groups), **amp)
        self.stepped = observed or self.process_group is not None


def _costs(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Return how an optimizer whitens gradients, as options of ``GradientObserver``."""
    group = optimizer.param_groups[0]
    if "betas" not in group or "eps" not in group:
        return {}
    return {"whitening": (float(group["betas"][1]),), "eps": float(group["eps"])}


def is_placeholder_step(
    optimizer: torch.optim.Optimizer, process_group: dist.ProcessGroup | None = None
) -> bool:
    """Tell whether the step about to be taken only makes the optimizer's state.

    ``get_optimizer_state_dict`` and ``set_optimizer_state_dict`` of
    ``torch.distributed.checkpoint.state_dict`` step an optimizer without state with learning rates
    of zero and gradients of zero. That is no step of training. A warm-up's first step has a
    learning rate of zero as well, but gradients.

    Gradients are read, which waits for the device, only where all learning rates are zero on the
    host; of sharded gradients all ranks then must ask, and get the same answer. With a closure the
    question makes no sense, since the gradients come later.

    Args:
        optimizer: The optimizer, asked from a step pre-hook.
        process_group: Ranks that hold different parameters and must answer alike; all ask.

    >>> weight = torch.nn.Parameter(torch.ones(2))
    >>> optimizer = torch.optim.SGD([weight], lr=0.0)
    >>> weight.grad = torch.zeros(2)
    >>> is_placeholder_step(optimizer)
    True
    >>> weight.grad = torch.ones(2)
    >>> is_placeholder_step(optimizer)
    False
    """
    rates = 0
    for group in optimizer.param_groups:
        if "lr" in group:
            rates += 1
            if not _is_zero(group["lr"]):
                return False
    if not rates:
        return False
    parameters = all_parameters(optimizer.param_groups)
    gradients = [p.grad for p in parameters if p.grad is not None]
    # All are asked: of a sharded one all ranks must, and they may differ in the others.
    values = [_has_value(gradient) for gradient in gradients]
    found = bool(gradients), any(values)
    if process_group is not None:
        flags = torch.tensor(found, dtype=torch.int32, device=parameters[0].device)
        dist.all_reduce(flags, op=dist.ReduceOp.MAX, group=process_group)
        found = bool(flags[0]), bool(flags[1])
    return found == (True, False)


def _is_zero(rate: Any) -> bool:
    if isinstance(rate, Tensor):
        return rate.device.type == "cpu" and not bool(rate.any())
    return bool(rate == 0)


@torch.no_grad()
def _has_value(gradient: Tensor) -> bool:
    """Tell whether a gradient is anything but zeros; a NaN is something too."""
    if gradient.layout is not torch.strided:
        # Placeholders are made as their parameters are, dense.
        return True
    if is_sharded(gradient):
        whole: Any = gradient.ne(0).any()
        return bool(whole.full_tensor())
    return bool(gradient.any())


def amp_state(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Return what ``torch.amp.GradScaler`` tells optimizers that unscale gradients themselves.

    Fused optimizers see gradients still multiplied by the scale, and skip a step with infinities
    on the device. Other optimizers' gradients have been unscaled before ``step()``, and a bad
    step never gets there.
    """
    # GradScaler sets them on the optimizer itself; looking in its classes takes longer.
    own = vars(optimizer)
    return {name: own[name] for name in ("grad_scale", "found_inf") if own.get(name) is not None}


def has_closure(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Tell from a step hook's arguments whether ``step`` got a closure.

    A closure computes the gradients inside ``step()``, so they exist only after it.
    """
    # args[0] is the optimizer itself.
    return (len(args) > 1 and args[1] is not None) or kwargs.get("closure") is not None
