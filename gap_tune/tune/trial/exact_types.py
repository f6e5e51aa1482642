"""Types that come back from a checkpoint as they were, and nothing that runs code.

torch's ``weights_only`` loading admits tensors, plain values and a few containers. What trials
save besides is admitted here: numbers and arrays of NumPy, sets, deques and dictionaries with
defaults, members of enumerations and named tuples. Everything else is refused by name.

``torch.save`` takes this module as its ``pickle_module``.
"""

from __future__ import annotations

import io
import pickle
import sys
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from itertools import chain
from typing import Any

import numpy as np
import torch

from gap_tune.errors import StateError

_MAPPINGS = (dict, OrderedDict, Counter, defaultdict)
_SEQUENCES = (list, tuple, set, frozenset, deque, torch.Size)
# Names of tensors are often long; what is deeper than this is told by its surroundings.
_LONGEST_PATH = 200


class Pickler(pickle.Pickler):
    """Pickles what torch's unpickler cannot build itself as calls of the functions below."""

    def reducer_override(self, value: Any) -> Any:
        """Return how to build a value, or leave that to pickle."""
        kind = type(value)
        if kind is deque:
            return make_deque, (list(value), value.maxlen)
        if kind is defaultdict:
            return make_defaultdict, (value.default_factory, dict(value))
        if isinstance(value, Enum) and _found(kind) is kind:
            key = value.name if value.name in kind.__members__ else None
            plain = None if key is not None else value.value
            return make_member, (kind.__module__, kind.__qualname__, key, plain)
        if _is_named_tuple(kind) and _found(kind) is kind:
            where = (kind.__module__, kind.__qualname__)
            return make_named_tuple, (*where, tuple(value), _attributes(value))
        return NotImplemented


def make_deque(items: list[Any], longest: int | None) -> deque[Any]:
    """Return a deque."""
    return deque(items, longest)


def make_defaultdict(default: Any, items: dict[Any, Any]) -> defaultdict[Any, Any]:
    """Return a dictionary with defaults."""
    return defaultdict(default, items)


def make_member(module: str, name: str, key: str | None, value: Any) -> Enum:
    """Return a member of an enumeration that this process has imported; nothing is imported."""
    kind = _look_up(module, name)
    if not (isinstance(kind, type) and issubclass(kind, Enum)):
        raise _unknown(module, name, "an enumeration")
    return kind(value) if key is None else kind[key]


def make_named_tuple(
    module: str, name: str, items: tuple[Any, ...], attributes: dict[str, Any]
) -> tuple[Any, ...]:
    """Return a named tuple of a type that this process has imported; nothing is imported."""
    kind = _look_up(module, name)
    if not (isinstance(kind, type) and _is_named_tuple(kind)):
        raise _unknown(module, name, "a named tuple")
    made: tuple[Any, ...] = tuple.__new__(kind, items)
    if attributes:
        vars(made).update(attributes)
    return made


@contextmanager
def admitted() -> Iterator[None]:
    """Let ``torch.load(..., weights_only=True)`` build these types."""
    # Leaving takes away what entering added, but not what the user has admitted.
    known = torch.serialization.get_safe_globals()
    with torch.serialization.safe_globals([each for each in _ADMITTED if each not in known]):
        yield


def refused(state: Any, place: str) -> str | None:
    """Return type and place of the first value that would not come back; None without.

    Args:
        state: What was to be saved.
        place: What to call it.
    """
    return _refused(state, place, set())


def _refused(value: Any, place: str, seen: set[int]) -> str | None:
    kind = type(value)
    if kind in (torch.Tensor, torch.nn.Parameter, str, int, float, bool, type(None)):
        return None if _loads(value) else _named(kind, place)
    if id(value) in seen:
        return None
    seen.add(id(value))
    parts: Iterator[tuple[Any, str]]
    if kind in _MAPPINGS:
        for key in value:
            found = _refused(key, f"a key of {place}", seen)
            if found is not None:
                return found
        parts = ((item, f"{place}[{_short(key)}]") for key, item in value.items())
    elif kind in _SEQUENCES or (_is_named_tuple(kind) and _found(kind) is kind):
        parts = ((item, f"{place}[{i}]") for i, item in enumerate(value))
    else:
        return None if _loads(value) else _named(kind, place)
    attributes = ((item, f"{place}.{key}") for key, item in _attributes(value).items())
    for item, where in chain(parts, attributes):
        found = _refused(item, where, seen)
        if found is not None:
            return found
    if kind is defaultdict and not _loads(value.default_factory):
        return _named(type(value.default_factory), f"{place}.default_factory")
    return None


def _loads(value: Any) -> bool:
    """Try out whether a value comes back."""
    if type(value) in (torch.Tensor, torch.nn.Parameter) and not vars(value):
        usual = value.layout in (torch.strided, torch.sparse_coo) and not value.is_nested
        return usual or _comes_back(value)
    return _comes_back(value)


def _comes_back(value: Any) -> bool:
    file = io.BytesIO()
    try:
        torch.save(value, file, pickle_module=sys.modules[__name__])
        file.seek(0)
        with admitted():
            torch.load(file, map_location="cpu", weights_only=True)
    except Exception:
        return False
    return True


def _unknown(module: str, name: str, what: str) -> StateError:
    return StateError(
        f"the checkpoint holds {module}.{name}, which must be {what} of a module that has been "
        "imported by now, but got none."
    )


def _named(kind: type, place: str) -> str:
    module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    return f"{module}{kind.__qualname__} at {place[-_LONGEST_PATH:]}"


def _attributes(value: Any) -> dict[str, Any]:
    """Return what a dictionary with an order, or a subclass of a named tuple, holds besides."""
    return getattr(value, "__dict__", {})


def _short(key: Any) -> str:
    text = repr(key)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _is_named_tuple(kind: type) -> bool:
    return issubclass(kind, tuple) and isinstance(getattr(kind, "_fields", None), tuple)


def _found(kind: type) -> Any:
    return _look_up(kind.__module__, kind.__qualname__)


def _look_up(module: str, name: str) -> Any:
    """Return what a module that has been imported calls so, or None."""
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        # With getattr, a module might import what it is asked for.
        found = vars(found).get(part) if hasattr(found, "__dict__") else None
    return found


def _of_numpy() -> list[Any]:
    """Return what builds NumPy's numbers and arrays, objects excepted."""
    scalar = np.float64(0.0).__reduce__()[0]
    array = np.empty(0).__reduce__()[0]
    kinds = {type(np.dtype(code)) for code in np.typecodes["All"] if code not in "OV"}
    return [scalar, array, np.ndarray, np.dtype, *kinds]


_ADMITTED: list[Any] = [
    *(make_deque, make_defaultdict, make_member, make_named_tuple),
    *(frozenset, bytes, range, slice, deque, list, dict, tuple, int, float, bool, str),
    *_of_numpy(),
]
__all__ = ["Pickler", "admitted", "refused"]
