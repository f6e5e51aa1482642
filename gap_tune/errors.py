"""Errors of gap_tune: every message says what was expected and what came."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable


class GapTuneError(Exception):
    """Base of every error that gap_tune raises on purpose."""


class InvalidValueError(GapTuneError, ValueError):
    """An argument has a value that gap_tune cannot work with."""


class UnsupportedError(GapTuneError, TypeError):
    """An optimizer, gradient, searcher or other object is of a kind that gap_tune cannot handle."""


class StateError(GapTuneError, ValueError):
    """A saved state does not belong to the object that should load it."""


class StorageError(GapTuneError, OSError):
    """Where a study is kept cannot be read or written; what is there is not changed."""


class RayStartError(GapTuneError, RuntimeError):
    """Ray does not start, or its cluster does not answer."""


class NonFiniteMetricError(GapTuneError, ArithmeticError):
    """A trial reported NaN or infinity for the metric that the study optimises."""


def check_range(
    name: str,
    value: float,
    low: float,
    high: float,
    *,
    low_open: bool = False,
    high_open: bool = False,
) -> float:
    """Return ``value`` as a float when it lies between ``low`` and ``high``, else raise.

    Args:
        name: The argument's name, as the caller wrote it.
        value: The number to check.
        low: Smallest allowed value.
        high: Largest allowed value.
        low_open: Whether ``low`` itself is refused.
        high_open: Whether ``high`` itself is refused.

    Raises:
        InvalidValueError: When ``value`` is no finite real number or lies outside the range.

    >>> check_range("momentum", 0.9, 0, 1, high_open=True)
    0.9
    >>> check_range("momentum", 1.0, 0, 1, high_open=True)
    Traceback (most recent call last):
    ...
    gap_tune.errors.InvalidValueError: momentum must be a number in [0, 1), but got 1.0.
    """
    # This runs at every decision: a message is made only where there is something to say.
    if type(value) is float and low < value < high:
        return value
    closing = ")" if high_open or math.isinf(high) else "]"
    interval = f"{'(' if low_open else '['}{low:g}, {high:g}{closing}"
    message = f"{name} must be a number in {interval}, but got {value!r}."
    try:
        number = float(value)
    except (OverflowError, TypeError, ValueError):
        raise InvalidValueError(message) from None
    below = number < low or (low_open and number == low)
    above = number > high or (high_open and number == high)
    if isinstance(value, (bool, str)) or not math.isfinite(number) or below or above:
        raise InvalidValueError(message)
    return number


def check_count(name: str, value: int, low: int = 1) -> int:
    """Return ``value`` when it is an integer of at least ``low``, else raise.

    Raises:
        InvalidValueError: When ``value`` is no integer or is smaller than ``low``.

    >>> check_count("seeds", 3)
    3
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < low:
        raise InvalidValueError(f"{name} must be an integer of at least {low}, but got {value!r}.")
    return value


def did_you_mean(got: object, known: Iterable[str], *, written: Callable[[str], str] = repr) -> str:
    """Return a question for the end of a message about an unknown name; empty where none is near.

    Args:
        got: What came; nothing is near to what is no text.
        known: The names there are.
        written: How to write a name.

    >>> did_you_mean("digits-cn", ["digits-cnn", "quadratic"])
    " Did you mean 'digits-cnn'?"
    >>> did_you_mean("imagenet", ["digits-cnn", "quadratic"])
    ''
    """
    near = difflib.get_close_matches(str(got), list(known)) if isinstance(got, str) else []
    return f" Did you mean {' or '.join(map(written, near))}?" if near else ""
