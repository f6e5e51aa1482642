"""What counts as a finite metric, alike for sessions, scheduler and searcher."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from gap_tune.tune import nested


def is_finite(value: Any) -> bool:
    """Return False for numbers (and 0-d tensors) that are NaN or infinite; True for all else.

    >>> [is_finite(v) for v in (1.0, "nan", None, float("nan"), 10**400)]
    [True, True, True, False, False]
    """
    if value is None or isinstance(value, (str, bool)):
        return True
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False
    except (TypeError, ValueError, RuntimeError):
        return True


def first_non_finite(result: Mapping[str, Any], metrics: Iterable[str]) -> str | None:
    """Return the reason for which a trial fails, of the first metric that is not finite.

    Args:
        result: What the trial reported, nested or flattened.
        metrics: The names of the study's metrics, such as "eval/loss"; one that was not reported
            is not judged.

    >>> first_non_finite({"loss": 1.0, "eval": {"size": float("nan")}}, ["loss", "eval/size"])
    "the study's metric 'eval/size' must be finite, but the trial reported nan."
    """
    for name in metrics:
        value = nested.get(result, name)
        if not is_finite(value):
            return non_finite_message(name, value)
    return None


def non_finite_message(metric: str | None, value: Any) -> str:
    """Return the reason for which a trial fails."""
    return f"the study's metric {metric!r} must be finite, but the trial reported {value}."
