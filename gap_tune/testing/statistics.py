"""make_statistics: statistics by hand, for tests of what decides by them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gap_tune.gradients.statistics import DEFAULT_CANDIDATES, AlignmentStatistics


def make_statistics(
    candidates: Sequence[float] = DEFAULT_CANDIDATES, **changes: Any
) -> AlignmentStatistics:
    """Return statistics of fifty steps, whose gradients have power 1 and align a little.

    Args:
        candidates: The momentum values compared.
        **changes: Any other field of ``AlignmentStatistics``, instead of its value here:
            ``alignment`` 1 and ``validation_alignment`` 0 for each candidate, ``autocorrelation``
            (1, 0), no ``whitening``, ``weight`` 1, ``validation_weight`` 0, 50 ``steps``,
            0 ``skipped_steps``, ``dimension`` 10, and as many ``sampled``.

    Raises:
        TypeError: When there is no such field.
        InvalidValueError: When lengths differ or a number is not finite.

    >>> make_statistics((0.5, 0.9), alignment=(1.0, 4.0), steps=3).gain(1.0).round(2).tolist()
    [1.3, 2.01]
    """
    fields: dict[str, Any] = {
        "candidates": tuple(candidates),
        "alignment": (1.0,) * len(candidates),
        "validation_alignment": (0.0,) * len(candidates),
        "autocorrelation": (1.0, 0.0),
        "whitening": None,
        "weight": 1.0,
        "validation_weight": 0.0,
        "steps": 50,
        "skipped_steps": 0,
        "dimension": 10,
        "sampled": changes.get("dimension", 10),
    }
    return AlignmentStatistics(**{**fields, **changes})
