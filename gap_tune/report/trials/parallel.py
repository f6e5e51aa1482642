"""ParallelCoordinates: a line per trial across one axis per hyperparameter, as a page draws it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from gap_tune.formatting import as_reported
from gap_tune.report.figures.style import shade
from gap_tune.report.trials.settings import LR, MOMENTUM, TrialSettings, is_log, is_number

# Beside the metric; what differs beyond that is in the table below the figure.
_MOST_AXES = 8
_MOST_WORDS = 12
_HEIGHT, _SIDE, _TOP, _BOTTOM = 250, 84, 46, 14
# Few axes fill the width of a page, many may go beyond it.
_WIDTH, _CLOSEST, _WIDEST = 1000, 140, 240


@dataclass(frozen=True)
class Axis:
    """One axis.

    Attributes:
        name: What it shows.
        x: Where it stands.
        ticks: Places and labels.
        low: The value at its lower end; of words, 0.
        high: The value at its upper end.
        log: Whether it is logarithmic.
        words: The words in order, where it shows no numbers.
    """

    name: str
    x: float
    ticks: tuple[tuple[float, str], ...]
    low: float
    high: float
    log: bool
    words: tuple[str, ...]


@dataclass(frozen=True)
class Line:
    """One trial.

    Attributes:
        title: Its name and values in words.
        path: Where it goes, as an SVG path's ``d``.
        colour: From worst to best.
        whole: Whether the trial was trained to its end.
        values: By axis, its value as the page's filter compares it; None where it has none.
    """

    title: str
    path: str
    colour: str
    whole: bool
    values: tuple[float | str | None, ...]


@dataclass(frozen=True)
class ParallelCoordinates:
    """The trials of a study over their hyperparameters, the metric last, its best value on top.

    Attributes:
        axes: From left to right.
        lines: From best to worst, of the trials that are shown.
        hidden: Hyperparameters that have no axis.
        width: Of the picture.
        height: Of the picture.
        top: The upper ends of the axes.
        bottom: The lower ends.
    """

    axes: tuple[Axis, ...]
    lines: tuple[Line, ...]
    hidden: tuple[str, ...]
    width: int
    height: int = _TOP + _HEIGHT + _BOTTOM
    top: int = _TOP
    bottom: int = _TOP + _HEIGHT

    @property
    def values(self) -> list[tuple[float | str | None, ...]]:
        """What filters compare, a row per line."""
        return [line.values for line in self.lines]

    @classmethod
    def of(cls, settings: TrialSettings) -> ParallelCoordinates | None:
        """Return a study's; None where there are not two trials that differ in something."""
        rows, names = settings.shown, _shown(settings)
        if len(rows) < 2 or not names:
            return None
        columns = [*names, settings.metric]
        down = [False] * len(names) + [settings.mode == "min"]
        scales = [_Scale.of(rows[name], falls) for name, falls in zip(columns, down, strict=True)]
        apart = min(max(_WIDTH // len(names), _CLOSEST), _WIDEST)
        ranks = np.linspace(1.0, 0.0, len(rows))
        return cls(
            axes=tuple(
                Axis(name, _SIDE + apart * place, *scale.drawn())
                for place, (name, scale) in enumerate(zip(columns, scales, strict=True))
            ),
            lines=tuple(
                _line(row, columns, scales, apart, shade(rank))
                for row, rank in zip(rows.to_dict("records"), ranks, strict=True)
            ),
            hidden=tuple(name for name in settings.names if name not in names),
            width=2 * _SIDE + apart * len(names),
        )


@dataclass(frozen=True)
class _Scale:
    """Where an axis shows a value."""

    low: float
    high: float
    log: bool
    words: tuple[str, ...]
    # Whether small values are on top.
    falls: bool

    @classmethod
    def of(cls, values: pd.Series, falls: bool) -> _Scale:
        if not is_number(values):
            words = tuple(sorted({str(value) for value in values.dropna()}))
            return cls(0.0, float(max(len(words) - 1, 1)), False, words, falls)
        known = values[np.isfinite(values.astype(float))]
        return cls(float(known.min()), float(known.max()), is_log(known), (), falls)

    def at(self, value: Any) -> float | None:
        """Return the height of a value; None where it is none."""
        if self.words:
            value = self.words.index(str(value)) if str(value) in self.words else math.nan
        if value is None or not math.isfinite(value):
            return None
        share = self._share(float(value))
        return _TOP + _HEIGHT * (share if self.falls else 1.0 - share)

    def _share(self, value: float) -> float:
        if self.high == self.low:
            return 0.5
        low, high = self.low, self.high
        if self.log:
            low, high, value = math.log(low), math.log(high), math.log(value)
        return (value - low) / (high - low)

    def drawn(self) -> tuple[tuple[tuple[float, str], ...], float, float, bool, tuple[str, ...]]:
        """Return the fields of an axis that follow from the scale."""
        ends = (self.high, self.low) if self.falls else (self.low, self.high)
        shown = self.words or self._steps()
        ticks = [
            (self.at(value), value if isinstance(value, str) else f"{value:.3g}") for value in shown
        ]
        return tuple((y, text) for y, text in ticks if y is not None), *ends, self.log, self.words

    def _steps(self) -> Sequence[float]:
        if self.high == self.low:
            return [self.low]
        if self.log:
            return [float(value) for value in np.geomspace(self.low, self.high, 5)]
        return [float(value) for value in np.linspace(self.low, self.high, 5)]


def _shown(settings: TrialSettings) -> list[str]:
    """Return the hyperparameters that have an axis, those as used always."""
    rows = settings.rows
    fits = [
        name
        for name in settings.names
        if rows[name].notna().any()
        and (is_number(rows[name]) or rows[name].nunique() <= _MOST_WORDS)
    ]
    used = [name for name in fits if name in (LR, MOMENTUM)]
    others = [name for name in fits if name not in used][: _MOST_AXES - len(used)]
    arms = ["arm"] if fits and 1 < rows["arm"].nunique() <= _MOST_WORDS else []
    return [*arms, *others, *used]


def _line(
    row: dict[str, Any], columns: list[str], scales: list[_Scale], apart: int, colour: str
) -> Line:
    places = [scale.at(row[name]) for name, scale in zip(columns, scales, strict=True)]
    points = [
        f"{_SIDE + apart * place} {height:.1f}"
        for place, height in enumerate(places)
        if height is not None
    ]
    told = ", ".join(
        f"{name} {as_reported(row[name])}"
        for name, height in zip(columns, places, strict=True)
        if height is not None
    )
    values = tuple(
        None if height is None else str(row[name]) if scale.words else float(row[name])
        for name, scale, height in zip(columns, scales, places, strict=True)
    )
    return Line(
        title=f"{row['name']} ({row['trial_id']}): {told}",
        path=f"M{'L'.join(points)}",
        colour=colour,
        whole=row["status"] == "finished",
        values=values,
    )
