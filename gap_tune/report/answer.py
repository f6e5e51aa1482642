"""verdict: what a study shows about GAP, in plain words, and what it does not show."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from gap_tune.formatting import plural
from gap_tune.records.records import Records
from gap_tune.report import sentences
from gap_tune.report.comparison import Comparison
from gap_tune.report.evidence.equivalence import Equivalence
from gap_tune.report.evidence.paired import PairedDifference
from gap_tune.report.wording import experiments
from gap_tune.report.wording.headline import Kind, headline
from gap_tune.tune.spelling import GAP_NAME

_NOTHING = PairedDifference({}, math.nan, math.nan, (math.nan, math.nan), math.nan)


@dataclass(frozen=True)
class Verdict:
    """The answer of a study.

    Attributes:
        kind: "gain" or "loss" when the 95 % interval of the paired difference lies on one side of
            zero; when it holds zero, "as good" when two one-sided tests at 5 % show GAP to be
            within the study's margin, else "not worse" when one of them shows it to be not worse
            by more, else "no gain"; "undecided" when the study cannot tell.
        headline: The answer in one sentence: of several fixed momenta whether to stop sweeping
            them, of one how GAP compares, else what is missing to tell.
        sentences: What it rests on and what limits it, each one sentence or two.
        cost: What GAP spent and what the fixed arms spent, one sentence.
        best_fixed: The fixed arm that GAP is compared with, the best in hindsight; None without.
        difference: GAP minus that arm in the study's metric, positive is worse; its seeds, mean,
            interval and p-value.
        equivalence: Whether GAP is as good as that arm, or not worse; None where that cannot be
            tested.
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
    it finds no gain it is tested whether GAP is as good within the margin that the study stated, or
    at least not worse by more: a GAP that is worse may be so by little, and then both are said.
    Neither a gain, nor that GAP is as good or not worse, is ever claimed where GAP failed on a seed
    that the best fixed arm finished, nor from a study that is still running: looking until it looks
    good would make any arm win.

    Where ``GapSearch`` compared several configurations, tests are over configurations, each the
    mean of its seeds: seeds of one configuration err together.

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
        kind, text = _incomplete(comparison.records) or (
            "undecided",
            "Undecided: no trial of a fixed arm has finished.",
        )
        return Verdict(kind, text, cost=cost)
    difference = comparison.differences[GAP_NAME]
    equivalence = comparison.equivalence(GAP_NAME)
    lost = comparison.lost(GAP_NAME, best)
    kind, text = (
        _incomplete(comparison.records)
        or _unreliable(comparison, difference, best, lost)
        or _tested(comparison, difference, None if lost else equivalence, lost)
    )
    details = (
        sentences.means(comparison),
        sentences.few_seeds(difference, comparison.records.unit),
        "" if lost else _margin(comparison, kind, equivalence),
        sentences.on_test_data(comparison),
        sentences.hindsight(comparison),
        sentences.across_rates(comparison),
        sentences.edges(comparison),
        sentences.search(comparison),
        *(_of_experiments(comparison, best) or [_lost(lost, best)]),
    )
    return Verdict(kind, text, tuple(filter(None, details)), cost, best, difference, equivalence)


def _margin(comparison: Comparison, kind: Kind, equivalence: Equivalence | None) -> str:
    """Return what the tests of the margin show, and what it takes where they show nothing.

    Of a loss that is beyond the margin, or may be, there is no more to say; nor of a gain.
    """
    if kind in ("gain", "undecided") or equivalence is None:
        return ""
    if kind == "loss" and not equivalence.not_worse:
        return ""
    needed = experiments.more_needed(comparison, equivalence) if kind == "no gain" else ""
    return " ".join(filter(None, (sentences.within_margin(comparison, equivalence), needed)))


def _lost(lost: frozenset[int], best: str) -> str:
    if not lost:
        return ""
    return f"GAP failed on {plural(len(lost), 'seed')} that {best} finished."


def _of_experiments(comparison: Comparison, best: str) -> tuple[str, ...]:
    """Return what is said of experiments that are no study of ours, whose pairs others chose."""
    if "experiment" not in comparison.records.study:
        return ()
    return (
        experiments.scope(comparison),
        experiments.at_equal_cost(comparison),
        experiments.ended_with(comparison),
        comparison.left_out(GAP_NAME, best).text,
        experiments.alone(comparison),
        experiments.one_momentum(comparison),
    )


def _without_pairs(comparison: Comparison) -> Verdict:
    """Return what trials show that no seeds pair: the best of them, and what is missing."""
    told = (
        experiments.best_so_far,
        experiments.by_arm,
        experiments.progress,
        experiments.to_compare,
    )
    details = (sentence(comparison) for sentence in told)
    return Verdict(
        "undecided",
        experiments.cannot_tell(comparison),
        tuple(filter(None, details)),
        experiments.total_cost(comparison),
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
    comparison: Comparison, difference: PairedDifference, best: str, lost: frozenset[int]
) -> tuple[Kind, str] | None:
    """Return the verdict where no test can be done."""
    pairs, unit = len(difference.by_seed), comparison.records.unit
    if lost and not pairs:
        if comparison.left_out(GAP_NAME, best).was("stopped", GAP_NAME):
            text = f"Undecided: GAP has no result where {best} has one, since it was stopped early."
            return "undecided", text
        return "loss", f"GAP lost: it failed on every seed that {best} finished."
    if not pairs:
        return "undecided", f"Undecided: no seed has finished with both GAP and {best}."
    if pairs == 1:
        return "undecided", f"Undecided: one {unit} cannot tell a difference from chance."
    if not difference.has_spread and difference.mean != 0.0:
        text = f"Undecided: the difference is the same on every {unit}, so its spread is unknown."
        return "undecided", text
    return None


def _tested(
    comparison: Comparison,
    difference: PairedDifference,
    equivalence: Equivalence | None,
    lost: frozenset[int],
) -> tuple[Kind, str]:
    if difference.interval[1] < 0.0 and lost:
        best = comparison.best_fixed
        text = f"Undecided: GAP is better where it finished, but it did not where {best} did."
        return "undecided", text
    kind = _kind(difference, equivalence)
    return kind, headline(comparison, kind, equivalence)


def _kind(difference: PairedDifference, equivalence: Equivalence | None) -> Kind:
    low, high = difference.interval
    if low > 0.0:
        return "loss"
    if high < 0.0:
        return "gain"
    if equivalence is not None and equivalence.shown:
        return "as good"
    return "not worse" if equivalence is not None and equivalence.not_worse else "no gain"
