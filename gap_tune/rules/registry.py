"""Rules by name: what a configuration, an arm or a file says of a rule, as plain JSON.

A rule of this package is its own file, which registers it, and a line in ``_MODULES``. Others'
come by entry point or import path.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, TypeAlias, TypeVar

import numpy as np

from gap_tune.errors import GapTuneError, InvalidValueError, UnsupportedError, did_you_mean
from gap_tune.importing import imported
from gap_tune.rules.base import MomentumRule

ENTRY_POINTS = "gap_tune.rules"
# Files of this package whose rules have names.
_MODULES = (
    "alignment",
    "fixed",
    "horizon",
    "schedule",
)
_NAME = "name"
_IMPORT_PATH = re.compile(r"[^\W\d][\w.]*:[^\W\d][\w.]*")
_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)

# A name, or {"name": ..., option: value, ...}.
RuleSpec: TypeAlias = str | Mapping[str, Any]
_Rule = TypeVar("_Rule", bound=MomentumRule)


@dataclass(frozen=True)
class _Named:
    """What a name stands for: what makes the rule, and the options that the name itself sets."""

    make: Callable[..., Any]
    presets: tuple[tuple[str, Any], ...] = ()


_TABLE: dict[str, _Named] = {}


def register(name: str, **presets: Any) -> Callable[[type[_Rule]], type[_Rule]]:
    """Give a rule of this package a name; stands above its class.

    Rules of other packages are entry points instead, which are known in every process.

    Args:
        name: The name.
        **presets: Options that the name sets.
    """

    def named(rule: type[_Rule]) -> type[_Rule]:
        _TABLE[name] = _Named(rule, tuple(presets.items()))
        return rule

    return named


def rule_names() -> list[str]:
    """Return the names of gap_tune's own rules.

    >>> rule_names()
    ['alignment', 'cross-batch', 'fixed', 'horizon', 'paper', 'schedule']
    """
    return sorted(_table())


def is_rule_name(text: str) -> bool:
    """Tell whether a text is the name of a rule, or looks like the import path of one.

    >>> is_rule_name("paper"), is_rule_name("my_module:MyRule"), is_rule_name("fixed:0.9")
    (True, True, False)
    """
    try:
        return bool(_IMPORT_PATH.fullmatch(text)) or text in _table() or bool(_entry_point(text))
    except InvalidValueError:
        return False


def get_rule(spec: RuleSpec) -> MomentumRule:
    """Return the rule that a name, or a mapping of a name and options, stands for.

    The same specification gives the same rule, which is not made anew: rules hold no state.

    Args:
        spec: A name; or a mapping with ``"name"`` and arguments of the rule's constructor, plain
            JSON values. Names are those of ``rule_names``, of entry points of the group
            "gap_tune.rules", and "package.module:Class", a ``MomentumRule``.

    Raises:
        InvalidValueError: When it is no such specification, the name is unknown, or an option is
            unknown, missing or out of range.
        UnsupportedError: When it names something that cannot be imported or is no rule.

    >>> get_rule({"name": "paper", "hysteresis": 0.05}).lag_zero_weight
    1.0
    """
    name, options = _parts(spec)
    return _made(_found(name), name, _json(options, spec))


def known_rule(spec: Any) -> MomentumRule:
    """Return the rule that a configuration names, the default one where it names none.

    That counts for a rule that cannot be made in this process, too: here it is only asked what it
    wants besides momentum, and it may be known where it decides.

    Args:
        spec: What ``config["gap"]["rule"]`` says, or None.

    >>> known_rule("fixed"), known_rule("of another machine") is known_rule(None)
    (FixedMomentum(), True)
    """
    if spec is not None:
        with suppress(GapTuneError):
            return get_rule(spec)
    return get_rule("alignment")


def describe_rule(rule: MomentumRule) -> str | dict[str, Any]:
    """Return the specification of a rule: ``get_rule`` makes an equal one of it.

    Options at their defaults are left out. A rule of others is written by its import path.

    Args:
        rule: A rule that keeps each argument of its constructor as an attribute of that name.

    Raises:
        InvalidValueError: When what it keeps are no plain JSON values.
        UnsupportedError: When it is no rule, does not keep them, or cannot be imported by name.

    >>> from gap_tune.rules import AlignmentRule
    >>> describe_rule(AlignmentRule()), describe_rule(AlignmentRule(hysteresis=0.05))
    ('alignment', {'name': 'alignment', 'hysteresis': 0.05})
    """
    kind = type(rule)
    if not isinstance(rule, MomentumRule):
        raise UnsupportedError(f"rule must be a MomentumRule, but got {kind.__name__}.")
    own = (name for name, named in _table().items() if named == _Named(kind))
    name = next(own, f"{kind.__module__}:{kind.__qualname__}")
    options = json.loads(_json(_options_of(rule), rule))
    spec: str | dict[str, Any] = {_NAME: name, **options} if options else name
    if type(get_rule(spec)) is not kind:
        raise UnsupportedError(f'rule must be what "{name}" names, but got another {kind!r}.')
    return spec


def _table() -> dict[str, _Named]:
    for module in _MODULES:
        import_module(f"gap_tune.rules.{module}")
    return _TABLE


def _parts(spec: Any) -> tuple[str, dict[Any, Any]]:
    name, options = (spec, {}) if isinstance(spec, str) else (None, {})
    if isinstance(spec, Mapping):
        options = {key: value for key, value in spec.items() if key != _NAME}
        name = spec.get(_NAME)
    if not isinstance(name, str):
        raise InvalidValueError(
            'rule must be a name, or a mapping with a "name" and options, plain JSON values both, '
            f"but got {spec!r:.200}."
        )
    return name, options


def _found(name: str) -> _Named:
    if name in _table():
        return _TABLE[name]
    found = imported(name if ":" in name else _entry_point(name), "rule")
    if not callable(found):
        raise UnsupportedError(f"rule {name!r} must name a class, but got {type(found).__name__}.")
    return _Named(found)


@lru_cache(maxsize=128)
def _entry_point(name: str) -> str:
    """Return the import path of an entry point; looking for it takes milliseconds."""
    for point in entry_points(group=ENTRY_POINTS, name=name):
        return f"{point.module}:{point.attr}"
    raise InvalidValueError(
        f'rule must be one of {rule_names()}, an entry point of the group "{ENTRY_POINTS}" or '
        f'"package.module:Class", but got {name!r}.' + did_you_mean(name, rule_names())
    )


@lru_cache(maxsize=128)
def _made(named: _Named, name: str, options: str) -> MomentumRule:
    """Make a rule; known again by the class itself, which a notebook may define anew."""
    presets, given = dict(named.presets), json.loads(options)
    _check_options(name, named.make, presets, given)
    try:
        rule = named.make(**presets, **given)
    except GapTuneError:
        raise
    except Exception as error:
        raise InvalidValueError(
            f"rule {name!r} must be one that its options make, but got {given} and {error!r}."
        ) from None
    if not isinstance(rule, MomentumRule):
        raise UnsupportedError(
            f"rule {name!r} must be a MomentumRule, but got {type(rule).__name__}."
        )
    return rule


def _check_options(
    name: str, make: Callable[..., Any], presets: Mapping[str, Any], given: Mapping[str, Any]
) -> None:
    try:
        parameters = inspect.signature(make).parameters.values()
    # What is written in C may have none.
    except (TypeError, ValueError):
        return
    known = [p.name for p in parameters if p.kind in _BY_NAME and p.name not in presets]
    unknown = sorted(set(given) - set(known))
    if unknown and not any(p.kind is p.VAR_KEYWORD for p in parameters):
        raise InvalidValueError(
            f"options of the rule {name!r} must be among {known}, but got {unknown}."
            + did_you_mean(unknown[0], known)
        )
    required = [p.name for p in parameters if p.kind in _BY_NAME and p.default is p.empty]
    missing = [option for option in required if option not in (*given, *presets)]
    if missing:
        raise InvalidValueError(
            f"the rule {name!r} must be given {missing}, but got {list(given) or 'no options'}."
        )


def _options_of(rule: MomentumRule) -> dict[str, Any]:
    """Return the arguments of a rule's constructor that are not at their defaults."""
    options = {}
    for name, parameter in inspect.signature(type(rule)).parameters.items():
        if parameter.kind not in _BY_NAME or not hasattr(rule, name):
            raise UnsupportedError(
                "rule must keep each argument of its constructor as an attribute of that name, "
                f"but got {type(rule).__name__} without {name!r}."
            )
        value = getattr(rule, name)
        if not np.all(value == parameter.default):
            options[name] = value
    return options


def _json(options: Mapping[Any, Any], of: object) -> str:
    """Return options as JSON, in one order."""
    try:
        return json.dumps(options, sort_keys=True, default=_plain)
    except (TypeError, ValueError) as error:
        raise InvalidValueError(
            f"options of a rule must be plain JSON values, but got {of!r:.200}: {error}."
        ) from None


def _plain(value: Any) -> Any:
    # Searchers hand out NumPy's numbers.
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} is not JSON")
