"""flapping: whether a trial's momentum went to and fro by noise, in words."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from gap_tune.errors import StateError
from gap_tune.formatting import count
from gap_tune.records.decisions import DecisionRun, TunedTrial
from gap_tune.tune import keys
from gap_tune.tune.statistics_json import parse_one

# Fewer ways back than that are a search that turned, and no habit.
_FEWEST_RETURNS = 4
# What share of all changes goes back, at least, where momentum flaps.
_SHARE = 0.5
# Margins that people would set, by which a new momentum has to be better.
_MARGINS = (0.05, 0.1, 0.2, 0.5)
# Gains of so many changes tell how much they differ.
_MOST_READ = 20


def flapping(trial: TunedTrial, runs: Sequence[DecisionRun]) -> str:
    """Return that a trial's momentum flapped and what calms it; nothing where it did not.

    Momentum flaps where at least four changes, and at least half of all, go straight back to the
    momentum that the change before had left. That it is noise most likely is said where a margin of
    at most 50 % (the rule's ``hysteresis``) would have held back at least half of these.

    Args:
        trial: The trial.
        runs: Its decisions, see ``TunedTrial.decisions``.
    """
    changes = [run for run in runs if run.changed]
    back = [now for before, now in pairwise(changes) if now.momentum == before.previous]
    if len(back) < max(_FEWEST_RETURNS, _SHARE * len(changes)):
        return ""
    momenta = [run.momentum for run in back]
    what = (
        f"{count(len(changes))} changes, {count(len(back))} of them straight back, between "
        f"{min(momenta):g} and {max(momenta):g}"
    )
    margins = _margins(trial, back)
    if not margins:
        return f"{what}: most likely noise; a rule with hysteresis calms it."
    calming = [margin for margin in _MARGINS if np.median(margins) <= margin]
    if not calming:
        return (
            f"{what}: their gains mostly differed by more than {_MARGINS[-1]:.0%}, which is more "
            "than noise; GapScheduler(min_steps=...) spaces the changes."
        )
    return (
        f"{what}: noise most likely, as their gains mostly differed by less than "
        f"{calming[0]:.0%}; AlignmentRule(hysteresis={calming[0]:g}) calms it."
    )


def _margins(trial: TunedTrial, changes: Sequence[DecisionRun]) -> list[float]:
    """Return by what share the best gain was above that of the momentum in use, at each change."""
    if keys.STATISTICS not in trial.rows:
        return []
    by_step = dict(zip(trial.rows[keys.STEPS], trial.rows[keys.STATISTICS], strict=True))
    places = np.linspace(0, len(changes) - 1, min(len(changes), _MOST_READ)).round().astype(int)
    found = []
    for change in (changes[place] for place in places):
        try:
            statistics = parse_one(by_step.get(change.first_step))
        except StateError:
            continue
        gains = statistics.gain()
        present = float(np.interp(change.previous, statistics.candidates, gains))
        margin = (float(max(gains)) - present) / abs(present) if present else 0.0
        # Where it is 0, something else than gains changed momentum, which no margin holds back.
        if margin > 0:
            found.append(margin)
    return found
