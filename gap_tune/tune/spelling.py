"""How arms are spelled that results and records are told apart by.

All that an arm may be called is ``study.grammar``'s; this much of it is known to monitoring and
records, which know no studies.
"""

from __future__ import annotations

GAP_NAME = "gap"
GAP_TRIAL_NAME = "gap-trial"
_FIXED = "fixed:"
_OR = "|"


def fixed_name(*momenta: float | str) -> str:
    """Return the name of the arm of a fixed momentum, or of the best of several.

    Args:
        *momenta: The momenta; or a word that stands for some.

    >>> fixed_name(0.90), fixed_name(0.5, 0.9), fixed_name("grid")
    ('fixed:0.9', 'fixed:0.5|0.9', 'fixed:grid')
    """
    parts = (part if isinstance(part, str) else f"{part:.12g}" for part in momenta)
    return _FIXED + _OR.join(parts)


def fixed_parts(name: str) -> tuple[str, ...]:
    """Return what ``fixed_name`` made a name of, as text; nothing for other names.

    >>> fixed_parts("fixed:0.5|0.9"), fixed_parts("gap")
    (('0.5', '0.9'), ())
    """
    return tuple(name.removeprefix(_FIXED).split(_OR)) if is_fixed_name(name) else ()


def is_fixed_name(name: str) -> bool:
    """Tell whether a name is that of an arm of fixed momenta, one or several.

    >>> is_fixed_name("fixed:grid"), is_fixed_name("gap")
    (True, False)
    """
    return name.startswith(_FIXED)
