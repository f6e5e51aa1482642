"""verdict: what a study shows about GAP, in plain words, and what it does not show."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from gap_tune.formatting import plural
from gap_tune.records.records import Records
from gap_tune.report import sentences
from gap_tune.report.comparison import Comparison
from gap_tune.report.evidence.equivalence import Equivalence
from gap_tune.report.evidence.paired import PairedDifference
from gap_tune.tune.spelling import GAP_NAME

Kind = Literal["gain", "as good", "no gain", "loss", "undecided"]

_NOTHING = PairedDifference({}, math.nan, math.nan, (math.nan, math.nan), math.nan)


@dataclass(frozen=True)
class Verdict:
    """The answer of a study.

    Attributes:
        kind: "gain" or "loss" when the 95 % interval of the paired difference lies on one side of
            zero; when it holds zero, "as good" when two one-sided tests at 5 % show GAP to be
            within the study's margin, else "no gain"; "undecided" when the study cannot tell.
        headline: The answer in one sentence.
        sentences: What it rests on and what limits it, each one sentence or two.
        cost: What GAP spent and what the fixed arms spent, one sentence.
        best_fixed: The fixed arm that GAP is compared with, the best in hindsight; None without.
        difference: GAP minus that arm in the study's metric, positive is worse; its seeds, mean,
            interval and p-value.
        equivalence: Whether GAP is as good as that arm; None where that cannot be tested.
    """

    kind: Kind
    headline: str
    sentences: tuple[str, ...] = ()
    cost: str = ""
    best_fixed: str | None = None
    difference: PairedDifference = field(default=_NOTHING)
    equivalence: Equivalence | None = None

    @property
    def text(self) -> str:
        """Everything in one paragraph."""
        return " ".join(part for part in (self.headline, *self.sentences, self.cost) if part)


def verdict(study: Records | Comparison) -> Verdict:
    """Return what the study shows about GAP against the best fixed momentum.

    A gain or a loss needs a paired t test at 5 % over at least two seeds of a complete study. Where
    it finds no gain it is tested whether GAP is as good within the margin that the study stated: a
    GAP that is worse may be so by little, and then both are said. Neither a gain, nor that GAP is
    as good, is ever claimed where GAP failed on a seed that the best fixed arm finished, nor from a
    study that is still running: looking until it looks good would make any arm win.

    Args:
        study: The study's records, or their comparison where there is one already.
    """
    comparison = Comparison.of(study)
    said = comparison.records.study
    comparable = GAP_NAME in comparison.arms and comparison.fixed_arms
    if "experiment" in said and not (comparable and said["paired"]):
        return _without_pairs(comparison)
    if not comparable:
        return Verdict("undecided", "Nothing to compare: it takes the arm gap and a fixed arm.")
    best, cost = comparison.best_fixed, sentences.cost(comparison)
    if best is None:
        kind, headline = _incomplete(comparison.records) or (
            "undecided",
            "Undecided: no trial of a fixed arm has finished.",
        )
        return Verdict(kind, headline, cost=cost)
    difference = comparison.differences[GAP_NAME]
    equivalence = comparison.equivalence(GAP_NAME)
    lost = comparison.lost_seeds[GAP_NAME] & set(comparison.values(best).index)
    kind, headline = (
        _incomplete(comparison.records)
        or _unreliable(difference, best, lost)
        or _tested(comparison, difference, equivalence, lost)
    )
    # Of a loss that is beyond the margin, or may be, there is no more to say.
    small = equivalence is not None and equivalence.shown
    asked = ("as good", "no gain", "loss") if small else ("no gain",)
    details = (
        sentences.means(comparison),
        sentences.few_seeds(difference),
        "" if lost or kind not in asked else sentences.within_margin(comparison, equivalence),
        sentences.on_test_data(comparison),
        sentences.hindsight(comparison),
        sentences.across_rates(comparison),
        sentences.edges(comparison),
        sentences.search(comparison),
        f"GAP failed on {plural(len(lost), 'seed')} that {best} finished." if lost else "",
    )
    return Verdict(
        kind, headline, tuple(filter(None, details)), cost, best, difference, equivalence
    )


def _without_pairs(comparison: Comparison) -> Verdict:
    """Return what trials show that no seeds pair: the best of them, and why that is all."""
    told = (sentences.by_arm, sentences.progress, sentences.unpaired)
    details = (sentence(comparison) for sentence in told)
    return Verdict(
        "undecided",
        sentences.best_trial(comparison),
        tuple(filter(None, details)),
        sentences.total_cost(comparison),
    )


def _incomplete(records: Records) -> tuple[Kind, str] | None:
    study, trials = records.study, records.trials
    seeds = study.get("seeds", 0)
    each = seeds * len(study["arms"]) if isinstance(seeds, int) else 0
    # Arms that search have runs of their own, and may start as many trials as their budget pays.
    searched = [run["arm"] for run in study.get("runs", ())]
    own = 0 if trials.empty else int(trials["arm"].isin(searched).sum())
    total = max(study.get("shared_trials", each), len(trials) - own) + own
    ended = len(trials) - len(records.trials_with("unfinished"))
    still_open = study.get("open_runs", 0)
    if ended == total and not still_open:
        return None
    to_come = f", {plural(still_open, 'run')} to come or to end" if still_open else ""
    return "undecided", (
        f"Undecided: the study is not complete, {ended} of {plural(total, 'trial')} ended{to_come}."
    )


def _unreliable(
    difference: PairedDifference, best: str, lost: frozenset[int]
) -> tuple[Kind, str] | None:
    """Return the verdict where no test can be done."""
    pairs = len(difference.by_seed)
    if lost and not pairs:
        return "loss", f"GAP lost: it failed on every seed that {best} finished."
    if not pairs:
        return "undecided", f"Undecided: no seed has finished with both GAP and {best}."
    if pairs == 1:
        return "undecided", "Undecided: one seed cannot tell a difference from chance."
    if not difference.has_spread and difference.mean != 0.0:
        text = "Undecided: the difference is the same on every seed, so its spread is unknown."
        return "undecided", text
    return None


def _tested(
    comparison: Comparison,
    difference: PairedDifference,
    equivalence: Equivalence | None,
    lost: frozenset[int],
) -> tuple[Kind, str]:
    best = comparison.best_fixed
    rival = f"the best fixed momentum ({best})" if len(comparison.fixed_arms) > 1 else best
    share = sentences.steps_saved(comparison)
    as_good = equivalence is not None and equivalence.shown and not lost
    margin = f"{100 * comparison.records.margin:g} %"
    low, high = difference.interval
    if low > 0.0:
        if as_good:
            text = f"GAP lost, though within {margin}: it is worse than {rival}, by less{share}."
            return "loss", text
        return "loss", f"GAP lost: it is worse than {rival}."
    if high >= 0.0:
        if as_good:
            return "as good", f"GAP is as good as {rival} within {margin}{share}."
        return "no gain", f"No gain shown: GAP and {rival} cannot be told apart{share}."
    if lost:
        text = f"Undecided: GAP is better where it finished, but it failed where {best} did not."
        return "undecided", text
    return "gain", f"GAP won: it is better than {rival}{share}."
