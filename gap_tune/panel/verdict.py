"""verdict: what a panel says about an arm, in plain words, and what limits it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gap_tune.formatting import count, plural
from gap_tune.panel.scores import ACROSS, MEASURES, SIGNIFICANCE, TUNED, Scores
from gap_tune.panel.summary import best_single, percent, standing
from gap_tune.tune.spelling import is_fixed_name

Kind = Literal["gain", "no gain", "loss", "undecided"]

# Fewer make a paired t test meaningless.
_FEW_SEEDS = 3
_WHERE = {TUNED: "at its tuned learning rate", ACROSS: "averaged over learning rates"}
_LEADS = {"gain": "Ahead", "loss": "Behind", "no gain": "No gain shown", "undecided": "Mixed"}


@dataclass(frozen=True)
class PanelVerdict:
    """The answer of a panel.

    Attributes:
        kind: "gain" when the arm is ahead in one measure at least and behind in none, "loss" the
            other way round, "no gain" when it is level in both, else "undecided".
        headline: The answer in one sentence.
        sentences: What it rests on and what limits it.
    """

    kind: Kind
    headline: str
    sentences: tuple[str, ...] = ()


def verdict(scores: Scores, arm: str = "gap") -> PanelVerdict:
    """Return what the panel says about an arm, by default the default rule.

    The arm is ahead or behind in a measure when the 95 % interval of its ratio to the best fixed
    momentum of each setting, Student's t over the settings, lies on one side of 1.
    """
    if arm not in scores.arms or not any(map(is_fixed_name, scores.arms)):
        return PanelVerdict("undecided", f"Nothing to compare: it takes {arm} and a fixed arm.")
    kinds = [standing(scores, arm, measure).kind for measure in MEASURES]
    if "undecided" in kinds:
        text = "Undecided: one setting cannot tell a difference from chance."
        return PanelVerdict("undecided", text, tuple(_sentences(scores, arm)))
    kind = _kind(set(kinds))
    headline = (
        f"{_LEADS[kind]}: against the best fixed momentum of each setting in hindsight, {arm} is "
        f"{kinds[0]} {_WHERE[TUNED]} and {kinds[1]} {_WHERE[ACROSS]}."
    )
    return PanelVerdict(kind, headline, tuple(_sentences(scores, arm)))


def _kind(kinds: set[str]) -> Kind:
    if kinds == {"level"}:
        return "no gain"
    if kinds == {"ahead", "behind"}:
        return "undecided"
    return "gain" if "ahead" in kinds else "loss"


def _sentences(scores: Scores, arm: str) -> list[str]:
    found = [_standing_sentence(scores, arm, measure) for measure in MEASURES]
    found.append(_cost(scores, arm))
    tests = plural(len(scores.settings), "test")
    chance = SIGNIFICANCE * len(scores.settings)
    found.append(
        f"Wins and losses are paired t tests at 5 % over {_seeds(scores)} seeds, {tests} per arm "
        f"and measure, not corrected for their number: {chance:.1f} of an arm's are expected by "
        "chance alone."
    )
    if _seeds(scores) < _FEW_SEEDS:
        found.append(
            f"With {_seeds(scores)} seeds a panel shows that everything runs and nothing else."
        )
    lost = scores.runs[scores.runs["status"] != "finished"]
    if len(lost):
        found.append(
            f"{plural(len(lost), 'run')} of {len(scores.runs):,} diverged or failed; like runs "
            "that ended worse than they began they count as the loss of their untrained model."
        )
    undecided = int(scores.runs["undecided"].sum())
    if undecided:
        found.append(
            f"At {plural(undecided, 'report')} the rule raised an error, and momentum stayed."
        )
    return found


def _standing_sentence(scores: Scores, arm: str, measure: str) -> str:
    place = standing(scores, arm, measure)
    own = scores.cells[scores.cells["arm"] == arm][f"{measure}_outcome"]
    wins, ties, losses = (int((own == outcome).sum()) for outcome in ("win", "tie", "loss"))
    lost = "1 loss" if losses == 1 else f"{losses} losses"
    text = (
        f"{_WHERE[measure][:1].upper()}{_WHERE[measure][1:]}: {place.text} test loss against each "
        f"setting's best fixed momentum, {place.kind}; {plural(wins, 'win')}, "
        f"{plural(ties, 'tie')}, {lost} over "
        f"{plural(place.settings, 'setting')}."
    )
    single = best_single(scores, measure)
    if single is None:
        return text
    other = standing(scores, arm, measure, single)
    itself = standing(scores, single, measure)
    return (
        f"{text} The best single momentum for all settings, {single}, is at "
        f"{percent(itself.ratio)}; against it: {other.text}, {other.kind}."
    )


def _cost(scores: Scores, arm: str) -> str:
    steps = scores.cells.groupby("arm")["steps"].sum()
    fixed = [name for name in scores.arms if is_fixed_name(name)]
    return (
        f"Cost: {count(steps[arm])} training steps for {arm}, {count(steps[fixed].sum())} to find "
        f"the best of {len(fixed)} fixed momenta."
    )


def _seeds(scores: Scores) -> int:
    return int(scores.runs["seed"].nunique())
