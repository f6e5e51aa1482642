"""Where a class trainable keeps an object, to find what has taken its place."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from types import FunctionType, MethodType, ModuleType
from typing import Any, TypeAlias

import torch

# An attribute (".") or an item ("[]") of what holds something.
Step: TypeAlias = tuple[str, Any]
Path: TypeAlias = tuple[Step, ...]

_DEEPEST = 3
# What holds more than this is data.
_MOST_PARTS = 1000
_MOST_LOOKED_AT = 20_000
# A scheduler's optimizer is where it is used, not where it is kept.
_LEAVES = (
    *(torch.Tensor, torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler),
    *(type, FunctionType, MethodType, ModuleType, str, int, float, type(None)),
)


class Whereabouts:
    """Where objects are: in attributes of a thing, or in dictionaries, lists and objects there.

    Args:
        thing: Where to look.
        sought: The objects, which somebody must keep alive.
        skipped: What else holds them, and is not to be looked at.

    >>> from types import SimpleNamespace
    >>> wheel = object()
    >>> car = SimpleNamespace(parts={"wheels": [wheel]})
    >>> places = Whereabouts(car, [wheel])
    >>> car.parts = {"wheels": ["another"]}
    >>> places.present(wheel, lambda found: True)
    'another'
    """

    def __init__(self, thing: Any, sought: Sequence[Any], skipped: Sequence[Any] = ()) -> None:
        self._thing = thing
        # Places by the object's identity, nearest first.
        self._paths: dict[int, list[Path]] = {id(each): [] for each in sought}
        known = {id(each) for each in (thing, *skipped)}
        level: list[tuple[Path, Any]] = [((), thing)]
        for _ in range(_DEEPEST):
            inner: list[tuple[Path, Any]] = []
            for path, holder in level:
                for step, value in _parts(holder):
                    if id(value) in self._paths:
                        self._paths[id(value)].append((*path, step))
                    elif id(value) not in known and len(known) < _MOST_LOOKED_AT:
                        known.add(id(value))
                        inner.append(((*path, step), value))
            level = inner

    def present(self, thing: Any, fits: Callable[[Any], bool]) -> Any:
        """Return what is now where a sought object was; the object where it still is or never was.

        Only the nearest places count, which are the trainable's own.

        Args:
            thing: The object.
            fits: Tells what can have taken its place; anything else is returned only where no
                place holds such.
        """
        paths = self._paths[id(thing)]
        nearest = [path for path in paths if len(path) == len(paths[0])]
        others = [value for value in map(self._follow, nearest) if value is not thing]
        return next(filter(fits, others), others[0] if others else thing)

    def _follow(self, path: Path) -> Any:
        found = self._thing
        for kind, key in path:
            try:
                found = getattr(found, key) if kind == "." else found[key]
            except (AttributeError, TypeError, KeyError, IndexError):
                return None
        return found


def _parts(thing: Any) -> Iterator[tuple[Step, Any]]:
    """Yield what a thing holds, and how to get there."""
    if isinstance(thing, _LEAVES):
        return
    if isinstance(thing, (dict, list, tuple)):
        if len(thing) <= _MOST_PARTS:
            items = thing.items() if isinstance(thing, dict) else enumerate(thing)
            yield from ((("[]", key), value) for key, value in items)
    elif hasattr(thing, "__dict__"):
        yield from (((".", name), value) for name, value in list(vars(thing).items()))
