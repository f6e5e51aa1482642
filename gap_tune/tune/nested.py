"""Values of nested configurations by key: "train_loop_config/lr" as much as "lr"."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

# The keys that lead to a value, outermost first.
Path = tuple[str, ...]


def path_of(config: Mapping[str, Any], key: str) -> Path | None:
    """Return where a key stands, or None: as it is spelled, else as a path of nested mappings.

    >>> path_of({"loop": {"lr": 0.1}}, "loop/lr"), path_of({"loop/lr": 0.1}, "loop/lr")
    (('loop', 'lr'), ('loop/lr',))
    """
    if key in config:
        return (key,)
    for parent, rest in _splits(key):
        inner = config.get(parent)
        if isinstance(inner, Mapping):
            found = path_of(inner, rest)
            if found is not None:
                return (parent, *found)
    return None


def place_for(config: Mapping[str, Any], key: str) -> Path:
    """Return where a key stands, or where it would.

    A "/" nests, as in Ray Tune, unless the configuration already spells its neighbours flat, or
    holds something that is no mapping where it would have to go.

    >>> place_for({}, "loop/momentum"), place_for({"loop/lr": 0.1}, "loop/momentum")
    (('loop', 'momentum'), ('loop/momentum',))
    """
    found = path_of(config, key)
    if found is not None:
        return found
    for parent, rest in _splits(key):
        inner = config.get(parent)
        if isinstance(inner, Mapping):
            return (parent, *place_for(inner, rest))
    parent, _, rest = key.partition("/")
    flat = parent in config or any(str(name).startswith(f"{parent}/") for name in config)
    return (key,) if flat or not parent or not rest else (parent, *place_for({}, rest))


def holds(config: Mapping[str, Any], key: str) -> bool:
    """Tell whether a key stands somewhere in a configuration."""
    return path_of(config, key) is not None


def get(config: Mapping[str, Any], key: str, default: Any = None) -> Any:
    """Return the value of a key; the default where it stands nowhere."""
    if key in config:
        return config[key]
    path = path_of(config, key)
    return default if path is None else at(config, path)


def at(config: Mapping[str, Any], path: Path) -> Any:
    """Return what is at a path; None where nothing is."""
    value: Any = config
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def put(config: Mapping[str, Any], path: Path, value: Any) -> dict[str, Any]:
    """Return a configuration with a value at a path; the one given stays as it is.

    >>> put({"loop": {"lr": 0.1}}, ("loop", "momentum"), 0.9)
    {'loop': {'lr': 0.1, 'momentum': 0.9}}
    """
    name, *rest = path
    if not rest:
        return {**config, name: value}
    inner = config.get(name)
    return {**config, name: put(inner if isinstance(inner, Mapping) else {}, tuple(rest), value)}


def without(config: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Return a configuration without what is at a path; the one given stays as it is."""
    name, *rest = path
    if not rest:
        return {k: v for k, v in config.items() if k != name}
    inner = config.get(name)
    if not isinstance(inner, Mapping):
        return dict(config)
    return {**config, name: without(inner, tuple(rest))}


def leaves(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield what is no mapping in a configuration or result, each with its key.

    >>> dict(leaves({"loop": {"lr": 0.1}, "seed": 3}))
    {'loop/lr': 0.1, 'seed': 3}
    """
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{prefix}{name}/")
        else:
            yield f"{prefix}{name}", value


def _splits(key: str) -> Iterator[tuple[str, str]]:
    """Yield the ways to read a key as a mapping's and one in it, the shortest first."""
    for place, letter in enumerate(key):
        if letter == "/":
            yield key[:place], key[place + 1 :]
