"""unwrapped: the torch optimizer behind what Accelerate, Lightning and others wrap it in."""

from __future__ import annotations

from typing import Any

import torch

from gap_tune.errors import UnsupportedError

# Where wrappers keep what they wrap; some only have a property of that name.
_NAMES = ("optimizer", "_optimizer", "optim", "_optim", "base_optimizer", "inner_optimizer")
# What answers every attribute with something new (a mock) must not be followed for ever.
_MOST = 64


def unwrapped(optimizer: Any) -> torch.optim.Optimizer:
    """Return the torch optimizer whose step hooks run when ``optimizer.step()`` is called.

    An optimizer that torch has initialised is itself, unless it only steps another one's groups
    (lookahead). A wrapper that is no torch optimizer, or passes for one without
    ``Optimizer.__init__`` (Accelerate's, Lightning's), never runs hooks of its own, but those of
    the optimizer that it steps.

    Args:
        optimizer: A torch optimizer, or a wrapper of one, several deep if need be.

    Raises:
        UnsupportedError: When there is no torch optimizer in it, or more than one.

    >>> class Wrapper:
    ...     def __init__(self, inner):
    ...         self.optimizer = inner
    >>> sgd = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
    >>> unwrapped(Wrapper(Wrapper(sgd))) is sgd
    True
    """
    found = _hooked(optimizer, {})
    if len(found) == 1:
        return found[0]
    kind = type(optimizer).__name__
    if len(found) > 1:
        inner = sorted(type(each).__name__ for each in found)
        raise UnsupportedError(
            "optimizer must be a torch.optim.Optimizer or wrap one, "
            f"but got {kind}, which wraps {len(found)}: {', '.join(inner)}."
        )
    if isinstance(optimizer, torch.optim.Optimizer):
        raise UnsupportedError(
            "optimizer must have called torch.optim.Optimizer.__init__, whose step hooks tell of "
            f"its steps, or wrap one that has, but got {kind}, which does neither."
        )
    raise UnsupportedError(f"optimizer must be a torch.optim.Optimizer, but got {kind}.")


def _hooked(thing: Any, seen: dict[int, Any]) -> list[torch.optim.Optimizer]:
    """Return the optimizers in a wrapper whose hooks run, without going in circles."""
    if id(thing) in seen or len(seen) >= _MOST:
        return []
    # The objects are kept, so that no other one gets their numbers.
    seen[id(thing)] = thing
    initialised = _is_initialised(thing)
    if initialised and getattr(type(thing).step, "hooked", False):
        return _holder_of_groups(thing, seen) or [thing]
    for name in _NAMES:
        # A wrapper with one of these names need not look like an optimizer to hold one.
        value = _attribute(thing, name)
        found = _hooked(value, seen) if _own(value) else []
        if found:
            return found
    others = [each for value in _own(thing).values() for each in _hooked_within(value, seen)]
    # The class of an initialised optimizer may have got another ``step`` on top of the hooked one.
    if not others and initialised and any(_has_hooked_step(kind) for kind in type(thing).__mro__):
        return [thing]
    return others


def _holder_of_groups(optimizer: Any, seen: dict[int, Any]) -> list[torch.optim.Optimizer]:
    """Return the optimizer inside that steps the very same groups and holds their state, if any.

    Such are the wrapped ones of lookahead and of sharpness-aware minimisation.
    """
    for name in _NAMES:
        inner = _attribute(optimizer, name)
        if not isinstance(inner, torch.optim.Optimizer) or inner is optimizer:
            continue
        if inner.param_groups is optimizer.param_groups:
            return _hooked(inner, seen)
    return []


def _hooked_within(value: Any, seen: dict[int, Any]) -> list[torch.optim.Optimizer]:
    if isinstance(value, torch.optim.Optimizer) or _looks_like_an_optimizer(value):
        return _hooked(value, seen)
    return []


def _looks_like_an_optimizer(value: Any) -> bool:
    return not isinstance(value, type) and all(
        callable(_attribute(value, name)) for name in ("step", "zero_grad")
    )


def _is_initialised(thing: Any) -> bool:
    """Tell whether torch keeps hooks for it: a wrapper's ``__getattr__`` may show another's."""
    is_torch = isinstance(thing, torch.optim.Optimizer)
    return is_torch and "_optimizer_step_pre_hooks" in _own(thing)


def _has_hooked_step(kind: type) -> bool:
    return bool(getattr(vars(kind).get("step"), "hooked", False))


def _own(thing: Any) -> dict[str, Any]:
    own = getattr(thing, "__dict__", None)
    return own if isinstance(own, dict) else {}


def _attribute(thing: Any, name: str) -> Any:
    """Return an attribute, or None: a property of somebody's wrapper may raise anything."""
    try:
        return getattr(thing, name, None)
    except Exception:
        return None
