"""Numbers with fewer digits, which pack better; decisions must stay those of all digits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from gap_tune.rules import AlignmentRule
from gap_tune.simulation.recorded.recordings import ALIGNMENTS, FLOATS, Recordings

Floats = NDArray[np.float64]
_MANTISSA = 52
# Binary digits that are kept: five significant decimal digits of losses and sums.
BITS = 16
# Momenta are told apart by all digits; the decayed weight follows from the steps.
_EXACT = ("momentum", "weight")
_DECIDING = ("power", "whitening", *ALIGNMENTS)


def rounded(values: Floats, bits: int) -> Floats:
    """Return the nearest numbers with so many binary digits behind the first.

    Numbers that are not finite, and those that would become so, stay as they are.

    Args:
        values: Any numbers.
        bits: From 1 to 51; the relative error is at most ``2 ** -(bits + 1)``.

    >>> rounded(np.array([3.14159265, np.nan, 0.0]), 8).tolist()
    [3.140625, nan, 0.0]
    """
    dropped = np.uint64(_MANTISSA - bits)
    half = np.uint64(1) << (dropped - np.uint64(1))
    whole = np.ascontiguousarray(values, np.float64).view(np.uint64)
    # Sign and exponent lie above: what overflows there is the next power of two.
    near = ((whole + half) >> dropped << dropped).view(np.float64)
    return np.where(np.isfinite(values) & np.isfinite(near), near, values)


def rounded_recordings(recordings: Recordings, bits: int = BITS) -> tuple[Recordings, int]:
    """Return recordings with rounded columns, and at how many moments statistics stay unrounded.

    They do where the default rule would decide otherwise on the rounded ones, so that it decides on
    all of them as it did.

    Args:
        recordings: Those with all digits.
        bits: As of ``rounded``.
    """
    near = {n: rounded(recordings.columns[n], bits) for n in FLOATS if n not in _EXACT}
    candidate = replace(recordings, columns={**recordings.columns, **near})
    differs = decisions(recordings) != decisions(candidate)
    for name in _DECIDING:
        near[name] = np.where(differs, recordings.columns[name], near[name])
    count = int(differs.sum())
    return replace(recordings, columns={**recordings.columns, **near}), count


def decisions(recordings: Recordings) -> Floats:
    """Return the momentum that the default rule takes at every moment; -1 after a divergence."""
    rule = AlignmentRule()
    momenta = recordings.columns["momentum"]
    decided = np.full(recordings.shape, -1.0)
    for place in zip(*np.nonzero(~np.isnan(momenta)), strict=True):
        statistics = recordings.statistics(place)
        decided[place] = rule.decide(statistics, momenta[place].item()).momentum
    return decided
