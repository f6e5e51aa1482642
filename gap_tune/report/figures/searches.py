"""Figures of searches: what the best of n trials is expected to end with, a line per method."""

from __future__ import annotations

from typing import Any

import numpy as np

from gap_tune.report.comparison import Comparison
from gap_tune.report.figures.style import (
    ArmLook,
    arm_looks,
    figure,
    floats,
    label,
    spoken,
    with_unit,
)
from gap_tune.report.search_curve import SHOWN_TRIALS, SWEEP, Floats, method_title
from gap_tune.report.searches import Searches

SWEEP_LOOK = ArmLook("#7A7F87", "dash", "line-ns-open", 3.0)


def search(comparison: Comparison, searches: Searches) -> Any:
    """Return what the best of n random trials of a study that sweeps learning rates ends with."""
    plot = figure(
        f"Search: expected {spoken(searches.shown)} of the best of n random trials by "
        f"{spoken(comparison.metric)}, mean of seeds",
        "trials",
        with_unit(searches.shown),
    )
    styles = {SWEEP: SWEEP_LOOK, **arm_looks(comparison)}
    for method, curve in searches.curves.items():
        add_search(plot, method, styles[method], curve.expected, (curve.low, curve.high))
    over_trials(plot)
    return plot


def add_search(
    plot: Any, method: str, look: ArmLook, values: Floats, ends: tuple[Floats, Floats]
) -> None:
    """Draw a method's line over numbers of trials.

    Args:
        plot: The figure.
        method: The sweep, or an arm.
        look: How it looks.
        values: What the best of 1, 2, ... trials is expected to end with.
        ends: Their 95 % intervals.
    """
    plot.add_scatter(
        x=np.arange(1, len(values) + 1, dtype=np.int32),
        y=floats(values),
        name=label(method_title(method)),
        mode="lines",
        line={"color": look.colour, "dash": look.dash, "width": look.width},
        customdata=floats(np.stack(ends, axis=1)),
        hovertemplate="%{x} trials: %{y:.3f}, 95 % interval %{customdata[0]:.3f} to "
        "%{customdata[1]:.3f}",
    )


def over_trials(plot: Any) -> None:
    """Give a figure the axes of searches."""
    plot.update_xaxes(type="log", tickvals=SHOWN_TRIALS, ticktext=list(map(str, SHOWN_TRIALS)))
    plot.update_yaxes(tickformat="~g")
    plot.update_layout(height=440, showlegend=True)
