"""Figures of simulated studies: search curves against trials and against cluster time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gap_tune.report.figures.searches import SWEEP_LOOK
from gap_tune.report.figures.style import ArmLook, figure, floats, label, log_axis
from gap_tune.report.search_curve import SWEEP
from gap_tune.simulation.answers.answer import Answer
from gap_tune.simulation.answers.methods import ASHA, FIFO, GRID, MEDIAN, PBT, RANDOM, TPE, Method
from gap_tune.simulation.answers.outcome import Floats
from gap_tune.simulation.answers.reached import TIME, TRIALS
from gap_tune.tune.spelling import GAP_NAME

# What has momentum gives the colour, as in other figures, the searcher its shade, and the scheduler
# the dashes.
_SHADES = {TPE: 0, RANDOM: 1, GRID: 2}
_COLOURS = {
    GAP_NAME: ("#D55E00", "#E8913A", "#A8483F"),
    SWEEP: (SWEEP_LOOK.colour, "#A1A8B2", "#5C6370"),
}
_OTHERS = ("#0072B2", "#56B4E9", "#5F6FC4")
_DASHES = {FIFO: "solid", ASHA: "dash", MEDIAN: "dot", PBT: "dashdot"}
# At most as many points of a line as are seen.
_SHOWN = 80
_UNITS = ((3600.0, "hours"), (60.0, "minutes"), (1.0, "seconds"))


def lead_methods(answer: Answer) -> list[Method]:
    """Return the methods of the first figures: those of the answer's searcher."""
    if not answer.pairs:
        return answer.methods
    searcher = Method.parse(answer.pairs[0].method).searcher
    return [method for method in answer.methods if method.searcher == searcher]


def look_of(method: Method) -> ArmLook:
    """Return how a method looks."""
    colour = _COLOURS.get(method.momentum, _OTHERS)[_SHADES[method.searcher]]
    return ArmLook(colour, _DASHES[method.scheduler], "circle", 3.0 if method.has_gap else 2.0)


def search(answer: Answer, axis: str, methods: Sequence[Method]) -> Any:
    """Return search curves over all settings, a line per method.

    The methods of the answer have a band, the 95 % interval.

    Args:
        answer: What the studies say.
        axis: "trials" or "time".
        methods: Whose lines to draw.
    """
    plot = _figure(answer, axis, "Search curves", "test loss over hindsight's best")
    banded = (answer.pairs[0].method, answer.pairs[0].rival) if answer.pairs else ()
    for method in methods:
        curve = answer.curves.curve(method.name, axis)
        ends = (curve.low, curve.high) if method.name in banded else None
        _add(plot, answer, axis, method, curve.ratios, ends)
    plot.add_hline(y=1.0, line={"width": 1, "dash": "dot", "color": "#7A7F87"})
    plot.update_yaxes(tickformat="~g")
    return plot


def on_setting(answer: Answer, setting: str, methods: Sequence[Method]) -> Any:
    """Return a setting's curves over cluster time: mean over repeats, a line per method."""
    plot = _figure(answer, TIME, label(setting), "expected test loss")
    shown = []
    for method in methods:
        curve = answer.curves.on(setting, method.name, TIME)
        _add(plot, answer, TIME, method, curve.expected, (curve.low, curve.high))
        shown.append(curve.expected)
    reference = float(answer.studies.hindsight[setting].reference.mean())
    plot.add_hline(y=reference, line={"width": 1, "dash": "dot", "color": "#7A7F87"})
    values = np.concatenate([*shown, [reference]])
    if values.min() > 0:
        plot.update_yaxes(**log_axis(values))
    plot.update_layout(height=440)
    return plot


def _figure(answer: Answer, axis: str, whose: str, y: str) -> Any:
    _, unit = _unit(answer)
    by = "trials" if axis == TRIALS else "cluster time"
    plot = figure(f"{whose} against {by}", "trials" if axis == TRIALS else unit, y)
    plot.update_xaxes(type="log", dtick="D2", tickformat="~g")
    plot.update_layout(height=420, showlegend=True)
    return plot


def _add(
    plot: Any,
    answer: Answer,
    axis: str,
    method: Method,
    values: Floats,
    ends: tuple[Floats, Floats] | None,
) -> None:
    """Draw a method's line, with a band where it has ends."""
    size, unit = (1.0, "trials") if axis == TRIALS else _unit(answer)
    look, step = look_of(method), max(len(values) // _SHOWN, 1)
    chosen = slice(step - 1, None, step)
    places = floats(answer.curves.places(axis)[chosen] / size)
    common = {"name": label(method.name), "legendgroup": label(method.name)}
    if ends is not None and np.isfinite(ends[0]).all():
        low, high = (each[chosen] for each in ends)
        plot.add_scatter(
            x=np.concatenate([places, places[::-1]]),
            y=floats(np.concatenate([high, low[::-1]])),
            mode="lines",
            line={"width": 0},
            fill="toself",
            fillcolor=look.band(),
            hoverinfo="skip",
            showlegend=False,
            **common,
        )
    plot.add_scatter(
        x=places,
        y=floats(values[chosen]),
        mode="lines",
        line={"color": look.colour, "dash": look.dash, "width": look.width},
        hovertemplate=f"%{{x:.3g}} {unit}: %{{y:.4g}}",
        **common,
    )


def _unit(answer: Answer) -> tuple[float, str]:
    """Return the unit that suits the studies' times, and its name."""
    last = answer.curves.moments[-1]
    return next(((size, name) for size, name in _UNITS if last >= 2 * size), _UNITS[-1])
