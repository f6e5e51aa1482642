"""Rows: what was recorded of a run at a moment, ready to be reported."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

import numpy as np

from gap_tune.simulation.recorded.recordings import Recordings

_json = json.JSONEncoder(separators=(",", ":")).encode
Place = tuple[int, int, int, int]


@dataclass(frozen=True)
class Row:
    """A run at a moment.

    Attributes:
        momentum: That trained until then.
        lr: Learning rate in use, coupled and scaled.
        scale: Of the trust region.
        agreement: None where nobody measured it.
        power: Gradient power, a mean per step.
        steps: Optimizer steps observed.
        statistics: JSON, as sessions report them.
        candidates: Momenta that they compare.
        gains: Of the candidates.
    """

    momentum: float
    lr: float
    scale: float
    agreement: float | None
    power: float
    steps: int
    statistics: str
    candidates: tuple[float, ...]
    gains: tuple[float, ...]

    def gain(self, momentum: float) -> float:
        """Return the gain of a momentum, between candidates a straight line."""
        if momentum in self.candidates:
            return self.gains[self.candidates.index(momentum)]
        return float(np.interp(momentum, self.candidates, self.gains))


class Rows:
    """The rows of a setting, each made when it is first asked for, and kept.

    Args:
        recordings: The runs.
    """

    def __init__(self, recordings: Recordings) -> None:
        self._recordings = recordings
        self._made: dict[Place, Row | None] = {}

    def at(self, arm: int, rate: int, seed: int, moment: int) -> Row | None:
        """Return a row; the last one before where the run had diverged, None before all."""
        place = (arm, rate, seed, moment)
        try:
            return self._made[place]
        except KeyError:
            pass
        diverged = math.isnan(self._recordings.columns["momentum"][place])
        row = self._make(place) if not diverged else None
        if diverged and moment:
            row = self.at(arm, rate, seed, moment - 1)
        self._made[place] = row
        return row

    def _make(self, place: Place) -> Row:
        columns = self._recordings.columns
        statistics = self._recordings.statistics(place)
        return Row(
            momentum=columns["momentum"][place].item(),
            lr=columns["lr"][place].item(),
            scale=columns["scale"][place].item(),
            agreement=statistics.agreement,
            power=statistics.power / max(statistics.weight, 1e-300),
            steps=statistics.steps,
            statistics=_json(statistics.to_dict()),
            candidates=statistics.candidates,
            gains=tuple(statistics.gain().tolist()),
        )
