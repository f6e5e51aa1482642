"""against_rivals: whether the panel's arm is ahead of every other optimizer, and in what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from gap_tune.formatting import count
from gap_tune.panel.measures.compared import ACROSS, MEASURES, PER_RATE, SMALLEST, TUNED
from gap_tune.panel.measures.losses import Floats
from gap_tune.panel.measures.standing import Standing
from gap_tune.panel.scores import Group, Scores
from gap_tune.panel.summary import standing
from gap_tune.report.search_curve import MOST_TRIALS, Trials
from gap_tune.training.families.table import TRAINING_FAMILIES
from gap_tune.tune.spelling import is_fixed_name

# A fixed momentum whose learning rate rises at first: nobody shall say that this is all it is.
_WARMED = "warmup"
# Numbers of trials at which searches are compared.
_SEARCHED = (1, 3, MOST_TRIALS)
BEST_OF = {f"best of {trials}": trials for trials in _SEARCHED}
# What the question is asked in: a user has learning rates to try, or trials to pay.
ASKED = (ACROSS, *BEST_OF)
_ALL = (TUNED, ACROSS, PER_RATE, *BEST_OF)


@dataclass(frozen=True)
class Against:
    """The panel's arm against a rival, setting by setting and seed by seed.

    Attributes:
        rival: The rival's name.
        standings: Where the arm stands by measure, ratios of its loss over the rival's: the three
            measures, and "best of n", what searches of n trials are expected to end with.
        worth: As how many of the rival's trials one of the arm is as good.
    """

    rival: str
    standings: Mapping[str, Standing]
    worth: Trials

    @classmethod
    def of(cls, scores: Scores, arm: str, rival: str) -> Against:
        """Return the comparison of an arm with a rival; the panel holds a fixed arm."""
        searches = scores.searches
        pair = np.stack([searches.expected(name) for name in (arm, rival)], axis=-1)
        found = {measure: standing(scores, arm, measure, rival) for measure in MEASURES} | {
            name: Standing.of(pair[:, :, trials - 1], scores.margin, _log_ratio)
            for name, trials in BEST_OF.items()
        }
        return cls(rival, found, searches.trials(rival, arm, 1))


def _log_ratio(pair: Floats) -> Floats:
    logs: Floats = np.log(pair.clip(min=SMALLEST))
    return logs[..., 0] - logs[..., 1]


def is_rival(arm: str) -> bool:
    """Tell whether an arm's name is that of an optimizer that is neither ours nor a fixed momentum.

    >>> [is_rival(arm) for arm in ("nesterov:0.9", "prodigy", "gap-scaled", "fixed:0.9")]
    [True, True, False, False]
    """
    kind = arm.partition(":")[0]
    return kind == _WARMED or kind in TRAINING_FAMILIES


def judged(scores: Scores) -> str | None:
    """Return the arm that rivals are compared with: the first that is neither one nor fixed."""
    own = (arm for arm in scores.arms if not is_fixed_name(arm) and not is_rival(arm))
    return next(own, None)


def against_rivals(scores: Scores) -> tuple[Against, ...]:
    """Return the panel's arm against each rival, in their order; none without fixed arms."""
    arm = judged(scores)
    if arm is None or not scores.losses.fixed:
        return ()
    return tuple(Against.of(scores, arm, rival) for rival in scores.arms if is_rival(rival))


def rivals_table(scores: Scores) -> pd.DataFrame:
    """Return a row per family, half, rival and measure; empty without rivals.

    Returns:
        A table with the columns ``family`` and ``half`` ("all" where they are together), ``arm``,
        ``rival``, ``measure`` ("tuned", "across", "per_rate", "best of 1", ...), ``settings``,
        ``ratio, low, high, median, worst`` (see ``Standing``), ``kind`` ("ahead", "behind", ...),
        and of the rival, the same in all its rows, ``worth, worth_low, worth_high``.
    """
    return pd.DataFrame([row for group in scores.groups for row in _rows(group)])


def _rows(group: Group) -> Iterator[dict[str, Any]]:
    for each in against_rivals(group.scores):
        for measure in _ALL:
            place = each.standings[measure]
            yield {
                **group.named,
                "arm": judged(group.scores),
                "rival": each.rival,
                "measure": measure,
                "settings": place.settings,
                **{
                    name: getattr(place, name)
                    for name in ("ratio", "low", "high", "median", "worst", "kind")
                },
                **each.worth.columns("worth"),
            }


def rivals_sentence(group: Group) -> str | None:
    """Return of how many rivals the arm is ahead in a group, and whom it is behind."""
    found = against_rivals(group.scores)
    if not found:
        return None
    told = []
    for measure in ASKED:
        kinds = {each.rival: each.standings[measure].kind for each in found}
        behind = [rival for rival, kind in kinds.items() if kind == "behind"]
        ahead = count(sum(kind == "ahead" for kind in kinds.values()))
        text = f"{ahead} {'across learning rates' if measure == ACROSS else f'in the {measure}'}"
        told.append(f"{text} (behind {', '.join(behind)})" if behind else text)
    return (
        f"Rivals, {group.whose}: {judged(group.scores)} is ahead, of {count(len(found))}, of "
        f"{', '.join(told)}."
    )
