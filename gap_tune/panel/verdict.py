"""verdict: what a panel says about an arm, in plain words, and what limits it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from gap_tune.formatting import at_share, count, plural
from gap_tune.panel.measures.compared import ACROSS, MEASURES, PER_RATE, TUNED
from gap_tune.panel.measures.standing import percent
from gap_tune.panel.rivals import judged, rivals_sentence
from gap_tune.panel.scores import Group, Scores
from gap_tune.panel.summary import Survival, best_single, standing
from gap_tune.report.evidence.equivalence import SIGNIFICANCE
from gap_tune.report.search_curve import MOST_TRIALS
from gap_tune.tune.spelling import is_fixed_name

Kind = Literal["gain", "as good", "no gain", "loss", "undecided"]

# Fewer make a paired t test meaningless.
_FEW_SEEDS = 3
# Fewer make the bootstrap's intervals too narrow.
_FEW_SETTINGS = 8
_WHERE = {
    TUNED: "at its tuned learning rate",
    ACROSS: "averaged over learning rates",
    PER_RATE: "at each learning rate",
}
_RIVAL = {
    TUNED: "each setting's best fixed momentum",
    ACROSS: "each setting's best fixed momentum",
    PER_RATE: "the fixed momentum that is best at that learning rate",
}
_LEADS = {
    "gain": "Ahead",
    "as good": "As good",
    "loss": "Behind",
    "no gain": "No gain shown",
    "undecided": "Mixed",
}


@dataclass(frozen=True)
class PanelVerdict:
    """The answer of a panel.

    Attributes:
        kind: "gain" when the arm is ahead in one measure at least and behind in none, "loss" the
            other way round, "as good" when it is as good in all, "no gain" when it is ahead and
            behind in none, else "undecided".
        headline: The answer in one sentence.
        sentences: What it rests on and what limits it.
    """

    kind: Kind
    headline: str
    sentences: tuple[str, ...] = ()


def verdict(scores: Scores, arm: str = "gap") -> PanelVerdict:
    """Return what the panel says about an arm, by default the default rule.

    The arm is ahead or behind in a measure when the 95 % interval of its ratio to the best fixed
    momentum of each setting, a bootstrap over settings and seeds, lies on one side of 1. Where it
    does not, the arm is as good when two one-sided tests at 5 % show it within the margin.
    """
    if arm not in scores.arms or not any(map(is_fixed_name, scores.arms)):
        return PanelVerdict("undecided", f"Nothing to compare: it takes {arm} and a fixed arm.")
    sentences = tuple(_sentences(scores, arm))
    found = {measure: standing(scores, arm, measure) for measure in MEASURES}
    kinds: set[str] = {place.kind for place in found.values()}
    if "undecided" in kinds:
        text = "Undecided: one setting cannot tell a difference from chance."
        return PanelVerdict("undecided", text, sentences)
    kind = _kind(kinds)
    cost = at_share(_steps(scores, [arm]), _steps(scores, _fixed(scores)))
    told = [f"{place.said} {_WHERE[measure]}" for measure, place in found.items()]
    headline = (
        f"{_LEADS[kind]}: against the best fixed momentum in hindsight, {arm} is {told[0]}, "
        f"{told[1]} and {told[2]}{f', {cost} the steps of their sweep' if cost else ''}."
    )
    return PanelVerdict(kind, headline, sentences)


def _kind(kinds: set[str]) -> Kind:
    if {"ahead", "behind"} <= kinds:
        return "undecided"
    if "ahead" in kinds:
        return "gain"
    if "behind" in kinds:
        return "loss"
    return "as good" if kinds == {"as good"} else "no gain"


def _sentences(scores: Scores, arm: str) -> Iterator[str]:
    for measure in MEASURES:
        yield _standing_sentence(scores, arm, measure)
    # All families together are what the sentences before are of.
    families = [group for group in scores.groups if group.family]
    for group in families:
        yield _group_sentence(group, arm, alone=len(families) == 1)
    if arm == judged(scores):
        yield from filter(None, map(rivals_sentence, families))
    yield from _survival(scores, arm)
    yield _cost(scores, arm)
    yield _limits(scores)
    if len(scores.settings) < _FEW_SETTINGS:
        yield (
            f"{plural(len(scores.settings), 'setting')} are few for a bootstrap: its intervals "
            "are too narrow."
        )
    if _seeds(scores) < _FEW_SEEDS:
        yield f"With {_seeds(scores)} seeds a panel shows that everything runs and nothing else."
    lost = scores.runs[scores.runs["status"] != "finished"]
    if len(lost):
        yield (
            f"{plural(len(lost), 'run')} of {len(scores.runs):,} diverged or failed; like runs "
            "that ended worse than they began they count as the loss of their untrained model."
        )
    undecided = int(scores.runs["undecided"].sum())
    if undecided:
        yield f"At {plural(undecided, 'report')} the rule raised an error, and momentum stayed."


def _standing_sentence(scores: Scores, arm: str, measure: str) -> str:
    place = standing(scores, arm, measure)
    own = scores.cells[scores.cells["arm"] == arm][f"{measure}_outcome"]
    wins, ties, losses = (int((own == outcome).sum()) for outcome in ("win", "tie", "loss"))
    lost = "1 loss" if losses == 1 else f"{losses} losses"
    text = (
        f"{_WHERE[measure][:1].upper()}{_WHERE[measure][1:]}: {place.text} test loss against "
        f"{_RIVAL[measure]}, {place.said}; {plural(wins, 'win')}, {plural(ties, 'tie')}, {lost} "
        f"over {plural(place.settings, 'setting')}."
    )
    single = best_single(scores, measure)
    if single is None:
        return text
    other = standing(scores, arm, measure, single)
    itself = standing(scores, single, measure)
    return (
        f"{text} The best single momentum for all settings, {single}, is at "
        f"{percent(itself.ratio)}; against it: {other.text}, {other.said}."
    )


def _group_sentence(group: Group, arm: str, *, alone: bool) -> str:
    """Return what a family and half says: the measures where there are others, and the search."""
    curve = group.scores.curves[arm]
    found = [] if alone else [_brief(group.scores, arm, measure) for measure in MEASURES]
    found.append(
        f"one trial at a random learning rate is as good as {curve.worth.text} of a sweep of "
        f"learning rate and momentum at random, and {curve.match.text} are as good as "
        f"{MOST_TRIALS} of it"
    )
    return f"{group.whose}: {'; '.join(found)}."


def _brief(scores: Scores, arm: str, measure: str) -> str:
    place = standing(scores, arm, measure)
    return (
        f"{percent(place.ratio)} {_WHERE[measure]} ({place.said}, worst setting "
        f"{percent(place.worst)})"
    )


def _survival(scores: Scores, arm: str) -> Iterator[str]:
    """Yield how the arm did where runs diverged: a setting, a learning rate and a seed."""
    found = Survival.of(scores, arm)
    if found.places:
        yield (
            f"Where a fixed momentum diverged, at {plural(found.places, 'place')} (setting, "
            f"learning rate, seed), {arm} did not at {count(found.survived)}; at "
            f"{count(found.alone)} of these every fixed momentum diverged."
        )
    if found.lost:
        yield f"{arm} diverged at {plural(found.lost, 'place')} where no fixed momentum did."


def _cost(scores: Scores, arm: str) -> str:
    fixed = _fixed(scores)
    return (
        f"Cost: {count(_steps(scores, [arm]))} training steps for {arm}, "
        f"{count(_steps(scores, fixed))} to find the best of {len(fixed)} fixed momenta."
    )


def _limits(scores: Scores) -> str:
    tests = plural(len(scores.settings), "test")
    chance = SIGNIFICANCE * len(scores.settings)
    return (
        f"Wins and losses are paired t tests at 5 % over {_seeds(scores)} seeds, {tests} per arm "
        f"and measure, not corrected for their number: {chance:.1f} of an arm's are expected by "
        "chance alone. Nor are the three measures corrected: first it is tested whether the arm is "
        f"ahead or behind, then whether it is within {100 * scores.margin:g} %, a margin stated "
        "beforehand."
    )


def _fixed(scores: Scores) -> list[str]:
    return [name for name in scores.arms if is_fixed_name(name)]


def _steps(scores: Scores, arms: list[str]) -> int:
    return int(scores.cells[scores.cells["arm"].isin(arms)]["steps"].sum())


def _seeds(scores: Scores) -> int:
    return scores.losses.seeds
