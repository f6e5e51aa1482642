"""The sentences of a verdict: each says one thing, with its numbers."""

from __future__ import annotations

from gap_tune.formatting import count, number, plural
from gap_tune.report.comparison import Comparison
from gap_tune.report.evidence.equivalence import Equivalence
from gap_tune.report.evidence.paired import CONFIDENCE, PairedDifference
from gap_tune.report.finals import is_fraction
from gap_tune.report.search_curve import MOST_TRIALS
from gap_tune.report.sweep import Sweep
from gap_tune.report.wording.headline import paid
from gap_tune.tune.spelling import GAP_NAME

_FEW_SEEDS = 5


def means(comparison: Comparison) -> str:
    """Return the means of GAP and the best fixed arm, and the interval between them."""
    gap, fixed = comparison.pairs(GAP_NAME, comparison.best_fixed)
    difference = comparison.differences[GAP_NAME]
    if gap.empty:
        return ""
    at_best = "" if comparison.sweep is None else f" each arm {best_rates(comparison.sweep)},"
    text = (
        f"Over {_units(comparison, len(gap))},{at_best} GAP's mean {comparison.metric} is "
        f"{number(gap.mean())}, {comparison.best_fixed}'s {number(fixed.mean())}: "
        f"{_side(difference.mean)}"
    )
    return f"{text}{_interval(difference)}."


def best_rates(sweep: Sweep) -> str:
    """Return at which learning rates a study that sweeps them compares its arms.

    >>> from gap_tune.report.sweep import Sweep
    >>> best_rates(Sweep({"gap": (0.1, 0.3)}, {}, {}, "min"))
    'at the best of its 2 learning rates'
    """
    return f"at the best of its {sweep.count} learning rates"


def edges(comparison: Comparison) -> str:
    """Return whether GAP or the best fixed arm does best at the edge of the range of rates."""
    tuned = {} if comparison.sweep is None else comparison.sweep.tuned
    told = [
        f"{'GAP' if arm == GAP_NAME else arm}'s best, {tuned[arm].lr:.3g}, is the "
        f"{tuned[arm].edge} tried"
        for arm in (GAP_NAME, comparison.best_fixed)
        if arm is not None and arm in tuned and tuned[arm].at_edge
    ]
    if not told:
        return ""
    return (
        f"At the edge of the range of learning rates: {' and '.join(told)}, so a wider range may "
        "change the answer."
    )


def across_rates(comparison: Comparison) -> str:
    """Return how GAP does against the best fixed arm when nobody tunes the learning rate."""
    across = None if comparison.sweep is None else comparison.sweep.across(GAP_NAME)
    if comparison.sweep is None or across is None:
        return ""
    difference = across.difference
    which = "the fixed arms that failed least" if across.others_failed_more else "the fixed arms"
    text = (
        f"Averaged over all {comparison.sweep.count} learning rates, where {across.best_fixed} is "
        f"the best of {which}: {_side(difference.mean)}{_interval(difference)}."
    )
    own, other = across.lost
    if not own and not other:
        return text
    return (
        f"{text} That leaves out {plural(own, 'trial')} of GAP and {count(other)} of "
        f"{across.best_fixed} that failed, with those they are paired with."
    )


def search(comparison: Comparison) -> str:
    """Return what a search of the learning rate alone saves with GAP."""
    searches = comparison.searches
    found = None if searches is None else searches.curves.get(GAP_NAME)
    if found is None:
        return ""
    return (
        f"One trial of GAP at a random learning rate is as good as {found.worth.text} of a search "
        f"of learning rate and momentum at random; {found.match.text} match {MOST_TRIALS} of it."
    )


def on_test_data(comparison: Comparison) -> str:
    """Return the difference in the test metric that goes with a validation metric, if reported."""
    metric = comparison.metric.replace("validation_", "test_", 1)
    if metric == comparison.metric or metric not in comparison.metrics:
        return ""
    difference = comparison.difference(GAP_NAME, metric)
    if not difference.by_seed:
        return ""
    return f"On test data, in {metric}: {_side(difference.mean)}{_interval(difference)}."


def few_seeds(difference: PairedDifference, unit: str = "seed") -> str:
    """Return what the small number of seeds limits; nothing from five seeds on."""
    pairs = len(difference.by_seed)
    if not difference.has_spread or pairs >= _FEW_SEEDS:
        return ""
    low, high = difference.interval
    if low <= 0.0 <= high:
        limit = f"only a difference beyond {number((high - low) / 2)} would show at this spread"
    else:
        limit = "the test trusts that differences are normally distributed, which they cannot show"
    return f"{plural(pairs, unit)} are few: {limit}."


