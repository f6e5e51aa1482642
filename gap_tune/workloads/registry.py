"""The table of workloads, and how others find their way into it."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from gap_tune.errors import InvalidValueError, UnsupportedError, did_you_mean
from gap_tune.importing import imported

if TYPE_CHECKING:
    from gap_tune.workloads.base import Workload

ENTRY_POINTS = "gap_tune.workloads"
_METHODS = ("model", "data", "loss", "metrics")
_CLASSES = {
    "quadratic": "gap_tune.workloads.quadratic:Quadratic",
    "logistic": "gap_tune.workloads.logistic:Logistic",
    "digits-mlp": "gap_tune.workloads.vision.digits:DigitsMLP",
    "digits-cnn": "gap_tune.workloads.vision.digits:DigitsCNN",
    "digits-resnet": "gap_tune.workloads.vision.digits:DigitsResNet",
    "digits-tanh": "gap_tune.workloads.vision.deep_digits:DigitsTanh",
    "digits-attention": "gap_tune.workloads.vision.deep_digits:DigitsAttention",
    "regression": "gap_tune.workloads.regression:Regression",
    "fashion-mnist": "gap_tune.workloads.vision.fashion:FashionMNIST",
    "cifar10": "gap_tune.workloads.vision.cifar:CIFAR10",
    "cifar100": "gap_tune.workloads.vision.cifar:CIFAR100",
    "vit": "gap_tune.workloads.vision.vit:ViT",
    "language": "gap_tune.workloads.text.language:Language",
    "characters": "gap_tune.workloads.text.characters:Characters",
}


class _Workloads(Mapping[str, type["Workload"]]):
    """gap_tune's own workloads; the module of one is imported when it is looked up."""

    def __getitem__(self, name: str) -> type[Workload]:
        module, _, workload = _CLASSES[name].partition(":")
        found: type[Workload] = getattr(import_module(module), workload)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(_CLASSES)

    def __len__(self) -> int:
        return len(_CLASSES)


WORKLOADS: Mapping[str, type[Workload]] = _Workloads()


def workload_names() -> list[str]:
    """Return the names of gap_tune's own workloads and of those that entry points name.

    >>> workload_names()[:2]
    ['quadratic', 'logistic']
    """
    return [*_CLASSES, *(point.name for point in entry_points(group=ENTRY_POINTS))]


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
        raise InvalidValueError(
            f"options of {name} must be among {known}, but got {unknown}."
            + did_you_mean(unknown[0], known)
        )
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
        + did_you_mean(name, workload_names())
    )


def _complete(name: str, found: Any) -> type[Workload]:
    """Return a user's class as a ``Workload``, with the defaults of whatever it does not say."""
    from gap_tune.workloads.base import Workload

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
