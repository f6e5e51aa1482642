"""Packages whose public names load their modules when they are first used (PEP 562)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any


def lazily(
    package: str, modules: Mapping[str, Sequence[str]], packages: Sequence[str] = ()
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Return ``__getattr__``, ``__dir__`` and ``__all__`` of a package.

    A name must be no module of the package: importing that module would hide it.

    Args:
        package: The package, ``__name__`` in its ``__init__``.
        modules: Names of the package by the module that defines them.
        packages: Packages inside of it that load likewise; not part of ``__all__``.

    >>> get, names, public = lazily("gap_tune", {"gap_tune.errors": ["StateError"]})
    >>> get("StateError").__module__, public
    ('gap_tune.errors', ['StateError'])
    """
    where = {name: module for module, names in modules.items() for name in names}

    def get(name: str) -> Any:
        if name in packages:
            return import_module(f"{package}.{name}")
        found = sys.modules[package]
        if name not in where:
            text = f"module {package!r} has no attribute {name!r}"
            raise AttributeError(text, name=name, obj=found)
        value = getattr(import_module(where[name]), name)
        # Python looks there first: from now on as fast as any name.
        setattr(found, name, value)
        return value

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *where, *packages})

    return get, names, list(where)
