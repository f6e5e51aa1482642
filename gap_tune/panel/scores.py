"""score: from the lines of a journal to tables of losses, regrets and paired tests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from gap_tune.errors import StateError
from gap_tune.formatting import plural
from gap_tune.panel.measures.compared import MEASURES, Compared
from gap_tune.panel.measures.losses import Losses
from gap_tune.panel.measures.search import Curve, Searches
from gap_tune.records.records import DEFAULT_MARGIN
from gap_tune.report.evidence.equivalence import SIGNIFICANCE
from gap_tune.report.evidence.paired import PairedDifference
from gap_tune.report.search_curve import SWEEP


@dataclass(frozen=True, eq=False)
class Scores:
    """A panel's tables, of all settings or of some.

    Attributes:
        runs: One row per run: the journal's line, and ``validation`` and ``test``, the losses that
            count.
        cells: One row per setting and arm, see ``score``.
        losses: The losses that count as arrays.
        told: What the panel's note says of each setting, in their order.
        margin: Within which an arm is as good as its rival, stated beforehand.
    """

    runs: pd.DataFrame
    cells: pd.DataFrame
    losses: Losses
    told: tuple[Mapping[str, Any], ...]
    margin: float

    @property
    def settings(self) -> list[str]:
        """Names of the settings, in their order."""
        return list(self.losses.settings)

    @property
    def arms(self) -> list[str]:
        """Names of the arms, in their order."""
        return list(self.losses.arms)

    @property
    def families(self) -> list[str]:
        """The optimizer families of the settings, in their order."""
        return list(dict.fromkeys(each["family"] for each in self.told))

    @property
    def halves(self) -> list[str]:
        """The halves of the panel that the settings are of; empty where settings name none."""
        named = (each.get("half") for each in self.told)
        return list(dict.fromkeys(half for half in named if half))

    @cached_property
    def compared(self) -> Mapping[str, Compared]:
        """Every arm against the best fixed momenta, by measure."""
        return {measure: Compared.by(measure, self.losses) for measure in MEASURES}

    @cached_property
    def curves(self) -> Mapping[str, Curve]:
        """The search curves of the sweep and of every arm; none without fixed arms."""
        methods = (SWEEP, *self.arms) if self.losses.fixed else ()
        return {method: self.searches.curve(method) for method in methods}

    @cached_property
    def searches(self) -> Searches:
        """Searches by the sweep and by every arm, to be asked where there are fixed arms."""
        return Searches(self.losses)

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """The settings by family, and of several families together, each by half."""
        families = [*self.families, ""] if len(self.families) > 1 else self.families
        found = (self._group(family, half) for family in families for half in self.halves or [""])
        return tuple(group for group in found if group.scores.settings)

    def _group(self, family: str, half: str) -> Group:
        names = [
            each["name"]
            for each in self.told
            if family in ("", each["family"]) and half in ("", each.get("half"))
        ]
        return Group(family, half, self.of_settings(names))

    def of_settings(self, names: Sequence[str]) -> Scores:
        """Return the scores of some of the settings."""
        if list(names) == self.settings:
            return self
        return replace(
            self,
            runs=self.runs[self.runs["setting"].isin(names)],
            cells=self.cells[self.cells["setting"].isin(names)],
            losses=self.losses.of_settings(names),
            told=tuple(each for each in self.told if each["name"] in names),
        )


@dataclass(frozen=True, eq=False)
class Group:
    """Settings that are summed up together.

    Attributes:
        family: Their optimizer family; empty for all families together.
        half: Their half of the panel; empty where settings name none.
        scores: Their scores.
    """

    family: str
    half: str
    scores: Scores

    @property
    def title(self) -> str:
        """The family as people write it."""
        return family_title(self.family)

    @property
    def whose(self) -> str:
        """Family, half and number of settings, as sentences begin."""
        amount = plural(len(self.scores.settings), "setting")
        return ", ".join(filter(None, (self.title, self.half, amount)))

    @property
    def named(self) -> dict[str, str]:
        """Family and half as columns of a table; "all" where they are together."""
        return {"family": self.family or "all", "half": self.half or "all"}


def family_title(family: str) -> str:
    """Return an optimizer family as people write it; empty are all together.

    >>> family_title("sgd"), family_title("adamw"), family_title("")
    ('SGD', 'AdamW', 'All settings')
    """
    return {"": "All settings", "sgd": "SGD", "adam": "Adam", "adamw": "AdamW"}.get(family, family)


def score(rows: Sequence[Mapping[str, Any]], note: Mapping[str, Any]) -> Scores:
    """Return what a panel's runs amount to.

    The loss that counts is the final model's, capped at that of the untrained model of its seed:
    a run that diverges, fails or ends worse than it began has learnt nothing, and counts as that.
    What is compared with what says ``Compared``. Differences are paired over seeds; a win or loss
    needs a two-sided paired t test at 5 %.

    Returns:
        The runs and a table of cells with the columns ``setting, arm, lr`` (tuned),
        ``at_edge`` (whether it is the smallest or largest tried), ``steps`` (of all its runs),
        ``ms_per_step`` (median), ``diverged, failed``, and for each measure ``<measure>_loss``,
        ``_se`` (standard error over seeds), ``_rival`` (per learning rate one for each),
        ``_regret`` (mean difference, positive is worse), ``_regret_se``, ``_p``, ``_outcome``
        ("win", "tie", "loss", or "rival" for the rival itself) and ``_ratio`` (geometric mean over
        seeds, and per learning rate over these, of the loss over the rival's).

    Raises:
        StateError: When runs are missing.
    """
    runs = _runs(rows)
    present = set(runs["setting"])
    told = tuple(each for each in note["settings"] if each["name"] in present)
    losses = Losses.of(runs, [each["name"] for each in told])
    margin = float(note.get("margin", DEFAULT_MARGIN))
    scores = Scores(runs, pd.DataFrame(), losses, told, margin)
    return replace(scores, cells=pd.DataFrame(list(_cells(scores))))


def _runs(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    runs = pd.DataFrame(rows)
    if runs.empty:
        raise StateError("a panel must hold finished runs to be judged, but got none.")
    for split in ("validation", "test"):
        loss = runs[f"{split}_loss"].astype(float)
        runs[split] = loss.fillna(np.inf).clip(upper=runs[f"initial_{split}_loss"])
    return runs


def _cells(scores: Scores) -> Iterator[dict[str, Any]]:
    losses, compared = scores.losses, scores.compared
    tuned = losses.tuned_rates()
    spent = {key: _spent(own) for key, own in scores.runs.groupby(["setting", "arm"])}
    last = losses.lrs.shape[-1] - 1
    for at, setting in enumerate(losses.settings):
        for place, arm in enumerate(losses.arms):
            rate = int(tuned[at, place])
            yield {
                "setting": setting,
                "arm": arm,
                **spent[setting, arm],
                "lr": losses.lrs[at, place, rate],
                "at_edge": last > 0 and rate in (0, last),
                **{
                    f"{measure}_{name}": value
                    for measure in MEASURES
                    for name, value in _cell(compared[measure], at, place, arm).items()
                },
            }


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


def _cell(compared: Compared, at: int, place: int, arm: str) -> dict[str, Any]:
    """Return what a measure says of an arm in a setting."""
    own, rivals = pd.Series(compared.losses[at, place]), compared.rivals[at]
    cell: dict[str, Any] = {"loss": own.mean(), "se": own.sem(), "rival": ", ".join(rivals)}
    if compared.rival_losses is not None and compared.logs is not None:
        difference = PairedDifference.between(own, pd.Series(compared.rival_losses[at]), "min")
        cell |= {
            "regret": difference.mean,
            "regret_se": difference.standard_error,
            "p": difference.p_value,
            "outcome": "rival" if set(rivals) == {arm} else _outcome(difference),
            "ratio": float(np.exp(compared.logs[at, place].mean())),
        }
    return cell


def _outcome(difference: PairedDifference) -> str:
    """Return "win", "tie" or "loss"; without any spread there is nothing to test."""
    # NaN, where there is no spread, compares as false.
    if not difference.p_value < SIGNIFICANCE:
        return "tie"
    return "win" if difference.mean < 0.0 else "loss"
