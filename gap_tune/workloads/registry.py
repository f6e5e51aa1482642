"""The table of workloads, and how others find their way into it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any

from gap_tune.errors import InvalidValueError, UnsupportedError
from gap_tune.importing import imported
from gap_tune.workloads.base import Workload
from gap_tune.workloads.logistic import Logistic
from gap_tune.workloads.quadratic import Quadratic
from gap_tune.workloads.text.characters import Characters
from gap_tune.workloads.text.language import Language
from gap_tune.workloads.vision.cifar import CIFAR10, CIFAR100
from gap_tune.workloads.vision.digits import DigitsCNN, DigitsMLP, DigitsResNet
from gap_tune.workloads.vision.vit import ViT

ENTRY_POINTS = "gap_tune.workloads"
_METHODS = ("model", "data", "loss", "metrics")

WORKLOADS: dict[str, type[Workload]] = {
    workload.name: workload
    for workload in (
        Quadratic,
        Logistic,
        DigitsMLP,
        DigitsCNN,
        DigitsResNet,
        CIFAR10,
        CIFAR100,
        ViT,
        Language,
        Characters,
    )
}


def get_workload(name: str, options: Mapping[str, Any] | None = None) -> Workload:
    """Return the workload of that name.

    Args:
        name: A name of the table, that of an entry point of the group "gap_tune.workloads", or
            "package.module:Class", a class with ``model``, ``data``, ``loss`` and ``metrics``;
            the rest of ``Workload`` it may have.
        options: Keyword arguments of its constructor.

    Raises:
        InvalidValueError: When there is none, or it has no such option.
        UnsupportedError: When a class lacks a method, or cannot be imported.

    >>> get_workload("digits-resnet", {"label_noise": 0.2}).label_noise
    0.2
    """
    workload = find_workload(name)
    known = [p for p in inspect.signature(workload).parameters if p not in ("args", "kwargs")]
    unknown = sorted(set(options or {}) - set(known))
    if unknown:
        raise InvalidValueError(f"options of {name} must be among {known}, but got {unknown}.")
    return workload(**(options or {}))


def find_workload(name: str) -> type[Workload]:
    """Return the class of the workload of that name; names and errors as of ``get_workload``."""
    if name in WORKLOADS:
        return WORKLOADS[name]
    if ":" in name:
        return _complete(name, imported(name, "workload"))
    for point in entry_points(group=ENTRY_POINTS, name=name):
        return _complete(name, imported(point.value, "workload"))
    raise InvalidValueError(
        f"workload must be one of {sorted(WORKLOADS)}, an entry point of the group "
        f'"{ENTRY_POINTS}" or "package.module:Class", but got {name!r}.'
    )


def _complete(name: str, found: Any) -> type[Workload]:
    """Return a user's class as a ``Workload``, with the defaults of whatever it does not say."""
    missing = [method for method in _METHODS if not _defines(found, method)]
    if not inspect.isclass(found) or missing:
        raise UnsupportedError(
            f"workload {name!r} must be a class with {', '.join(_METHODS)}, "
            f"but got one without {', '.join(missing) or 'being a class'}."
        )
    if issubclass(found, Workload):
        return found
    return type(found.__name__, (found, Workload), {"name": name})


def _defines(found: Any, method: str) -> bool:
    defined = getattr(found, method, None)
    return callable(defined) and not getattr(defined, "__isabstractmethod__", False)
