"""score: from the lines of a journal to tables of losses, regrets and paired tests."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from gap_tune.errors import StateError
from gap_tune.report.choosing import TunedRate, tuned_rate
from gap_tune.report.paired import PairedDifference
from gap_tune.tune.spelling import is_fixed_name

SIGNIFICANCE = 0.05
TUNED, ACROSS = "tuned", "across"
MEASURES = (TUNED, ACROSS)
# Losses divide each other; a quadratic may end at its optimum.
_SMALLEST = 1e-12


@dataclass(frozen=True)
class Scores:
    """A panel's tables.

    Attributes:
        runs: One row per run: the journal's line, and ``validation`` and ``test``, the losses that
            count.
        cells: One row per setting and arm, see ``score``.
    """

    runs: pd.DataFrame
    cells: pd.DataFrame

    @property
    def settings(self) -> list[str]:
        """Names of the settings, in their order."""
        return list(dict.fromkeys(self.cells["setting"]))

    @property
    def arms(self) -> list[str]:
        """Names of the arms, in their order."""
        return list(dict.fromkeys(self.cells["arm"]))


def score(rows: Sequence[Mapping[str, Any]], note: Mapping[str, Any]) -> Scores:
    """Return what a panel's runs amount to.

    The loss that counts is the final model's, capped at that of the untrained model of its seed:
    a run that diverges, fails or ends worse than it began has learnt nothing, and counts as that.

    *Tuned*: each arm at its own learning rate, the one of lowest validation loss averaged over
    seeds, reported on test data. *Across*: the test loss averaged over all learning rates. In both
    the rival is the setting's best fixed momentum in hindsight, chosen by validation loss alike.
    Differences are paired over seeds; a win or loss needs a two-sided paired t test at 5 %.

    Returns:
        The runs and a table of cells with the columns ``setting, arm, lr`` (tuned),
        ``at_edge`` (whether it is the smallest or largest tried), ``steps`` (of all its runs),
        ``ms_per_step`` (median), ``diverged, failed``, and for each measure ``<measure>_loss``,
        ``_se`` (standard error over seeds), ``_rival``, ``_regret`` (mean difference, positive is
        worse), ``_regret_se``, ``_p``, ``_outcome`` ("win", "tie", "loss", or "rival" for the
        rival itself) and ``_ratio`` (geometric mean over seeds of the loss over the rival's).

    Raises:
        StateError: When runs are missing.
    """
    runs = _runs(rows)
    settings = [each["name"] for each in note["settings"] if each["name"] in set(runs["setting"])]
    cells = [cell for name in settings for cell in _cells(runs[runs["setting"] == name])]
    return Scores(runs, pd.DataFrame(cells))


def _runs(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    runs = pd.DataFrame(rows)
    if runs.empty:
        raise StateError("a panel must hold finished runs to be judged, but got none.")
    for split in ("validation", "test"):
        loss = runs[f"{split}_loss"].astype(float)
        runs[split] = loss.fillna(np.inf).clip(upper=runs[f"initial_{split}_loss"])
    counts = runs.groupby(["setting", "arm"], sort=False).size()
    if counts.nunique() > 1:
        raise StateError(
            "a panel must hold the same runs of every arm and setting to be judged, but got "
            f"{counts.min()} to {counts.max()} of them."
        )
    return runs


def _cells(runs: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the cells of one setting."""
    arms = list(dict.fromkeys(runs["arm"]))
    fixed = [arm for arm in arms if is_fixed_name(arm)]
    tuned = {arm: _tuned(runs[runs["arm"] == arm]) for arm in arms}
    losses = {arm: _losses(runs[runs["arm"] == arm], tuned[arm].lr) for arm in arms}
    rivals = {
        measure: min(fixed, key=lambda arm: losses[arm][measure][0], default=None)
        for measure in MEASURES
    }
    return [
        {
            "setting": runs["setting"].iloc[0],
            "arm": arm,
            **_spent(runs[runs["arm"] == arm]),
            "lr": tuned[arm].lr,
            "at_edge": tuned[arm].at_edge,
            **_compared(arm, losses, rivals, TUNED),
            **_compared(arm, losses, rivals, ACROSS),
        }
        for arm in arms
    ]


def _losses(own: pd.DataFrame, lr: float) -> dict[str, tuple[float, pd.Series]]:
    """Return an arm's mean validation loss and its test losses by seed, for each measure."""
    tuned = own[own["lr"] == lr]
    return {
        TUNED: (tuned["validation"].mean(), tuned.set_index("seed")["test"].sort_index()),
        ACROSS: (own["validation"].mean(), own.groupby("seed")["test"].mean()),
    }


def _tuned(own: pd.DataFrame) -> TunedRate:
    by_lr = {float(lr): runs.set_index("seed")["validation"] for lr, runs in own.groupby("lr")}
    # Nothing is lost: runs that failed count as having learnt nothing.
    return tuned_rate(by_lr, "min", dict.fromkeys(by_lr, ())) or TunedRate(math.nan)


def _spent(own: pd.DataFrame) -> dict[str, Any]:
    # A run that diverged did steps after its last report, whose time nobody took.
    trained = own[(own["status"] == "finished") & (own["steps"] > 0)]
    return {
        "runs": len(own),
        "steps": int(own["steps"].sum()),
        "ms_per_step": float((1e3 * trained["seconds"] / trained["steps"]).median()),
        "diverged": int((own["status"] == "diverged").sum()),
        "failed": int((own["status"] == "failed").sum()),
    }


def _compared(
    arm: str,
    losses: Mapping[str, Mapping[str, tuple[float, pd.Series]]],
    rivals: Mapping[str, str | None],
    measure: str,
) -> dict[str, Any]:
    own, rival = losses[arm][measure][1], rivals[measure]
    cell = {"loss": own.mean(), "se": own.sem(), "rival": rival or ""}
    if rival is not None:
        other = losses[rival][measure][1]
        difference = PairedDifference.between(own, other, "min")
        cell |= {
            "regret": difference.mean,
            "regret_se": difference.standard_error,
            "p": difference.p_value,
            "outcome": "rival" if arm == rival else _outcome(difference),
            "ratio": np.exp(_logs(own).sub(_logs(other)).mean()),
        }
    return {f"{measure}_{name}": value for name, value in cell.items()}


def _outcome(difference: PairedDifference) -> str:
    """Return "win", "tie" or "loss"; without any spread there is nothing to test."""
    # NaN, where there is no spread, compares as false.
    if not difference.p_value < SIGNIFICANCE:
        return "tie"
    return "win" if difference.mean < 0.0 else "loss"


def _logs(losses: pd.Series) -> pd.Series:
    return np.log(losses.clip(lower=_SMALLEST))
