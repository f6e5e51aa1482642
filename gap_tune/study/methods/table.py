"""The table of search methods, and how others find their way into it."""

from __future__ import annotations

import inspect
from functools import lru_cache
from importlib.metadata import entry_points

from gap_tune.errors import UnsupportedError
from gap_tune.importing import imported
from gap_tune.study.methods.asha import ASHA
from gap_tune.study.methods.base import SearchMethod
from gap_tune.study.methods.median import Median
from gap_tune.study.methods.optuna import Optuna
from gap_tune.study.methods.pbt import PBT

ENTRY_POINTS = "gap_tune.search_methods"

# Those that arms are named after; the momenta of a grid are named instead (``grammar.parse_arm``).
METHODS: dict[str, type[SearchMethod]] = {
    method.name: method for method in (Optuna, ASHA, Median, PBT)
}


def find_method(name: str) -> type[SearchMethod] | None:
    """Return the search method of that name; None where there is none.

    Args:
        name: A name of the table, or of an entry point of the group "gap_tune.search_methods".

    Raises:
        UnsupportedError: When an entry point leads to nothing, or to something else.

    >>> find_method("pbt").fewest, find_method("gap")
    (2, None)
    """
    if name in METHODS:
        return METHODS[name]
    path = _entry_point(name)
    return None if path is None else _complete(name, imported(path, "search method"))


@lru_cache(maxsize=128)
def _entry_point(name: str) -> str | None:
    """Return the import path of an entry point; looking for it takes milliseconds."""
    return next((point.value for point in entry_points(group=ENTRY_POINTS, name=name)), None)


def _complete(name: str, found: object) -> type[SearchMethod]:
    if not inspect.isclass(found) or not issubclass(found, SearchMethod):
        raise UnsupportedError(
            f"search method {name!r} must be a subclass of SearchMethod, but got {found!r:.200}."
        )
    if inspect.isabstract(found) or getattr(found, "name", None) != name:
        raise UnsupportedError(
            f"search method {name!r} must have a method search and that name, "
            f"but got {found.__name__}."
        )
    return found
