"""The figure of hyperparameters: each trial's learning rate and momentum as used."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from gap_tune.formatting import number
from gap_tune.report.comparison import Comparison
from gap_tune.report.figures.style import (
    arm_looks,
    figure,
    floats,
    label,
    log_axis,
    shade,
    spoken,
)
from gap_tune.report.trials.settings import LR, MOMENTUM, TrialSettings

_LOG_RATIO = 4.0


def rate_against_momentum(comparison: Comparison, settings: TrialSettings) -> Any:
    """Return learning rate against momentum, a mark per trial, coloured from worst to best.

    Colours are by rank: one trial that diverged would make all others look alike. Trials without a
    learning rate or a momentum have no mark.
    """
    metric = spoken(settings.metric)
    plot = figure(
        f"Learning rate against momentum, as used: a mark per trial, coloured by {metric}",
        LR,
        MOMENTUM,
    )
    rows = settings.shown
    if rows.empty or LR not in rows or MOMENTUM not in rows:
        return plot
    ranks = pd.Series(np.linspace(1.0, 0.0, len(rows)), index=rows.index)
    fits = (rows[LR] > 0) & np.isfinite(rows[MOMENTUM].astype(float))
    rows, places = rows[fits], np.flatnonzero(fits)
    if rows.empty:
        return plot
    looks = arm_looks(comparison)
    values = rows[settings.metric]
    plot.add_scatter(
        x=floats(rows[LR]),
        y=floats(rows[MOMENTUM]),
        mode="markers",
        name="",
        showlegend=False,
        # The place of each trial among those shown: what a page filters by.
        ids=[str(place) for place in places],
        text=[
            f"{label(name)}: {label(settings.metric)} {number(value)}"
            for name, value in zip(rows["name"], values, strict=True)
        ],
        hovertemplate="%{text}<br>lr %{x:.3g}, β %{y:.4g}<extra></extra>",
        marker={
            "size": 10,
            "opacity": 0.85,
            "symbol": [looks[arm].symbol for arm in rows["arm"]],
            "line": {"width": 0.8, "color": "rgba(128, 128, 128, 0.9)"},
            "color": floats(ranks[rows.index]),
            "cmin": 0.0,
            "cmax": 1.0,
            "colorscale": [[share, shade(share)] for share in (0.0, 0.25, 0.5, 0.75, 1.0)],
            "colorbar": _colours(settings),
        },
    )
    # A logarithmic axis of less than two ticks tells nothing.
    if rows[LR].max() > _LOG_RATIO * rows[LR].min():
        plot.update_xaxes(**log_axis(rows[LR]))
    plot.update_layout(height=430)
    return plot


def _colours(settings: TrialSettings) -> dict[str, Any]:
    """Return the bar of colours, which tells of worst, middle and best trial what they reached."""
    values = settings.rows[settings.metric].to_numpy(float)
    ends = {"worst": values[-1], "median": float(np.median(values)), "best": values[0]}
    return {
        "orientation": "h",
        **{"x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom"},
        **{"len": 0.7, "thickness": 10, "outlinewidth": 0},
        "tickvals": [0.0, 0.5, 1.0],
        "ticktext": [f"{name} {number(value)}" for name, value in ends.items()],
        "ticklabelposition": "outside top",
    }
