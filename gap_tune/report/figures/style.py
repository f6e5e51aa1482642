"""What all figures share: one look per arm, safe labels, and a layout for light and dark."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from gap_tune.report.comparison import Comparison
from gap_tune.report.finals import is_fraction

# Okabe and Ito's colours, told apart with every common colour vision, but for those that vanish on
# a dark or light page (black, yellow) or resemble GAP's. Dashes and symbols say the same again.
_TUNED_COLOURS = ("#D55E00", "#9467BD")
_FIXED_COLOURS = ("#0072B2", "#009E73", "#CC79A7", "#56B4E9", "#A69500", "#8A8A8A")
_DASHES = ("dash", "dot", "dashdot", "10px,3px", "5px,2px", "8px,2px,2px,2px,2px,2px")
_SYMBOLS = ("square", "diamond", "triangle-up", "x", "triangle-down", "cross", "star")
# They go from violet to orange, so ordered to the eye, and are seen on white and near-black.
RANK_COLOURS = ("#8B5CF6", "#B455C9", "#D6558F", "#E56B5D", "#E8913A")
_GRID = "rgba(128, 128, 128, 0.25)"
# Seen on white and on near-black; a page puts its own text colour instead.
_TEXT = "#7A7F87"
_LOG_RATIO = 10.0
# Beyond it, labels within a decade would run into each other on narrow screens.
_DECADES_RATIO = 1000.0
_SKEWED = ("loss", "error", "perplexity")


@dataclass(frozen=True)
class ArmLook:
    """How an arm looks in every figure: tuned arms solid and thick, fixed ones dashed."""

    colour: str
    dash: str
    symbol: str
    width: float

    def band(self) -> str:
        """Return the colour of the band around the line."""
        red, green, blue = (int(self.colour[i : i + 2], 16) for i in (1, 3, 5))
        return f"rgba({red}, {green}, {blue}, 0.13)"


def arm_looks(comparison: Comparison) -> dict[str, ArmLook]:
    """Return the look of each arm; colours repeat with other dashes when there are many arms."""
    fixed = comparison.fixed_arms
    tuned = [arm for arm in comparison.arms if arm not in fixed]
    looks = {
        arm: ArmLook(_take(_TUNED_COLOURS, i), "solid", "circle", 3.0)
        for i, arm in enumerate(tuned)
    }
    for i, arm in enumerate(fixed):
        dash = _take(_DASHES, i + i // len(_FIXED_COLOURS))
        looks[arm] = ArmLook(_take(_FIXED_COLOURS, i), dash, _take(_SYMBOLS, i), 1.8)
    return looks


def label(text: object) -> str:
    """Return text that plotly shows as it is: no markup, no link, no template.

    >>> label("<b>%{x}</b>")
    '&lt;b&gt;&#37;{x}&lt;/b&gt;'
    """
    return html.escape(str(text), quote=False).replace("%", "&#37;")


def spoken(metric: str) -> str:
    """Return a metric's name in words.

    >>> spoken("test_accuracy")
    'test accuracy'
    """
    return label(metric.replace("_", " "))


def with_unit(metric: str) -> str:
    """Return a metric's name in words, with the unit where the name tells it.

    >>> with_unit("test_accuracy")
    'test accuracy (fraction)'
    """
    return f"{spoken(metric)} (fraction)" if is_fraction(metric) else spoken(metric)


def figure(title: str, x: str, y: str) -> Any:
    """Return an empty figure with title and axis labels."""
    axis = {"gridcolor": _GRID, "zeroline": False, "linecolor": _GRID, "automargin": True}
    return go.Figure(
        layout={
            "template": "none",
            "title": {"text": title, "x": 0, "xref": "paper", "font": {"size": 15}},
            "xaxis": {**axis, "title": {"text": x, "font": {"size": 13}}},
            "yaxis": {**axis, "title": {"text": y, "font": {"size": 13}}},
            "font": {"family": "system-ui, sans-serif", "size": 13, "color": _TEXT},
            "legend": {"orientation": "h", "yref": "container", "yanchor": "bottom", "y": 0},
            "modebar": {"bgcolor": "rgba(0, 0, 0, 0)", "color": _TEXT, "activecolor": _TEXT},
            "margin": {"l": 8, "r": 12, "t": 36, "b": 8},
            "paper_bgcolor": "rgba(0, 0, 0, 0)",
            "plot_bgcolor": "rgba(0, 0, 0, 0)",
            # Without it, a finger that scrolls past a figure zooms it instead.
            "dragmode": False,
            "hoverlabel": {"namelength": -1},
            "height": 380,
        }
    )


def panels(title: str, x: str, y: str, names: Sequence[str]) -> Any:
    """Return an empty figure of panels below each other, which share the horizontal axis.

    Args:
        title: The figure's.
        x: What the shared axis shows.
        y: What the other axes show, each on a scale of its own.
        names: Of the panels; traces of the first have ``panel(0)``, and so on.
    """
    plot = figure(title, x, "")
    axis = plot.layout.yaxis.to_plotly_json()
    # Rows of a height that people can read, with room for a name above each.
    height, room = (96 if len(names) <= 5 else 60), 26
    whole = (height + room) * len(names)
    for place, name in enumerate(names):
        top = 1 - (place * (height + room) + room) / whole
        bottom = max(top - height / whole, 0.0)
        own = {**axis, "domain": [bottom, top], "anchor": "x", "nticks": 4, "tickformat": "~g"}
        if place == (len(names) - 1) // 2:
            own["title"] = {"text": y, "font": {"size": 13}}
        plot.update_layout({f"yaxis{place + 1 if place else ''}": own})
        plot.add_annotation(
            text=name,
            **{"x": 0, "xref": "paper", "xanchor": "left", "showarrow": False},
            **{"y": top, "yref": "paper", "yanchor": "bottom", "font": {"size": 12}},
        )
    plot.update_layout(
        xaxis={"anchor": panel(max(len(names) - 1, 0))["yaxis"]},
        height=whole + 84,
        margin={"t": 4},
        showlegend=False,
    )
    return plot


def panel(place: int) -> dict[str, str]:
    """Return what puts a trace into a panel of ``panels``.

    >>> panel(0), panel(2)
    ({'xaxis': 'x', 'yaxis': 'y'}, {'xaxis': 'x', 'yaxis': 'y3'})
    """
    return {"xaxis": "x", "yaxis": f"y{place + 1}" if place else "y"}


def shade(share: float) -> str:
    """Return the colour of what is ranked: violet for the worst, 0, to orange for the best, 1.

    >>> shade(0.0), shade(0.5), shade(1.0)
    ('#8B5CF6', '#D6558F', '#E8913A')
    """
    place = min(max(share, 0.0), 1.0) * (len(RANK_COLOURS) - 1)
    below = min(int(place), len(RANK_COLOURS) - 2)
    first, second = (
        [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
        for colour in RANK_COLOURS[below : below + 2]
    )
    mixed = (round(a + (place - below) * (b - a)) for a, b in zip(first, second, strict=True))
    return "#" + "".join(f"{part:02X}" for part in mixed)


def scale_of(metric: str, values: Iterable[float]) -> dict[str, Any]:
    """Return axis settings: logarithmic for losses and errors that span a factor of ten.

    >>> scale_of("test_loss", [2.3, 0.04])["type"]
    'log'
    >>> scale_of("test_accuracy", [0.02, 0.98])
    {}
    """
    numbers = np.asarray(list(values), dtype=float)
    skewed = any(word in metric for word in _SKEWED) and numbers.size and numbers.min() > 0
    if not skewed or numbers.max() < _LOG_RATIO * numbers.min():
        return {}
    return log_axis(numbers)


def log_axis(values: Iterable[float]) -> dict[str, Any]:
    """Return settings of a logarithmic axis, with labels that do not run into each other.

    >>> log_axis([0.01, 0.3])["dtick"], "dtick" in log_axis([1e-6, 0.3])
    ('D2', False)
    """
    numbers = np.asarray(list(values), dtype=float)
    if numbers.max() > _DECADES_RATIO * numbers.min():
        return {"type": "log", "exponentformat": "power"}
    return {"type": "log", "dtick": "D2", "tickformat": "~g"}


def floats(values: Any) -> Any:
    """Return single precision, which figures show exactly enough and store in half the size."""
    return np.asarray(values, dtype=np.float32)


def _take(values: tuple[str, ...], index: int) -> str:
    return values[index % len(values)]