def within_margin(comparison: Comparison, equivalence: Equivalence) -> str:
    """Return what one-sided tests say of GAP's ratio to the best fixed arm: the strongest of it."""
    what = comparison.metric
    if is_fraction(what) and comparison.records.mode == "max":
        what = f"errors (1 - {what})"
    # Experiments that are no study of ours, and studies of earlier versions, state none.
    stated = "the margin stated beforehand" if "margin" in comparison.records.study else "as usual"
    share = f"{100 * equivalence.margin:g} %"
    low, high = map(relative, equivalence.interval)
    found = f"in {what} it is {relative(equivalence.ratio)} (90% interval from {low} to {high}"
    if equivalence.not_worse and not equivalence.shown:
        return (
            f"That GAP is not worse by more than {share}, {stated}, is shown: {found}, one "
            f"one-sided paired t test, p = {number(equivalence.not_worse_p_value)})."
        )
    shown = "is shown" if equivalence.shown else "is not shown, nor that it is not worse by more"
    return (
        f"That GAP is as good within {share}, {stated}, {shown}: {found}, two one-sided paired t "
        f"tests, p = {number(equivalence.p_value)})."
    )


def conditions(comparison: Comparison) -> str:
    """Return at which budget the arms are compared, and what limits the comparison."""
    study = comparison.records.study
    budget = study.get("budget_text")
    texts = [f"Compared: {budget}." if budget else ""]
    if study.get("settings", {}).get("hold_out"):
        texts.append("Every arm trains without the samples held out for gap-validation.")
    sweep = comparison.sweep
    if sweep is not None:
        whose = "Each arm" if len(sweep.rates) == len(comparison.arms) else "Each of those arms"
        texts.append(
            f"{whose} is shown {best_rates(sweep)}, by its mean {comparison.metric} over the seeds."
        )
    return " ".join(filter(None, texts))


def hindsight(comparison: Comparison) -> str:
    """Return how the fixed arm came to be the one compared with."""
    arms, best = len(comparison.fixed_arms), comparison.best_fixed
    trials = comparison.compared.trials
    several = trials[trials["arm"] == best].groupby("seed").size().max()
    if several > 1:
        return (
            f"{best}'s result on a seed is the best of {count(several)} trials by "
            f"{comparison.metric}, which favours it in that metric."
        )
    if arms == 1:
        return f"{best} is the only fixed arm: another momentum may do better."
    return (
        f"{best} was picked in hindsight as the best of {arms} fixed arms on these same "
        f"{comparison.records.unit}s; that favours it, since nobody knows it beforehand."
    )


def cost(comparison: Comparison) -> str:
    """Return the trials per seed and training steps of GAP and of all fixed arms together."""
    unit = f"{comparison.records.unit}{' and seed' if _averages(comparison) else ''}"
    gap, fixed = paid(comparison)
    # A number of trials that ends within a configuration leaves arms with unequally many.
    gap_trials, fixed_trials = (round(each.trials / max(each.seeds, 1), 1) for each in (gap, fixed))
    return (
        f"Cost: {plural(gap_trials, 'trial')} per {unit} for GAP, {count(fixed_trials)} "
        f"for the fixed arms ({count(gap.steps)} and {count(fixed.steps)} training steps in all)."
    )


def _units(comparison: Comparison, pairs: int) -> str:
    """Return what was paired, and whether seeds are averaged within it."""
    each = ", each the mean of its seeds" if _averages(comparison) else ""
    return f"{plural(pairs, f'paired {comparison.records.unit}')}{each}"


def _averages(comparison: Comparison) -> bool:
    return len(set(comparison.units.values())) < len(comparison.units)


def _side(difference: float) -> str:
    if difference == 0.0:
        return "no difference"
    return f"{number(abs(difference))} {'better' if difference < 0 else 'worse'}"


def relative(ratio: float) -> str:
    """Return how a ratio to something differs from 1, above which is worse.

    >>> relative(1.034), relative(0.9)
    ('3.4 % worse', '10.0 % better')
    """
    return f"{100 * abs(ratio - 1):.1f} % {'better' if ratio < 1 else 'worse'}"


def _interval(difference: PairedDifference) -> str:
    if not difference.has_spread:
        return ""
    low, high = map(_side, difference.interval)
    return (
        f" ({CONFIDENCE:.0%} interval from {low} to {high}, paired t test, "
        f"p = {number(difference.p_value)})"
    )
