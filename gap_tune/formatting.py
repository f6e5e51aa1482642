"""Numbers, times and names as people read them, the same in terminals and on pages."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

_MOST_DIGITS = 5
_LONGEST_VALUE = 300
_PARTS = ("third", "quarter", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
# Beyond it a share is not called by a part that is near.
_NEAR_PART = 0.05
# From here on a share saves nothing worth a word.
_SAVES_LITTLE = 0.95
# Whole numbers from here on are shown by their first digits.
_LONG = 10**20
# In URIs: options whose names say what they hold, and who logs in, also where it is quoted once
# more. An Azure container stands before an @, too, but without a colon.
_OPTION = re.compile(
    r"([?&][^=&\s]*(?:key|secret|token|sig|pass|pwd|credential|auth)[^=&\s]*=)[^&\s]*",
    re.IGNORECASE,
)
_LOGIN = re.compile(
    r"(\w://)[^\s?@]*:[^\s?]*@|(https?://)[^\s/?@]*@|(%3A%2F%2F)[^&\s]*?(?:@|%40)", re.IGNORECASE
)


def number(value: float) -> str:
    """Return a number with three significant digits; a dash where there is none.

    >>> number(0.15), number(480), number(float("nan"))
    ('0.150', '480', '-')
    """
    return f"{value:#.3g}".rstrip(".") if math.isfinite(value) else "-"


def as_reported(value: Any) -> str:
    """Return what a trial reported, numbers with four significant digits; a dash for nothing.

    >>> as_reported(0.0123456), as_reported(0.9), as_reported(12), as_reported(None)
    ('0.01235', '0.9', '12', '-')
    """
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else plain(setting(value), _LONGEST_VALUE)


def setting(value: Any) -> str:
    """Return a setting as text: numbers short, at any depth, all else as JSON would show it.

    Decimal fractions are rarely exact in binary: three times 0.1 is 0.30000000000000004, which
    nobody has set. Six significant digits say what somebody has.

    >>> setting(3 * 0.1), setting([0.01, 3 * 0.1]), setting({"betas": (0.9, 1 - 0.001)})
    ('0.3', '[0.01, 0.3]', '{"betas": [0.9, 0.999]}')
    >>> setting("digits"), setting(True), setting(None), setting(float("nan"))
    ('digits', 'true', 'null', 'NaN')
    """
    return value if isinstance(value, str) else _as_json(value)


def _as_json(value: Any) -> str:
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:g}"
    if isinstance(value, int) and abs(value) >= _LONG:
        return _shortened(value)
    if isinstance(value, Mapping):
        parts = (f"{json.dumps(str(key))}: {_as_json(own)}" for key, own in value.items())
        return f"{{{', '.join(parts)}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_as_json, value))}]"
    return json.dumps(value, default=str)


def _shortened(value: int) -> str:
    try:
        return f"{float(value):g}"
    except OverflowError:
        # Python itself refuses to write it out.
        return "Infinity" if value > 0 else "-Infinity"


def count(value: float) -> str:
    """Return a whole number with separators, shortened from a million on.

    >>> count(2400), count(12_345_678)
    ('2,400', '12.3 M')
    """
    return (
        f"{value / 1e6:.3g} M"
        if value >= 1e6
        else f"{value:,.4g}"
        if value < 10
        else f"{value:,.0f}"
    )


def plural(amount: float, noun: str) -> str:
    """Return an amount with its noun.

    >>> plural(1, "seed"), plural(3, "seed")
    ('1 seed', '3 seeds')
    """
    return f"{count(amount)} {noun}{'' if amount == 1 else 's'}"


def at_share(part: float, whole: float) -> str:
    """Return what share of a cost another is, as a sentence goes on with it.

    Nothing where little is saved, or there is no whole.

    >>> at_share(100, 600), at_share(50, 100), at_share(40, 100), at_share(100, 100)
    ('at a sixth of', 'at half', 'at 40 % of', '')
    """
    if not 0 < part < _SAVES_LITTLE * whole:
        return ""
    parts = round(whole / part)
    if parts > len(_PARTS) + 2 or abs(part * parts / whole - 1) > _NEAR_PART:
        return f"at {100 * part / whole:.0f} % of"
    if parts == 2:
        return "at half"
    name = _PARTS[parts - 3]
    return f"at {'an' if name.startswith('e') else 'a'} {name} of"


def duration(seconds: float) -> str:
    """Return a time that was measured, in the unit that suits it.

    >>> duration(7.25), duration(480), duration(9000)
    ('7.25 s', '8.00 min', '2.50 h')
    """
    for size, name in ((3600.0, "h"), (60.0, "min")):
        if seconds >= 2 * size:
            return f"{number(seconds / size)} {name}"
    return f"{number(seconds)} s"


def time_left(seconds: float) -> str:
    """Return a time to come as people say it, rounded up: it is an estimate.

    >>> time_left(42.0), time_left(150.0), time_left(7300.0)
    ('42 s', '3 min', '2 h 2 min')
    """
    if seconds < 90:
        return f"{math.ceil(seconds)} s"
    minutes = math.ceil(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def mean_and_error(mean: float, error: float, *, signed: bool = False) -> tuple[str, str]:
    """Return a mean and its standard error, both with the digits that the error supports.

    >>> mean_and_error(0.23768, 0.00512)
    ('0.2377', '±0.0051')
    >>> mean_and_error(0.9, float("nan"))
    ('0.9000', '')
    """
    if not math.isfinite(mean):
        return "-", ""
    digits = 1 - _magnitude(error) if error > 0 else 3 - _magnitude(mean)
    digits = min(max(digits, 0), _MOST_DIGITS)
    text = f"{mean:{'+' if signed else ''}.{digits}f}"
    return text, f"±{error:.{digits}f}" if error >= 0 else ""


def _magnitude(value: float) -> int:
    """Return the power of ten of the first significant digit; 0 for zero and infinity."""
    return math.floor(math.log10(abs(value))) if value and math.isfinite(value) else 0


def without_secrets(text: str) -> str:
    """Return a text without the keys that a URI in it may hold.

    >>> without_secrets("--out s3://key:secret@bucket/study?session_token=x&region=y")
    '--out s3://bucket/study?session_token=***&region=y'
    """
    hidden = _LOGIN.sub(lambda found: next(filter(None, found.groups())), text)
    return _OPTION.sub(r"\1***", hidden)


def plain(text: str, longest: int | None = None) -> str:
    r"""Return text on one line, without characters that steer a terminal.

    Args:
        text: What to show.
        longest: How many characters of it to show at most; None shows all.

    >>> plain("a\x1b[31mb\nc")
    'a?[31mb c'
    """
    return "".join(c if c.isprintable() else " " if c.isspace() else "?" for c in text[:longest])
