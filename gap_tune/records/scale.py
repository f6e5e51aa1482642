"""scale_phases: how a trial's learning rate grew and shrank with the agreement, in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from gap_tune.tune import keys

# A phase ends where the scale has turned back by this factor; less is noise.
_TURN = 1.25


@dataclass(frozen=True)
class ScalePhase:
    """A part of training in which the scale went one way.

    Attributes:
        first_step: Optimizer step of the report that it begins at.
        last_step: The same of its end.
        start: The scale there.
        end: The scale here.
        agreement: Mean agreement of its reports, NaN where there is none.

    >>> ScalePhase(0, 300, 0.2, 3.0, 0.6).sentence
    'Steps 0 to 300: updates were borne out (mean agreement +0.60), so it grew from 0.2 to 3.'
    """

    first_step: int
    last_step: int
    start: float
    end: float
    agreement: float

    @property
    def sentence(self) -> str:
        """What happened and why."""
        when = f"Steps {self.first_step:,} to {self.last_step:,}"
        mean = "" if np.isnan(self.agreement) else f" (mean agreement {self.agreement:+.2f})"
        if max(self.start, self.end) < _TURN * min(self.start, self.end):
            return f"{when}: it stayed near {self.end:.2g}{mean}."
        grew = self.end > self.start
        why = "updates were borne out" if grew else "updates were opposed"
        way = "grew" if grew else "shrank"
        return f"{when}: {why}{mean}, so it {way} from {self.start:.2g} to {self.end:.2g}."


def scale_phases(rows: pd.DataFrame) -> list[ScalePhase]:
    """Return the phases of a trial's scale, in order; none where it reports no scale.

    Args:
        rows: The trial's reports, with ``gap/steps`` and, where it is controlled, ``gap/scale`` and
            ``gap/agreement``.
    """
    if keys.SCALE not in rows:
        return []
    scales = pd.to_numeric(rows[keys.SCALE], errors="coerce")
    known = rows[scales > 0]
    scales = scales[scales > 0].to_numpy(float)
    steps = known[keys.STEPS].to_numpy(int)
    agreement = pd.to_numeric(
        known.get(keys.AGREEMENT, pd.Series(np.nan, known.index)), errors="coerce"
    ).to_numpy(float)
    return [
        ScalePhase(
            int(steps[first]),
            int(steps[last]),
            float(scales[first]),
            float(scales[last]),
            float(np.nanmean(part))
            if np.isfinite(part := agreement[first : last + 1]).any()
            else float("nan"),
        )
        for first, last in _runs(scales)
    ]


def _runs(scales: Sequence[float]) -> Iterator[tuple[int, int]]:
    """Yield where each phase begins and ends: at the extremes that a turn of ``_TURN`` follows."""
    if len(scales) < 2:
        return
    logs = np.log(scales)
    turn = np.log(_TURN)
    start = extreme = 0
    way = 0
    for i in range(1, len(logs)):
        if way == 0:
            if abs(logs[i] - logs[start]) >= turn:
                way, extreme = (1 if logs[i] > logs[start] else -1), i
        elif way * (logs[i] - logs[extreme]) > 0:
            extreme = i
        elif way * (logs[extreme] - logs[i]) >= turn:
            yield start, extreme
            start, extreme, way = extreme, i, -way
    yield start, len(logs) - 1
