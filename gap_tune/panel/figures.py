"""A panel's figures, one function each; each returns a plotly figure that stands on its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import gmean

from gap_tune.panel.measures.compared import ACROSS, PER_RATE, TUNED
from gap_tune.panel.scores import Group, Scores
from gap_tune.panel.summary import shown_methods, standing
from gap_tune.report.figures.rates import add_rates
from gap_tune.report.figures.searches import SWEEP_LOOK, add_search, over_trials
from gap_tune.report.figures.style import ArmLook, figure, floats, label
from gap_tune.report.search_curve import SWEEP
from gap_tune.tune.spelling import is_fixed_name

# Told apart with every common colour vision; dashes and symbols say the same again.
_COLOURS = ("#D55E00", "#9467BD", "#CC79A7", "#009E73", "#A69500", "#0072B2")
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "star")
_DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "10px,3px")
# From light to dark with momentum.
_GREYS = ("#B8BEC7", "#A1A8B2", "#8A919C", "#737A86", "#5C6370", "#454B57")
# Room beside the outermost marks, in powers of ten.
_MARGIN = 0.03
_MEASURES = {
    TUNED: "each arm at its tuned learning rate",
    ACROSS: "mean over learning rates",
    PER_RATE: "at each learning rate against the one that is best there, mean over these",
}


def looks(scores: Scores) -> dict[str, ArmLook]:
    """Return the look of each arm: fixed momenta in greys, the others in colours."""
    fixed = [arm for arm in scores.arms if is_fixed_name(arm)]
    others = [arm for arm in scores.arms if not is_fixed_name(arm)]
    found = {}
    for place, arm in enumerate(others):
        i = place % len(_COLOURS)
        found[arm] = ArmLook(_COLOURS[i], _DASHES[i], _SYMBOLS[i], 3.0)
    for place, arm in enumerate(fixed):
        i = place % len(_GREYS)
        found[arm] = ArmLook(_GREYS[i], _DASHES[i], "line-ns-open", 1.5)
    return found


def ratios(scores: Scores, measure: str) -> Any:
    """Return each arm's loss over the best fixed momentum's: a mark per setting, and their mean.

    Args:
        scores: The panel's scores.
        measure: "tuned", "across" or "per_rate".
    """
    plot = figure(
        f"Test loss over that of the best fixed momentum, {_MEASURES[measure]}: a mark per "
        "setting, a bar for the geometric mean with its 95 % interval; left of 1 is better",
        "ratio of test losses",
        "",
    )
    for arm, look in looks(scores).items():
        own = scores.cells[scores.cells["arm"] == arm]
        common = {"y": [label(arm)] * len(own), "showlegend": False, "mode": "markers"}
        plot.add_scatter(
            x=floats(own[f"{measure}_ratio"]),
            customdata=[label(name) for name in own["setting"]],
            hovertemplate="%{customdata}: %{x:.3f}<extra></extra>",
            marker={"color": look.colour, "symbol": "circle", "size": 7, "opacity": 0.6},
            **common,
        )
        _add_mean(plot, scores, arm, measure, look)
    # Intervals of a few settings may be far wider than everything else.
    shown = np.log10(scores.cells[f"{measure}_ratio"])
    limits = [shown.min() - _MARGIN, shown.max() + _MARGIN]
    plot.update_xaxes(type="log", dtick="D2", tickformat="~g", range=limits)
    order = [label(arm) for arm in reversed(scores.arms)]
    plot.update_yaxes(categoryorder="array", categoryarray=order)
    plot.add_vline(x=1.0, line={"width": 1, "dash": "dot", "color": "#7A7F87"})
    plot.update_layout(height=110 + 34 * len(order), margin={"t": 32})
    return plot


def search(group: Group) -> Any:
    """Return what the best of n random trials is expected to end with, a line per method."""
    whose = ", ".join(filter(None, (group.title, group.half)))
    plot = figure(
        f"Search, {label(whose)}: expected test loss of the best of n random trials over that of "
        "the best cell of the fixed grid in hindsight",
        "trials",
        "ratio of test losses",
    )
    styles = {SWEEP: SWEEP_LOOK, **looks(group.scores)}
    for method in shown_methods(group.scores):
        curve = group.scores.curves[method]
        add_search(plot, method, styles[method], curve.ratios, (curve.low, curve.high))
    plot.add_hline(y=1.0, line={"width": 1, "dash": "dot", "color": "#7A7F87"})
    over_trials(plot)
    return plot


def learning_rates(scores: Scores, setting: str) -> Any:
    """Return the test loss over learning rates in a setting, a line per arm: mean over seeds."""
    plot = figure(
        f"{label(setting)}: final test loss over learning rates, mean of seeds",
        "learning rate over the middle of the arm's range",
        "test loss",
    )
    runs = scores.runs[scores.runs["setting"] == setting]
    for arm, look in looks(scores).items():
        mean = runs[runs["arm"] == arm].groupby("lr")["test"].mean()
        add_rates(plot, arm, look, mean, unit=gmean(mean.index))
    plot.update_xaxes(type="log", dtick="D2", tickformat="~g")
    plot.update_yaxes(type="log", dtick="D2", tickformat="~g")
    plot.update_layout(height=480)
    return plot


def momenta(scores: Scores, setting: str) -> Any:
    """Return the momentum in use over a setting's training, a line per arm that chooses it.

    Each arm is shown at its tuned learning rate: the mean over its seeds that finished, and the
    share of training that is done.
    """
    plot = figure(f"Momentum in use: {label(setting)}", "share of training done", "momentum β")
    tuned = scores.cells[scores.cells["setting"] == setting].set_index("arm")["lr"]
    runs = scores.runs[(scores.runs["setting"] == setting) & (scores.runs["status"] == "finished")]
    for arm, look in looks(scores).items():
        own = runs[(runs["arm"] == arm) & (runs["lr"] == tuned.get(arm))]
        mean = _course(own["momenta"])
        if is_fixed_name(arm) or not len(mean):
            continue
        plot.add_scatter(
            x=floats(np.arange(1, len(mean) + 1) / len(mean)),
            y=floats(mean),
            name=label(arm),
            mode="lines",
            line={"color": look.colour, "dash": look.dash, "width": 2},
            hovertemplate="%{x:.0%} done: β = %{y:.3g}",
        )
    plot.update_xaxes(tickformat=".0%")
    plot.update_yaxes(range=[-0.02, 1.02])
    plot.update_layout(height=300, showlegend=True)
    return plot


def _course(courses: pd.Series) -> Any:
    """Return the mean of the seeds' momenta, report by report; empty where there are none."""
    known = [course for course in courses if course and None not in course]
    return np.mean(known, axis=0) if known else np.array([])


def _add_mean(plot: Any, scores: Scores, arm: str, measure: str, look: ArmLook) -> None:
    place = standing(scores, arm, measure)
    bars = {"array": [place.high - place.ratio], "arrayminus": [place.ratio - place.low]}
    plot.add_scatter(
        x=[place.ratio],
        y=[label(arm)],
        mode="markers",
        showlegend=False,
        marker={"symbol": "line-ns", "size": 24, "line": {"color": look.colour, "width": 3}},
        error_x={"type": "data", "color": look.colour, "thickness": 1.5, **bars}
        if place.settings > 1
        else None,
        hovertemplate="mean of settings: %{x:.3f}<extra></extra>",
    )
