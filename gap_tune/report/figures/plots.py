"""Figures of a study, one function each; each returns a plotly figure that stands on its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from gap_tune.records.decisions import TunedTrial
from gap_tune.records.records import Records
from gap_tune.report.comparison import Comparison
from gap_tune.report.figures.style import (
    RANK_COLOURS,
    ArmLook,
    arm_looks,
    figure,
    floats,
    label,
    panel,
    panels,
    scale_of,
    spoken,
    with_unit,
)

_MOMENTS = 5
# Curves of more points look no different and make the page large: of each, and of all trials.
_MOST_POINTS, _MOST_OF_ALL = 400, 10_000
# Up to so many reports have a tick each.
_FEW_REPORTS = 10


def learning_curves(comparison: Comparison, metric: str) -> Any:
    """Return a metric over epochs, one line per arm: mean over seeds, band from lowest to highest.

    Finished trials count; an arm of which none finished shows what its trials reported. Arms that
    reported the metric at one epoch only have no curve. Trials that no seeds pair differ in more
    than their arm and have a line each. At most 400 evenly spread points are shown of a line.
    """
    records = comparison.compared
    time = "epoch" if "epoch" in records.results else "iteration"
    alone = records.unit == "trial"
    of_all = f"mean of {records.unit}s, shaded from lowest to highest"
    shown_as = "a line per trial" if alone else of_all
    plot = figure(
        f"{_sentence(spoken(metric))} over training: {shown_as}",
        "epoch (passes over the training data)" if time == "epoch" else "report (count)",
        with_unit(metric),
    )
    looks = arm_looks(comparison)
    shown: list[float] = []
    for arm in comparison.arms:
        if alone:
            shown += _add_trials(plot, records, arm, (time, metric), looks[arm])
            continue
        curve = _over_seeds(records, arm, metric, time)
        if len(curve) > 1:
            _add_curve(plot, arm, curve, looks[arm])
            shown += [*curve["min"], *curve["max"]]
    plot.update_yaxes(**scale_of(metric, shown))
    if time == "iteration" and records.results[time].max() <= _FEW_REPORTS:
        # No report is the first and a half.
        plot.update_xaxes(dtick=1)
    return plot


def final_values(comparison: Comparison, metric: str) -> Any:
    """Return a metric at the end of training: a dot per seed and the mean of each arm."""
    unit, looks = comparison.records.unit, arm_looks(comparison)
    known = {arm: comparison.values(arm, metric) for arm in comparison.arms}
    known = {arm: values for arm, values in known.items() if len(values)}
    plot = figure(
        f"Final {spoken(metric)}: a mark per {unit}, the bar is their mean",
        with_unit(metric),
        "",
    )
    for arm, values in known.items():
        look = looks[arm]
        common = {"name": label(arm), "showlegend": False, "mode": "markers"}
        plot.add_scatter(
            x=floats(values),
            y=[label(arm)] * len(values),
            customdata=[f"{unit} {seed}" for seed in values.index],
            hovertemplate="%{customdata}: %{x:.4g}",
            marker={"color": look.colour, "symbol": look.symbol, "size": 9, "opacity": 0.75},
            **common,
        )
        plot.add_scatter(
            x=[float(values.mean())],
            y=[label(arm)],
            hovertemplate=f"mean of {len(values)}: %{{x:.4g}}",
            marker={"symbol": "line-ns", "size": 24, "line": {"color": look.colour, "width": 3}},
            **common,
        )
    plot.update_xaxes(**scale_of(metric, comparison.finals[metric].dropna()))
    plot.update_yaxes(categoryorder="array", categoryarray=[label(arm) for arm in reversed(known)])
    plot.update_layout(height=110 + 34 * len(known), margin={"t": 32})
    return plot


def gain_curves(trial: TunedTrial) -> Any:
    """Return the gain of every candidate at up to five moments of a trial, the chosen one marked.

    Each moment has a panel with a scale of its own: gains fall by orders of magnitude while a
    model trains, and which momentum has the largest is what matters. The gain is the blended one
    of the default rule (w = 0.3). A guard may have chosen another candidate than the one of largest
    gain; a choice that is no candidate has no mark.
    """
    judged = trial.judged(_MOMENTS)
    plot = panels(
        f"Gain of each momentum at {len(judged)} moments of {label(trial.name)}, each on its own "
        "scale; rings mark the momentum chosen then",
        "momentum β (candidates)",
        "gain J(β)",
        [f"step {step:,}" for step, _, _ in judged],
    )
    for place, (moment, colour) in enumerate(zip(judged, RANK_COLOURS, strict=False)):
        step, statistics, chosen = moment
        names = [f"{candidate:g}" for candidate in statistics.candidates]
        ringed = [candidate == chosen for candidate in statistics.candidates]
        plot.add_scatter(
            x=names,
            y=floats(statistics.gain()),
            name=f"step {step}",
            mode="lines+markers",
            line={"color": colour, "width": 2},
            marker={
                "size": [15 if ring else 6 for ring in ringed],
                "symbol": ["circle-open-dot" if ring else "circle" for ring in ringed],
                "line": {"width": 2},
            },
            hovertemplate=f"step {step}, β = %{{x}}: J = %{{y:.3g}}<extra></extra>",
            **panel(place),
        )
    plot.update_xaxes(type="category")
    return plot


def has_curve(comparison: Comparison, metric: str) -> bool:
    """Tell whether trials reported the metric more than once, so that it has a course."""
    results = comparison.records.results
    if metric not in results:
        return False
    known = results[pd.to_numeric(results[metric], errors="coerce").notna()]
    return bool(known["trial_id"].duplicated().any())


def _over_seeds(records: Records, arm: str, metric: str, time: str) -> pd.DataFrame:
    """Return mean, min, max and count over seeds, indexed by time."""
    own = records.results[records.results["arm"] == arm]
    finished = records.trials_with("finished", [arm])["trial_id"]
    if len(finished):
        own = own[own["trial_id"].isin(finished)]
    values = _finite(own[[time, metric]])
    return thinned(values.groupby(time)[metric].agg(["mean", "min", "max", "count"]))


def thinned(table: pd.DataFrame, trials: int = 1) -> pd.DataFrame:
    """Return evenly spread rows of a table, the first and the last among them.

    Args:
        table: What to thin.
        trials: How many such tables a figure holds; fewer rows stay of each of many.
    """
    most = min(len(table), _MOST_POINTS, max(_MOST_OF_ALL // trials, 2))
    return table.iloc[np.linspace(0, len(table) - 1, most).round().astype(int)]


def _finite(table: pd.DataFrame) -> pd.DataFrame:
    numbers = table.apply(pd.to_numeric, errors="coerce")
    return numbers.replace([np.inf, -np.inf], np.nan).dropna()


def _add_trials(
    plot: Any, records: Records, arm: str, columns: tuple[str, str], look: ArmLook
) -> list[float]:
    """Draw one line per trial of an arm, as one trace with gaps; return the values drawn."""
    own = records.results[records.results["arm"] == arm]
    pieces: list[pd.DataFrame] = []
    for number, rows in own.groupby("seed"):
        line = thinned(_finite(rows[list(columns)]), len(records.trials))
        gap = pd.DataFrame({name: [np.nan] for name in columns})
        pieces += [pd.concat([line, gap]).assign(trial=number)]
    if not pieces:
        return []
    lines = pd.concat(pieces)
    time, metric = columns
    plot.add_scatter(
        x=floats(lines[time]),
        y=floats(lines[metric]),
        customdata=lines["trial"].to_numpy(np.int32),
        name=label(arm),
        mode="lines+markers" if len(lines) < _MOST_POINTS else "lines",
        marker={"size": 4},
        opacity=0.75,
        line={"color": look.colour, "dash": look.dash, "width": 1.6},
        hovertemplate=f"trial %{{customdata}}, {time} %{{x:.3g}}: %{{y:.4g}}",
    )
    plot.update_layout(showlegend=True)
    return [float(value) for value in lines[metric].dropna()]


def _add_curve(plot: Any, arm: str, curve: pd.DataFrame, look: ArmLook) -> None:
    time = floats(curve.index)
    common = {"name": label(arm), "legendgroup": label(arm)}
    if curve["count"].max() > 1:
        plot.add_scatter(
            x=np.concatenate([time, time[::-1]]),
            y=np.concatenate([floats(curve["max"]), floats(curve["min"])[::-1]]),
            mode="lines",
            line={"width": 0},
            fill="toself",
            fillcolor=look.band(),
            hoverinfo="skip",
            showlegend=False,
            **common,
        )
    plot.add_scatter(
        x=time,
        y=floats(curve["mean"]),
        customdata=curve["count"].to_numpy(np.int32),
        mode="lines",
        line={"color": look.colour, "dash": look.dash, "width": look.width},
        hovertemplate=f"{curve.index.name} %{{x:.3g}}: %{{y:.4g}} (mean of %{{customdata}})",
        **common,
    )


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:]
