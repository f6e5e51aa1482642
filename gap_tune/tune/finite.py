"""What counts as finite, alike for sessions, scheduler and searcher: metrics and weights."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.parameter import is_lazy

from gap_tune.formatting import plain
from gap_tune.tune import keys, nested

_LONGEST = 100


def is_finite(value: Any) -> bool:
    """Return False for numbers, and arrays of one, that are NaN or infinite; True for all else.

    >>> [is_finite(v) for v in (1.0, "nan", None, float("nan"), 10**400)]
    [True, True, True, False, False]
    """
    if value is None or isinstance(value, (str, bool)):
        return True
    try:
        # NumPy's newer versions take only arrays without dimensions for numbers.
        return math.isfinite(float(value.item() if isinstance(value, np.ndarray) else value))
    except OverflowError:
        return False
    except (TypeError, ValueError, RuntimeError):
        return True


def first_non_finite(result: Mapping[str, Any], metrics: str | Sequence[str] | None) -> str | None:
    """Return the reason for which a trial fails, of the first metric that is not finite.

    Args:
        result: What the trial reported, nested or flattened.
        metrics: The name of the study's metric, such as "eval/loss", or those of several; one
            that was not reported is not judged.

    >>> first_non_finite({"loss": 1.0, "eval": {"size": float("nan")}}, ["loss", "eval/size"])
    "the study's metric 'eval/size' must be finite, but the trial reported nan."
    """
    for name in keys.metric_names(metrics):
        value = nested.get(result, name)
        if not is_finite(value):
            return non_finite_message(name, value)
    return None


def number_of(result: Mapping[str, Any], metric: str | Sequence[str] | None) -> float | None:
    """Return the study's metric in a result; None where there is not one metric of numbers.

    >>> number_of({"eval": {"loss": 2}}, "eval/loss"), number_of({"loss": 2}, ["loss", "size"])
    (2.0, None)
    """
    value = nested.get(result, metric) if isinstance(metric, str) else None
    try:
        return None if isinstance(value, (bool, str, type(None))) else float(value)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        return None


def non_finite_message(metric: str | None, value: Any) -> str:
    """Return the reason for which a trial fails."""
    try:
        text = plain(str(value), _LONGEST)
    except ValueError:
        # Python refuses to write out a whole number of thousands of digits.
        text = "a number of too many digits"
    return f"the study's metric {metric!r} must be finite, but the trial reported {text}."


def non_finite_weight(optimizer: torch.optim.Optimizer, objects: Mapping[str, Any]) -> str | None:
    """Return the name of a trained weight that is not finite; None where all are.

    Looked at are the parameters of the optimizer and of modules that are trained, not buffers and
    frozen parameters: masks of minus infinity are common there. Waits for each device once, where
    all is well.

    Args:
        optimizer: The optimizer.
        objects: Modules and others, by name.
    """
    sums: dict[torch.device, list[tuple[str, Tensor, Tensor]]] = {}
    for name, weight in _trained(optimizer, objects):
        sums.setdefault(weight.device, []).append((name, weight, _sum(weight)))
    for of_device in sums.values():
        finite = torch.stack([total for _, _, total in of_device]).isfinite().tolist()
        for (name, weight, _), good in zip(of_device, finite, strict=True):
            # A sum of large numbers can be infinite, too.
            if not good and not bool(torch.isfinite(weight).all()):
                return name
    return None


def _trained(
    optimizer: torch.optim.Optimizer, objects: Mapping[str, Any]
) -> Iterator[tuple[str, Tensor]]:
    """Yield every trained weight once; modules first, since they know its name."""
    seen: set[int] = set()
    modules = {n: thing for n, thing in objects.items() if isinstance(thing, torch.nn.Module)}
    named: list[tuple[str, Tensor]]
    named = [(f"{n}.{k}", p) for n, m in modules.items() for k, p in m.named_parameters()]
    for i, group in enumerate(optimizer.param_groups):
        named += [(f"parameter {k} of group {i}", p) for k, p in enumerate(group["params"])]
    for name, parameter in named:
        # A lazy module's parameter has no shape until the first batch.
        if is_lazy(parameter):
            continue
        # A rank looks at its own part of what is sharded.
        local = parameter.to_local() if hasattr(parameter, "to_local") else parameter
        floats = local.is_floating_point() or local.is_complex()
        usable = floats and local.numel() and local.itemsize > 1 and not local.is_meta
        if id(parameter) not in seen and parameter.requires_grad and usable:
            seen.add(id(parameter))
            values = local.coalesce().values() if local.is_sparse else local
            yield name, values.detach()


def _sum(weight: Tensor) -> Tensor:
    """Return a number that is not finite if any of a weight's is not: the quickest there is."""
    total = weight.sum(dtype=torch.float32) if weight.itemsize < 4 else weight.sum()
    return total.abs().double()
