"""HostReads: what would make the host wait for an accelerator, found where there is none."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

_WAITING = (
    *("_local_scalar_dense", "nonzero", "is_nonzero", "masked_select", "equal"),
    *("lift_fresh", "lift_fresh_copy"),
)


class HostReads(TorchDispatchMode):
    """Collects the operators that read a value on the host, or copy a constant from it.

    On an accelerator each of them waits for all that was queued before; here they are caught where
    they happen, on any device. ``Tensor.tolist`` of a tensor on the CPU is no operator, and so it
    is not found: reading once what was computed together is the way to read.

    Args:
        allowed: Tensors that may be read, such as step counters that live on the host.

    >>> import torch
    >>> with HostReads() as reads:
    ...     _ = torch.ones(3).sum().item()
    >>> reads.found
    ['aten._local_scalar_dense.default']
    """

    def __init__(self, allowed: Iterable[Tensor] = ()) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.allowed = list(allowed)
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Note the operator if it waits, then run it."""
        is_allowed = bool(args) and any(args[0] is tensor for tensor in self.allowed)
        if str(func).split(".")[1] in _WAITING and not is_allowed:
            self.found.append(str(func))
        return func(*args, **(kwargs or {}))
