"""Times as people write them: 30s, 5m, 2h, 1d."""

from __future__ import annotations

import math
import re

from gap_tune.errors import InvalidValueError

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]+)")


def seconds_of(text: str, name: str = "duration") -> float:
    """Return the seconds of a time such as "30s", "5m", "1h30m" or "500ms".

    Args:
        text: The time; a number needs a unit.
        name: What it is for, as the message calls it.

    Raises:
        InvalidValueError: When it is no such time, or none at all.

    >>> seconds_of("30s"), seconds_of("1h30m"), seconds_of("0.5 h")
    (30.0, 5400.0, 1800.0)
    """
    written = text.strip().lower()
    parts = _PART.findall(written)
    whole = "".join(written.split()) == "".join(number + unit for number, unit in parts)
    known = all(unit in _UNITS for _, unit in parts)
    seconds = sum(float(n) * _UNITS[u] for n, u in parts) if parts and known and whole else 0.0
    if not 0 < seconds < math.inf:
        raise InvalidValueError(
            f"{name} must be a time above 0 with its unit, such as 500ms, 30s, 5m, 2h or 1h30m, "
            f"but got {text!r}."
        )
    return seconds


def written(seconds: float) -> str:
    """Return a time as ``seconds_of`` reads it, to two digits.

    >>> written(30), written(5400), written(0.5), written(754)
    ('30s', '1.5h', '500ms', '13m')
    """
    sizes = [(3600.0, "h"), (60.0, "m"), (1.0, "s"), (0.001, "ms")]
    size, unit = next(((s, u) for s, u in sizes if seconds >= s), sizes[-1])
    amount = seconds / size
    return f"{amount:.2g}{unit}" if amount < 99.5 else f"{amount:.0f}{unit}"
