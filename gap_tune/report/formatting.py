"""Numbers and names as people read them, the same in the terminal and on the page."""

from __future__ import annotations

import math

_MOST_DIGITS = 5


def number(value: float) -> str:
    """Return a number with three significant digits; a dash where there is none.

    >>> number(0.15), number(480), number(float("nan"))
    ('0.150', '480', '-')
    """
    return f"{value:#.3g}".rstrip(".") if math.isfinite(value) else "-"


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


def duration(seconds: float) -> str:
    """Return a time in the unit that suits it.

    >>> duration(7.25), duration(480), duration(9000)
    ('7.25 s', '8.00 min', '2.50 h')
    """
    for size, name in ((3600.0, "h"), (60.0, "min")):
        if seconds >= 2 * size:
            return f"{number(seconds / size)} {name}"
    return f"{number(seconds)} s"


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


def plain(text: str) -> str:
    r"""Return text without characters that steer a terminal.

    >>> plain("a\x1b[31mb")
    'a?[31mb'
    """
    return "".join(c if c.isprintable() else "?" for c in text)
