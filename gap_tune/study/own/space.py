"""Spaces of Ray Tune's domains as JSON and YAML, and configurations drawn from them.

A domain is a mapping of its name to its arguments: ``{"loguniform": [1e-4, 0.1]}``. Any other
mapping is nested, and any other value is a constant.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ray import tune
from ray.tune.search import sample

from gap_tune.errors import InvalidValueError
from gap_tune.study.checked_yaml import read_mapping
from gap_tune.tune import nested

# Domains by name, and what their arguments are; a choice takes values of its own.
ARGUMENTS: dict[str, tuple[str, ...]] = {
    "uniform": ("low", "high"),
    "quniform": ("low", "high", "step"),
    "loguniform": ("low", "high"),
    "qloguniform": ("low", "high", "step"),
    "randint": ("low", "high"),
    "qrandint": ("low", "high", "step"),
    "lograndint": ("low", "high"),
    "qlograndint": ("low", "high", "step"),
    "randn": ("mean", "deviation"),
    "qrandn": ("mean", "deviation", "step"),
}
_CHOICE = "choice"
_NAMES = (*ARGUMENTS, _CHOICE)
# From which likeness, up to 1, a name is taken for a domain's that is misspelt.
_ALIKE = 0.75
# YAML 1.1 takes 1e-3, without a point, for text.
_EXPONENT = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+")


def read_space(path: Path | str) -> dict[str, Any]:
    """Return the ``param_space`` that a YAML file describes.

    ::

        lr: {loguniform: [1e-4, 1e-1]}
        width: {choice: [64, 128]}
        model: {layers: {randint: [1, 5]}, activation: relu}
        epochs: 10

    Raises:
        InvalidValueError: When the file cannot be read, is not YAML, or a domain is none; one line
            with the file's name, the line's number, and the key.
    """
    data = read_mapping(path, "a space file")
    found = {}
    for name, (line, value) in data.items():
        try:
            found[name] = _decoded(name, _as_meant(name, value))
        except InvalidValueError as error:
            raise InvalidValueError(f"{path}, line {line}: {error}") from None
    return found


def decode(space: Mapping[str, Any]) -> dict[str, Any]:
    """Return the ``param_space`` that ``encode`` made JSON of.

    Raises:
        InvalidValueError: When a domain is none; names the key.

    >>> decode({"lr": {"loguniform": [1e-4, 0.1]}, "net": {"width": 8}})["net"]
    {'width': 8}
    """
    return {name: _decoded(name, value) for name, value in space.items()}


def encode(space: Mapping[str, Any]) -> dict[str, Any]:
    """Return a ``param_space`` as JSON values.

    Raises:
        InvalidValueError: When it holds something else than domains of Ray Tune and JSON values;
            names the key.

    >>> encode({"lr": tune.loguniform(1e-4, 0.1), "net": {"width": tune.choice([8, 16])}})
    {'lr': {'loguniform': [0.0001, 0.1]}, 'net': {'width': {'choice': [8, 16]}}}
    """
    return {str(name): _encoded(str(name), value) for name, value in space.items()}


def domains_of(space: Mapping[str, Any]) -> dict[str, sample.Domain]:
    """Return the domains of a space by path, in the order of their paths."""
    found = {path: v for path, v in nested.leaves(space) if isinstance(v, sample.Domain)}
    return dict(sorted(found.items()))


def drawn(space: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """Return the configuration of a seed: every domain sampled, the same wherever it is drawn.

    >>> space = {"lr": tune.loguniform(1e-4, 0.1), "epochs": 3}
    >>> drawn(space, 0) == drawn(space, 0) != drawn(space, 1)
    True
    """
    random = np.random.default_rng(seed)
    found = dict(space)
    for key, domain in domains_of(space).items():
        value = domain.sample(random_state=random)
        value = value.item() if isinstance(value, np.generic) else value
        found = nested.put(found, nested.path_of(found, key) or (key,), value)
    return found


def _as_meant(key: str, value: Any) -> Any:
    """Return a value of a YAML file with its numbers as numbers; a domain must be spelled right."""
    if isinstance(value, str) and _EXPONENT.fullmatch(value):
        return float(value)
    if isinstance(value, list):
        return [_as_meant(key, each) for each in value]
    if not isinstance(value, Mapping):
        return value
    names = [str(name) for name in value]
    if len(names) == 1 and names[0] not in _NAMES:
        meant = difflib.get_close_matches(names[0], _NAMES, n=1, cutoff=_ALIKE)
        if meant and isinstance(value[next(iter(value))], list):
            raise InvalidValueError(
                f"{key!r} must have a domain of {list(_NAMES)}, but got {names[0]!r}: did you mean "
                f"{meant[0]!r}?"
            )
    return {str(name): _as_meant(f"{key}/{name}", each) for name, each in value.items()}


def _decoded(key: str, value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    name = next((str(name) for name in value if name in _NAMES), None)
    if name is None:
        return {str(n): _decoded(f"{key}/{n}", each) for n, each in value.items()}
    if len(value) > 1:
        raise InvalidValueError(f"{key!r} must have one domain alone, but got {list(value)}.")
    return _domain(key, name, value[name])


def _domain(key: str, name: str, given: Any) -> sample.Domain:
    if name == _CHOICE:
        if not isinstance(given, Sequence) or isinstance(given, str) or not given:
            raise InvalidValueError(
                f"{key!r} must have a list of values to choose from, but got {given!r:.100}."
            )
        return tune.choice(list(given))
    wanted = ARGUMENTS[name]
    numbers = [_number(each) for each in given] if isinstance(given, Sequence) else []
    if isinstance(given, str) or len(numbers) != len(wanted) or None in numbers:
        raise InvalidValueError(
            f"{key!r} must have the numbers [{', '.join(wanted)}] for {name}, "
            f"but got {given!r:.100}."
        )
    low, high = numbers[0] or 0.0, numbers[1] or 0.0
    if wanted[0] == "low" and (low >= high or ("log" in name and low <= 0)):
        positive = "positive numbers" if "log" in name else "numbers"
        raise InvalidValueError(
            f"{key!r} must have {positive} for {name}, the lower one first, but got {given!r:.100}."
        )
    if "randint" in name and any(number != int(number or 0) for number in numbers):
        raise InvalidValueError(f"{key!r} must have whole numbers for {name}, but got {given!r}.")
    arguments = [int(n or 0) if "randint" in name else n for n in numbers]
    try:
        found: sample.Domain = getattr(tune, name)(*arguments)
    # Ray refuses ends that are no multiples of the step.
    except ValueError as error:
        raise InvalidValueError(
            f"{key!r} must be what Ray Tune takes for {name}, but got {given!r}: {error}"
        ) from None
    return found


def _number(value: Any) -> float | None:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _encoded(key: str, value: Any) -> Any:
    if isinstance(value, Mapping):
        if any(name in _NAMES or name == "grid_search" for name in value):
            raise InvalidValueError(
                f"param_space must hold domains such as tune.uniform(0, 1), but got {value!r:.200} "
                f"at {key!r}."
            )
        return {str(name): _encoded(f"{key}/{name}", each) for name, each in value.items()}
    if isinstance(value, sample.Domain):
        for name, arguments in _described(value):
            return {name: _json(key, arguments)}
    return _json(key, value)


def _described(domain: sample.Domain) -> Iterator[tuple[str, list[Any]]]:
    """Yield name and arguments of a domain that there is a name for."""
    sampler = domain.get_sampler()
    quantized = isinstance(sampler, sample.Quantized)
    step = [sampler.q] if quantized else []
    inner = sampler.get_sampler() if quantized else sampler
    prefix = "q" if quantized else ""
    log = "log" if isinstance(inner, sample.LogUniform) else ""
    if isinstance(domain, sample.Categorical):
        yield _CHOICE, list(domain.categories)
    elif isinstance(inner, sample.Normal):
        yield f"{prefix}randn", [inner.mean, inner.sd, *step]
    elif isinstance(domain, sample.Integer):
        yield f"{prefix}{log}randint", [domain.lower, domain.upper, *step]
    elif isinstance(domain, sample.Float):
        yield f"{prefix}{log}uniform", [domain.lower, domain.upper, *step]


def _json(key: str, value: Any) -> Any:
    try:
        return json.loads(json.dumps(value))
    except (TypeError, ValueError):
        raise InvalidValueError(
            "param_space must hold domains of Ray Tune and JSON values, so that the study can be "
            f"restored, but got {value!r:.200} at {key!r}: make it in the function."
        ) from None
