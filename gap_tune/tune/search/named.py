"""searcher_of: the searcher that GapSearch wraps, given by itself or by its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import optuna
from ray.tune.search import Searcher
from ray.tune.search.optuna import OptunaSearch

from gap_tune.errors import InvalidValueError, UnsupportedError, check_count

# A searcher, its name, or {"name": ..., "seed": ...}; None is the default.
SearcherSpec: TypeAlias = Searcher | str | Mapping[str, Any] | None


def _random(seed: int | None) -> Searcher:
    return OptunaSearch(sampler=optuna.samplers.RandomSampler(seed=seed))


def _tpe(seed: int | None) -> Searcher:
    return OptunaSearch(seed=seed)


_DEFAULT = "tpe"
_SEARCHERS: Mapping[str, Callable[[int | None], Searcher]] = {"random": _random, "tpe": _tpe}


def searcher_of(given: SearcherSpec) -> Searcher:
    """Return the searcher that is meant.

    Args:
        given: A searcher, which is returned as it is; "tpe", Optuna's own choice and the default;
            "random", in which every trial is drawn independently of all others; or one of these
            with a seed, as ``{"name": "random", "seed": 7}``, which then suggests the same
            configurations in every study.

    Raises:
        InvalidValueError: When no searcher has this name, or the seed is no integer from 0 on.
        UnsupportedError: When it is of another kind.

    >>> type(searcher_of("random")).__name__
    'OptunaSearch'
    >>> searcher_of("grid")
    Traceback (most recent call last):
    ...
    gap_tune.errors.InvalidValueError: searcher must be one of ['random', 'tpe'], but got 'grid'.
    """
    if isinstance(given, Searcher):
        return given
    name, seed = _read(given)
    if not isinstance(name, str) or name not in _SEARCHERS:
        raise InvalidValueError(f"searcher must be one of {sorted(_SEARCHERS)}, but got {name!r}.")
    return _SEARCHERS[name](seed)


def _read(given: Any) -> tuple[Any, int | None]:
    if given is None:
        return _DEFAULT, None
    if isinstance(given, str):
        return given, None
    if not isinstance(given, Mapping):
        raise UnsupportedError(
            "searcher must be a ray.tune.search.Searcher or the name of one, "
            f"but got {type(given).__name__}."
        )
    others = sorted(map(str, given.keys() - {"name", "seed"}))
    if others:
        raise InvalidValueError(f"a searcher's options must be name and seed, but got {others}.")
    seed = given.get("seed")
    return given.get("name"), None if seed is None else check_count("seed", seed, 0)
