"""standing: where an arm is over all settings, against the best fixed momenta, and what it cost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from gap_tune.errors import StateError
from gap_tune.panel.measures.compared import MEASURES, TUNED
from gap_tune.panel.measures.rates import RateRange
from gap_tune.panel.measures.standing import Standing
from gap_tune.panel.scores import Scores
from gap_tune.report.search_curve import SWEEP
from gap_tune.tune.spelling import fixed_name, is_fixed_name

# What most who search only the learning rate leave momentum at.
CUSTOMARY = fixed_name(0.9)


def standing(scores: Scores, arm: str, measure: str, rival: str | None = None) -> Standing:
    """Return where an arm stands.

    Args:
        scores: The panel's scores, of at least one fixed arm.
        arm: The arm.
        measure: "tuned", "across" or "per_rate".
        rival: Another arm; None takes each setting's best fixed momenta in hindsight.

    Raises:
        StateError: When there is no fixed arm.
    """
    logs = scores.compared[measure].logs
    if logs is None:
        raise StateError(
            f"a panel must hold an arm of fixed momentum to compare with, but got {scores.arms}."
        )
    own = logs[:, scores.arms.index(arm)]
    if rival is not None:
        own = own - logs[:, scores.arms.index(rival)]
    return Standing.of(own, scores.margin)


def best_single(scores: Scores, measure: str) -> str | None:
    """Return the fixed momentum of lowest ratio over all settings: the best that needs no search.

    It is chosen by the very losses that it is judged by, which favours it; None without any.
    """
    fixed = [arm for arm in scores.arms if is_fixed_name(arm)]
    return min(fixed, key=lambda arm: standing(scores, arm, measure).ratio, default=None)


def shown_methods(scores: Scores) -> list[str]:
    """Return the methods whose search curves are shown; none without fixed arms.

    These are the sweep, searches of the learning rate alone with the customary momentum and with
    the best single one of tuned learning rates, and every arm that is not fixed.
    """
    single = best_single(scores, TUNED)
    if single is None:
        return []
    customary = [CUSTOMARY] if CUSTOMARY in scores.arms else []
    others = [arm for arm in scores.arms if not is_fixed_name(arm)]
    return list(dict.fromkeys([SWEEP, *customary, single, *others]))


@dataclass(frozen=True)
class Survival:
    """Runs of an arm at the places, a setting, learning rate and seed, where fixed arms diverged.

    Attributes:
        places: Places where a fixed arm diverged.
        survived: Of these, where the arm did not.
        alone: Of those, where every fixed arm diverged.
        lost: Places where the arm diverged and no fixed arm did.
    """

    places: int
    survived: int
    alone: int
    lost: int

    @classmethod
    def of(cls, scores: Scores, arm: str) -> Survival:
        """Return the count of an arm."""
        diverged = scores.losses.diverged
        own, fixed = diverged[:, scores.arms.index(arm)], diverged[:, scores.losses.fixed]
        some, every = fixed.any(axis=1), bool(scores.losses.fixed) & fixed.all(axis=1)
        return cls(*(int(each.sum()) for each in (some, some & ~own, every & ~own, own & ~some)))


def arms_table(scores: Scores) -> pd.DataFrame:
    """Return one row per arm.

    Returns:
        A table with the columns ``arm``; for each measure ``<measure>_ratio, _low, _high, _median``
        and ``_worst`` (see ``Standing``), ``_wins``, ``_ties``, ``_losses``; ``steps`` (of all
        runs), ``overhead_s`` (what they took longer than at the fixed arms' time of a step),
        ``overhead_ms`` (median over settings of the median time of a step, less that of the fixed
        arms), ``slowdown`` (the same as a factor), ``diverged``, ``survived`` (places where a fixed
        arm diverged and this one did not), ``failed``, ``at_edge`` (settings whose tuned learning
        rate is the smallest or largest tried), ``range_median`` and ``range_within`` (see
        ``rates_table``).
    """
    return pd.DataFrame([_arm_row(scores, arm) for arm in scores.arms])


def measures_table(scores: Scores) -> pd.DataFrame:
    """Return a row per family, half, arm and measure; empty without fixed arms.

    Returns:
        A table with the columns ``family`` and ``half`` ("all" where they are together), ``arm``,
        ``measure``, ``settings``, ``ratio, low, high, median, worst`` (see ``Standing``), ``kind``,
        ``single`` (the best single fixed momentum of these settings) and against it
        ``single_ratio, single_low, single_high``.
    """
    return pd.DataFrame(list(_measure_rows(scores)))


def _measure_rows(scores: Scores) -> Iterator[dict[str, Any]]:
    for group in scores.groups if scores.losses.fixed else ():
        for measure in MEASURES:
            single = best_single(group.scores, measure)
            for arm in scores.arms:
                place = standing(group.scores, arm, measure)
                other = standing(group.scores, arm, measure, single)
                row = {**group.named, "arm": arm, "measure": measure}
                told = asdict(place)
                names = ("settings", "ratio", "low", "high", "median", "worst")
                yield (
                    row
                    | {name: told[name] for name in names}
                    | {
                        "kind": place.kind,
                        "single": single,
                        "single_ratio": other.ratio,
                        "single_low": other.low,
                        "single_high": other.high,
                    }
                )


def search_table(scores: Scores) -> pd.DataFrame:
    """Return a row per family, half, method and number of trials; empty without fixed arms.

    Returns:
        A table with the columns ``family`` and ``half`` ("all" where they are together),
        ``method``, ``trials``, ``ratio, low, high, median`` (see ``Curve``), and of the method, the
        same in all its rows, ``worth, worth_low, worth_high, match, match_low, match_high``.
    """
    tables = [
        pd.DataFrame(
            {
                **group.named,
                "method": method,
                "trials": range(1, len(curve.ratios) + 1),
                "ratio": curve.ratios,
                "low": curve.low,
                "high": curve.high,
                "median": curve.medians,
                **curve.worth.columns("worth"),
                **curve.match.columns("match"),
            }
        )
        for group in scores.groups
        for method, curve in group.scores.curves.items()
    ]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def rates_table(scores: Scores) -> pd.DataFrame:
    """Return what the range of learning rates costs: a row per family, half and arm.

    Returns:
        A table with the columns ``family`` and ``half`` ("all" where they are together), ``arm``,
        ``settings``, ``median`` and ``largest`` (over settings, of the mean test loss at the worst
        learning rate over that at the best) and ``within`` (settings where it is at most 1.25).
    """
    return pd.DataFrame(
        [
            {**group.named, "arm": arm, **asdict(RateRange.of(group.scores.losses, arm))}
            for group in scores.groups
            for arm in scores.arms
        ]
    )


def _arm_row(scores: Scores, arm: str) -> dict[str, Any]:
    own = scores.cells[scores.cells["arm"] == arm].set_index("setting")
    row: dict[str, Any] = {"arm": arm}
    for measure in MEASURES if scores.losses.fixed else ():
        told, outcomes = asdict(standing(scores, arm, measure)), own[f"{measure}_outcome"]
        values = {name: told[name] for name in ("ratio", "low", "high", "median", "worst")} | {
            "wins": int((outcomes == "win").sum()),
            "ties": int(outcomes.isin(["tie", "rival"]).sum()),
            "losses": int((outcomes == "loss").sum()),
        }
        row |= {f"{measure}_{name}": value for name, value in values.items()}
    counts = {name: int(own[name].sum()) for name in ("steps", "diverged", "failed", "at_edge")}
    survived = Survival.of(scores, arm).survived
    span = RateRange.of(scores.losses, arm)
    return {
        **row,
        **_overhead(scores, own),
        **counts,
        "survived": survived,
        "range_median": span.median,
        "range_within": span.within,
    }


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
