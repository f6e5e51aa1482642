"""Figures over learning rates: a line per arm that was trained at several of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import gmean

from gap_tune.report.comparison import Comparison
from gap_tune.report.figures.style import (
    ArmLook,
    arm_looks,
    figure,
    floats,
    label,
    log_axis,
    scale_of,
    spoken,
    with_unit,
)
from gap_tune.report.sweep import Sweep

_MARK, _TUNED_MARK = 7, 13


def final_by_rate(comparison: Comparison, sweep: Sweep) -> Any:
    """Return the study's metric at the end of training over learning rates, mean over seeds.

    The mark of each arm's tuned rate is larger. Where a trial of a learning rate failed, its mean
    would be that of the others alone, so the line has a gap. Where arms have ranges of their own,
    rates are shown over the middle of each.
    """
    metric = comparison.metric
    alike = len(set(sweep.rates.values())) == 1
    plot = figure(
        f"Final {spoken(metric)} over learning rates: mean of seeds, a larger mark at each arm's "
        "best, a gap where a trial failed",
        "learning rate" if alike else "learning rate over the middle of the arm's range",
        with_unit(metric),
    )
    looks = arm_looks(comparison)
    means = {arm: sweep.means(arm) for arm in sweep.rates}
    means = {arm: own for arm, own in means.items() if own.notna().any()}
    for arm, own in means.items():
        unit = 1.0 if alike else gmean(own.index)
        add_rates(plot, arm, looks[arm], own, best=sweep.tuned[arm].lr, unit=unit)
    if means:
        plot.update_xaxes(**log_axis(np.concatenate([trace.x for trace in plot.data])))
    plot.update_yaxes(**scale_of(metric, pd.concat(means.values()).dropna() if means else ()))
    plot.update_layout(showlegend=True, height=420)
    return plot


def add_rates(
    plot: Any,
    arm: str,
    look: ArmLook,
    values: pd.Series,
    *,
    best: float | None = None,
    unit: float = 1.0,
) -> None:
    """Draw an arm's line over learning rates.

    Args:
        plot: The figure.
        arm: The arm's name.
        look: How it looks.
        values: What to show, indexed by learning rate.
        best: The learning rate to mark; None marks none.
        unit: What the axis counts learning rates in.
    """
    plot.add_scatter(
        x=floats(values.index / unit),
        customdata=[f"{lr:.3g}" for lr in values.index],
        y=floats(values),
        name=label(arm),
        mode="lines+markers",
        line={"color": look.colour, "dash": look.dash, "width": look.width},
        marker={
            "symbol": look.symbol,
            "size": _MARK
            if best is None
            else [_TUNED_MARK if lr == best else _MARK for lr in values.index],
        },
        hovertemplate="lr %{customdata}: %{y:.4g}",
    )
