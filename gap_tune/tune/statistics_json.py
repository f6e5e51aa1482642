"""Alignment statistics as JSON: in trials' reports, and in the files that a probe writes."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from gap_tune.errors import InvalidValueError, StateError, check_range
from gap_tune.gradients.statistics import AlignmentStatistics

# Statistics of a hundred candidates and lags take a few kilobytes; more is not ours.
LONGEST = 100_000

# Statistics by the beta2 that whitened them; the key None where that is not told.
ByBeta2 = dict[float | None, AlignmentStatistics]


def parse(text: Any) -> ByBeta2:
    """Return the statistics that a JSON text holds, by beta2.

    Args:
        text: What ``AlignmentStatistics.to_dict`` gives, or a mapping of beta2 to several of them.

    Raises:
        StateError: When the text is too long, no JSON, or holds something else.

    >>> parse("[]")
    Traceback (most recent call last):
    ...
    gap_tune.errors.StateError: statistics must be one or more by beta2, but got [].
    """
    if not isinstance(text, str) or len(text) > LONGEST:
        size = f"{len(text)} characters" if isinstance(text, str) else type(text).__name__
        raise StateError(
            f"statistics must be JSON of at most {LONGEST} characters, but got {size}."
        )
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise StateError(f"statistics must be JSON, but got {text[:40]!r}: {error}.") from None
    if isinstance(data, Mapping) and "version" in data:
        return {None: AlignmentStatistics.from_dict(data)}
    if not isinstance(data, Mapping) or not data:
        raise StateError(f"statistics must be one or more by beta2, but got {str(data)[:40]}.")
    try:
        return {_beta2(key): AlignmentStatistics.from_dict(data[key]) for key in data}
    except InvalidValueError as error:
        raise StateError(str(error)) from None


# A result is read by searcher, scheduler and metrics, and again for every sibling's next report.
_parse_text = lru_cache(maxsize=256)(parse)


def parse_one(text: Any) -> AlignmentStatistics:
    """Return a report's statistics, of the one beta2 that its trial uses.

    Raises:
        StateError: When they are no JSON text, too long, or not what ``to_dict`` writes.
    """
    # Only texts can be looked up in a cache; anything else is an error.
    found = _parse_text(text) if isinstance(text, str) else parse(text)
    if set(found) != {None}:
        many = f"{list(found)!s:.200}"
        raise StateError(f"statistics must be one, not by beta2, but got those of {many}.")
    return found[None]


def dump(by_beta2: ByBeta2) -> str:
    """Return the JSON text that ``parse`` reads: one statistics, or several by beta2."""
    if len(by_beta2) == 1:
        (statistics,) = by_beta2.values()
        return json.dumps(statistics.to_dict())
    return json.dumps({str(beta2): s.to_dict() for beta2, s in by_beta2.items()})


def read(path: str | os.PathLike[str]) -> ByBeta2:
    """Return the statistics of a file.

    Raises:
        InvalidValueError: When the file cannot be read.
        StateError: When it holds something else.
    """
    try:
        with Path(path).open(encoding="utf-8") as file:
            # What is longer is refused unread.
            text = file.read(LONGEST + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidValueError(
            f"statistics must be a file that can be read, but got {os.fspath(path)}: {error}."
        ) from None
    return parse(text)


def _beta2(key: str) -> float:
    try:
        number = float(key)
    except ValueError:
        number = float("nan")
    return check_range("beta2 of statistics", number, 0.0, 1.0, high_open=True)
