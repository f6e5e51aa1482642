"""standing: where an arm is over all settings, against the best fixed momenta, in plain words."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd
from scipy import stats

from gap_tune.panel.scores import MEASURES, TUNED, Scores
from gap_tune.report.paired import CONFIDENCE
from gap_tune.tune.spelling import is_fixed_name

# From here on a percentage is harder to read than a factor.
_LARGE = 10.0

Kind = Literal["ahead", "level", "behind", "undecided"]


@dataclass(frozen=True)
class Standing:
    """An arm against another, or each setting's best fixed momentum, over all settings.

    Attributes:
        ratio: Geometric mean over settings of the loss over the rival's; below 1 is better.
        low: Lower end of its 95 % interval: Student's t over the settings' logarithms, which holds
            for settings like these.
        high: Upper end.
        settings: How many settings.
    """

    ratio: float
    low: float
    high: float
    settings: int

    @classmethod
    def of(cls, logs: pd.Series) -> Standing:
        """Return the standing of the settings' log ratios.

        >>> import pandas as pd
        >>> found = Standing.of(pd.Series([0.0, 0.1, 0.2]))
        >>> round(found.ratio, 3), round(found.low, 3), round(found.high, 3)
        (1.105, 0.862, 1.417)
        """
        count, mean = len(logs), float(logs.mean())
        if count < 2:
            return cls(math.exp(mean), math.nan, math.nan, count)
        half = float(stats.t.ppf((1 + CONFIDENCE) / 2, count - 1) * stats.sem(logs))
        return cls(math.exp(mean), math.exp(mean - half), math.exp(mean + half), count)

    @property
    def kind(self) -> Kind:
        """Whether the interval lies on one side of 1: "ahead", "behind", else "level"."""
        if math.isnan(self.low):
            return "undecided"
        return "ahead" if self.high < 1.0 else "behind" if self.low > 1.0 else "level"

    @property
    def text(self) -> str:
        """The numbers: per cent above or below the rival, with the interval."""
        interval = ""
        if not math.isnan(self.low):
            interval = f" (95 % interval {percent(self.low)} to {percent(self.high)})"
        return f"{percent(self.ratio)}{interval}"


def standing(scores: Scores, arm: str, measure: str, rival: str | None = None) -> Standing:
    """Return where an arm stands.

    Args:
        scores: The panel's scores.
        arm: The arm.
        measure: "tuned" or "across".
        rival: Another arm; None takes each setting's best fixed momentum in hindsight.
    """
    logs = _log_ratios(scores, arm, measure)
    if rival is not None:
        logs = logs - _log_ratios(scores, rival, measure)
    return Standing.of(logs)


def best_single(scores: Scores, measure: str) -> str | None:
    """Return the fixed momentum of lowest ratio over all settings: the best that needs no search.

    It is chosen by the very losses that it is judged by, which favours it; None without any.
    """
    fixed = [arm for arm in scores.arms if is_fixed_name(arm)]
    return min(fixed, key=lambda arm: standing(scores, arm, measure).ratio, default=None)


def arms_table(scores: Scores) -> pd.DataFrame:
    """Return one row per arm.

    Returns:
        A table with the columns ``arm``; for each measure ``<measure>_ratio, _low, _high``
        (see ``Standing``), ``_worst`` (the largest ratio of a setting), ``_wins``, ``_ties``,
        ``_losses``; ``steps`` (of all runs), ``overhead_s`` (what they took longer than at the
        fixed arms' time of a step), ``overhead_ms`` (median over settings of the median time of a
        step, less that of the fixed arms), ``slowdown`` (the same as a factor), ``diverged``,
        ``failed``, ``at_edge`` (settings whose tuned learning rate is the smallest or largest
        tried).
    """
    return pd.DataFrame([_arm_row(scores, arm) for arm in scores.arms])


def _arm_row(scores: Scores, arm: str) -> dict[str, Any]:
    own = scores.cells[scores.cells["arm"] == arm].set_index("setting")
    row: dict[str, Any] = {"arm": arm}
    for measure in MEASURES if f"{TUNED}_ratio" in own else ():
        found = standing(scores, arm, measure)
        outcomes = own[f"{measure}_outcome"]
        values = {
            "ratio": found.ratio,
            "low": found.low,
            "high": found.high,
            "worst": own[f"{measure}_ratio"].max(),
            "wins": int((outcomes == "win").sum()),
            "ties": int(outcomes.isin(["tie", "rival"]).sum()),
            "losses": int((outcomes == "loss").sum()),
        }
        row |= {f"{measure}_{name}": value for name, value in values.items()}
    counts = {name: int(own[name].sum()) for name in ("steps", "diverged", "failed", "at_edge")}
    return {**row, **_overhead(scores, own), **counts}


def _overhead(scores: Scores, own: pd.DataFrame) -> dict[str, float]:
    """Return what steps cost more than the fixed arms' of the same setting."""
    fixed = scores.cells[scores.cells["arm"].map(is_fixed_name)]
    plain = fixed.groupby("setting")["ms_per_step"].median().reindex(own.index)
    extra = own["ms_per_step"] - plain
    return {
        "overhead_s": float((extra * own["steps"]).sum(min_count=1) / 1e3),
        "overhead_ms": float(extra.median()),
        "slowdown": float((own["ms_per_step"] / plain).median()),
    }


def _log_ratios(scores: Scores, arm: str, measure: str) -> pd.Series:
    own = scores.cells[scores.cells["arm"] == arm].set_index("setting")
    return own[f"{measure}_ratio"].map(math.log)


def percent(ratio: float) -> str:
    """Return a ratio as what it is above or below 1, as a factor where that is large.

    >>> percent(1.034), percent(0.5), percent(23.0)
    ('+3.4 %', '-50.0 %', '23 times')
    """
    return f"{100 * (ratio - 1):+.1f} %" if ratio < _LARGE else f"{ratio:.3g} times"
