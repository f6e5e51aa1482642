"""Study files: a comparison written down as YAML, with errors that name the line."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from gap_tune.errors import GapTuneError, InvalidValueError, check_count, check_range
from gap_tune.study.arms import check_arms
from gap_tune.study.budget import ArmBudget
from gap_tune.study.conditions import (
    check_family,
    check_lr,
    check_lr_range,
    check_metric,
    check_mode,
)
from gap_tune.study.grammar import parse_arm
from gap_tune.workloads import get_workload
from gap_tune.workloads.registry import find_workload

SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True)
class _Key:
    """What a key's value must be.

    Attributes:
        kind: In words.
        types: Of the value in Python.
        check: Raises when a value of that type is not one that a study can have.
        items: Type of the items of a list.
    """

    kind: str
    types: tuple[type, ...]
    check: Callable[[Any], object]
    items: tuple[type, ...] = ()


def _count(name: str) -> _Key:
    return _Key("a whole number", (int,), lambda value: check_count(name, value))


def _text(check: Callable[[str], object]) -> _Key:
    return _Key("text", (str,), check)


_NUMBER = (int, float)
_KEYS: Mapping[str, _Key] = {
    "workload": _text(find_workload),
    # What the workload says to them comes later.
    "workload_options": _Key(
        "a mapping of names to values", (dict,), lambda options: _check_plain(options)
    ),
    "arms": _Key("a list of names", (list,), lambda names: check_arms(_arms(names)), (str,)),
    "family": _text(check_family),
    "seeds": _count("seeds"),
    "metric": _text(check_metric),
    "mode": _text(check_mode),
    "epochs": _count("epochs"),
    "lr": _Key("a number", _NUMBER, check_lr),
    "lr_range": _Key("a list of two numbers", (list,), check_lr_range, _NUMBER),
    "budget": _text(ArmBudget.parse),
    "reports_per_epoch": _count("reports_per_epoch"),
    "cpus": _count("cpus"),
    "cpus_per_trial": _count("cpus_per_trial"),
    "gpus_per_trial": _Key(
        "a number", _NUMBER, lambda value: check_range("gpus_per_trial", value, 0, float("inf"))
    ),
    "out": _text(lambda path: None),
}


def _arms(names: list[str]) -> tuple[Any, ...]:
    return tuple(map(parse_arm, names))


def _check_plain(options: dict[Any, Any]) -> None:
    try:
        json.dumps(options)
    except (TypeError, ValueError) as error:
        raise InvalidValueError(
            f"workload_options must hold plain JSON values, but got {options!r}: {error}."
        ) from None
    if not all(isinstance(name, str) for name in options):
        raise InvalidValueError(f"workload_options must have names, but got {list(options)}.")


def read_study_file(path: Path | str) -> dict[str, Any]:
    """Return what a study file says, by key: arguments of ``Study`` and ``Resources``, and "out".

    Every key but ``workload`` may be left out::

        workload: digits-resnet
        arms: [gap, "fixed:grid", "optuna:16"]
        seeds: 5
        budget: trials:16

    Raises:
        InvalidValueError: When the file cannot be read, is not YAML, or says something that no
            study can have; one line with the file's name and the line's number.
    """
    path = Path(path)
    try:
        root = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except OSError as error:
        raise InvalidValueError(
            f"a study file must be one that can be read, but got {path}: {error.strerror}."
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise _not_yaml(path, error) from None
    if not isinstance(root, yaml.MappingNode):
        line = 1 if root is None else _line(root)
        raise _wrong(path, line, f"a study file must be a mapping of {list(_KEYS)}.")
    values: dict[str, Any] = {}
    lines: dict[str, int] = {}
    for key, node in root.value:
        name = str(key.value)
        if name not in _KEYS:
            text = f"a key must be one of {list(_KEYS)}, but got {name!r}."
            raise _wrong(path, _line(key), text)
        if name in values:
            text = f"a key must stand once, but {name!r} stands in line {lines[name]} too."
            raise _wrong(path, _line(key), text)
        values[name], lines[name] = _value(path, name, node), _line(key)
    if "workload" not in values:
        raise _wrong(path, _line(root), "a study file must name a workload, but got none.")
    options = values.get("workload_options", {})
    line = lines.get("workload_options", lines["workload"])
    _checked(path, line, partial(get_workload, values["workload"], options))
    return values


def _value(path: Path, name: str, node: yaml.Node) -> Any:
    key = _KEYS[name]
    value = _construct(path, node)
    if isinstance(node, yaml.SequenceNode) and key.items:
        parts = [(_number(_construct(path, n), key.items), _line(n)) for n in node.value]
        for part, line in parts:
            _check_type(path, line, name, part, key.kind, key.items)
            # An item's own line, which a check of the whole list could not tell.
            if key.items == (str,):
                _checked(path, line, partial(key.check, [part]))
        value = [part for part, _ in parts]
    value = _number(value, key.types)
    _check_type(path, _line(node), name, value, key.kind, key.types)
    _checked(path, _line(node), partial(key.check, value))
    return value


def _construct(path: Path, node: yaml.Node) -> Any:
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_object(node, deep=True)
    except (yaml.YAMLError, ValueError) as error:
        raise _not_yaml(path, error, _line(node)) from None
    finally:
        loader.dispose()


def _number(value: Any, types: tuple[type, ...]) -> Any:
    # YAML 1.1 takes 1e-3, without a point, for text.
    if isinstance(value, str) and float in types:
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _check_type(
    path: Path, line: int, name: str, value: Any, kind: str, types: tuple[type, ...]
) -> None:
    if isinstance(value, bool) or not isinstance(value, types):
        raise _wrong(path, line, f"{name} must be {kind}, but got {value!r}.")


def _checked(path: Path, line: int, check: Callable[[], object]) -> None:
    try:
        check()
    except GapTuneError as error:
        raise _wrong(path, line, str(error)) from None


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _wrong(path: Path, line: int, text: str) -> InvalidValueError:
    return InvalidValueError(f"{path}, line {line}: {text}")


def _not_yaml(path: Path, error: Exception, line: int = 1) -> InvalidValueError:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error).partition("\n")[0]
    return _wrong(
        path, line if mark is None else mark.line + 1, f"a study file must be YAML, but {problem}."
    )
