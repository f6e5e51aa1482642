"""Searchers: what Ray's searchers keep to themselves (facts 22 to 24)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ray.tune.search import Repeater, Searcher
from ray.tune.search.optuna import OptunaSearch

from gap_tune.tune import nested


def given_space(searcher: Searcher) -> Any:
    """Return the space that a searcher was built with or made; None where unknown.

    Returns:
        A dict by path, or the function that defines the space as it runs.
    """
    return getattr(searcher, "_space", None)


def own_space(searcher: Searcher) -> dict[str, Any]:
    """Return the space that a searcher was built with or made, by path; empty where unknown."""
    space = given_space(searcher)
    return space if isinstance(space, dict) else {}


def own_points(searcher: Searcher) -> list[Any]:
    """Return the points that a searcher was told to begin with; empty where unknown."""
    points = getattr(searcher, "_points_to_evaluate", None)
    return points if isinstance(points, list) else []


def remember(searcher: Searcher, metric: str | None, mode: str | None) -> None:
    """Have a searcher show metric and mode, as of ``set_search_properties``."""
    searcher._metric, searcher._mode = metric, mode


def chain(searcher: Searcher) -> Iterator[Searcher]:
    """Yield a searcher and, outside in, those that it wraps."""
    yield searcher
    while hasattr(searcher, "searcher"):
        searcher = searcher.searcher
        yield searcher


def takes_points(searcher: Searcher, suggestion: Mapping[str, Any]) -> bool:
    """Tell whether a suggestion may be moved, and the searcher told of the point that was used.

    Optuna's may, where its space is known. Repeats of a configuration must be equal, and points
    that a user asked for are to be evaluated where they are.
    """
    base = innermost(searcher)
    space = own_space(base)
    repeats = any(isinstance(each, Repeater) for each in chain(searcher))
    if repeats or not space or not isinstance(base, OptunaSearch):
        return False
    if not all(nested.holds(suggestion, name) for name in space):
        return False
    asked = [point for point in own_points(base) if isinstance(point, Mapping)]
    return not any(
        all(nested.get(suggestion, str(name)) == value for name, value in point.items())
        for point in asked
    )


def known_parameters(searcher: Searcher, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what a searcher knows of parameters: Optuna by their paths, and nothing else."""
    base = innermost(searcher)
    space = own_space(base) if isinstance(base, OptunaSearch) else {}
    if space and all(nested.holds(parameters, key) for key in space):
        return {key: nested.get(parameters, key) for key in space}
    return parameters


def innermost(searcher: Searcher) -> Searcher:
    """Return the searcher that wraps no other."""
    return list(chain(searcher))[-1]
