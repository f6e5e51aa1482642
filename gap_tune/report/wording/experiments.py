"""What an experiment says for itself where nothing is tested, and what it would take to test."""

from __future__ import annotations

from gap_tune.formatting import count, duration, number, plural
from gap_tune.report.choosing import best_trial
from gap_tune.report.comparison import Comparison
from gap_tune.report.cost import Cost
from gap_tune.report.evidence.equivalence import Equivalence
from gap_tune.report.sentences import relative
from gap_tune.report.wording.headline import PLAIN, momenta
from gap_tune.tune.spelling import GAP_NAME, fixed_parts

_SEEDS = 3
_SOME = (0.5, 0.9, 0.99)


def code(baselines: tuple[float, ...], seeds: int = _SEEDS) -> str:
    """Return what makes an experiment compare each configuration.

    >>> code((0.9,))
    'GapSearch(baselines=(0.9,), seeds=3)'
    """
    return f"GapSearch(baselines={baselines!r}, seeds={seeds})"


def cannot_tell(comparison: Comparison) -> str:
    """Return that, and why, an experiment does not say whether to stop sweeping momentum."""
    gap, fixed = GAP_NAME in comparison.arms, bool(comparison.fixed_arms)
    if gap and fixed:
        why = "its trials share no seeds, so they differ in more than momentum"
    elif gap and len(comparison.arms) == 1:
        why = "GapScheduler tunes every trial, and none has a fixed momentum"
    elif fixed and len(comparison.fixed_arms) == len(comparison.arms):
        why = "every trial has a fixed momentum, and GapScheduler tunes none"
    else:
        why = "it does not hold both trials that GapScheduler tunes and trials of fixed momenta"
    return f"Whether to stop sweeping momentum cannot be told from this experiment: {why}."


def to_compare(comparison: Comparison) -> str:
    """Return what to add to an experiment so that its report tells."""
    return (
        f"To be told, search with {code((0.9,))} and GapScheduler(): every configuration is then "
        "trained with GAP and with momentum 0.9, on the same three seeds, and compared pair by "
        "pair. More momenta, as in baselines=(0.5, 0.9, 0.99), tell whether sweeping pays; "
        "baselines_share=0.25 compares only a quarter of the configurations. Trials of your own "
        'are paired, too, where config["seed"] is given and they differ in momentum alone.'
    )


def more_needed(comparison: Comparison, equivalence: Equivalence | None) -> str:
    """Return how many more seeds or configurations would tell, where a test shows nothing."""
    records = comparison.records
    needed = None if equivalence is None else equivalence.pairs_needed()
    if equivalence is None or (needed is not None and needed <= equivalence.count):
        return ""
    unit = records.unit
    what = f"that GAP is not worse by more than {100 * records.margin:g} %"
    if needed is None:
        return f"At this spread not even 1,000 {unit}s would show {what}, where it is level."
    text = f"At this spread about {plural(needed, unit)} would show {what}, where it is level"
    if "experiment" not in records.study:
        return f"{text}: --seeds {needed}."
    if unit == "configuration":
        return f"{text}: so many of them in num_samples, which counts trials."
    return f"{text}: {code(_baselines(comparison), needed)}."


def at_equal_cost(comparison: Comparison) -> str:
    """Return how GAP does against plain momentum 0.9 alone, which takes as many trials."""
    if PLAIN not in comparison.fixed_arms or comparison.best_fixed == PLAIN:
        return ""
    found = comparison.equivalence(GAP_NAME, PLAIN)
    if found is None:
        return ""
    low, high = map(relative, found.interval)
    lost = len(comparison.lost(GAP_NAME, PLAIN))
    failed = f", without {plural(lost, 'pair')} in which GAP failed" if lost else ""
    return (
        f"At equal cost, against plain 0.9 alone{failed}: in {comparison.metric} GAP is "
        f"{relative(found.ratio)} (90% interval from {low} to {high})."
    )


def ended_with(comparison: Comparison) -> str:
    """Return what the best of n trials ended with, with GAP and with one fixed momentum."""
    found = comparison.ended_with
    other = PLAIN if PLAIN in comparison.fixed_arms else comparison.best_fixed
    if found is None or other is None or not {GAP_NAME, other} <= found.curves.keys():
        return ""
    gap, fixed = found.curves[GAP_NAME], found.curves[other]
    every = len(gap)
    shown = sorted({every, *(n for n in (1, 2, 4, 8, 16) if n < every)}, reverse=True)[:3]
    told = [f"of {n} {number(gap[n - 1])} and {number(fixed[n - 1])}" for n in shown[1:]]
    expected = f"; expected {', '.join(told)}" if told else ""
    return (
        f"Search at equal cost, over the same configurations: the best of {every} trials ended at "
        f"{number(gap[-1])} in {comparison.metric} with GAP and at {number(fixed[-1])} with "
        f"{other}{expected}."
    )


def scope(comparison: Comparison) -> str:
    """Return of how much the answer holds, where ``GapSearch`` compared one configuration."""
    if "configuration" not in comparison.records.trials or comparison.records.unit != "seed":
        return ""
    return "All of this is at one configuration, and says nothing of others."


def alone(comparison: Comparison) -> str:
    """Return how many trials nothing is compared with."""
    more = len(comparison.records.trials) - len(comparison.compared.trials)
    if not more:
        return ""
    verb = "counts" if more == 1 else "count"
    return (
        f"{plural(more, 'more trial')} had nothing to be compared with and {verb} for neither side."
    )


def one_momentum(comparison: Comparison) -> str:
    """Return what asks whether sweeping pays, of an experiment with one fixed momentum."""
    if "experiment" not in comparison.records.study or momenta(comparison) != 1:
        return ""
    return f"Whether sweeping momentum pays takes several: {code(_SOME)}."


def _baselines(comparison: Comparison) -> tuple[float, ...]:
    parts = [part for arm in comparison.fixed_arms for part in fixed_parts(arm)]
    return tuple(float(part) for part in parts)


def best_so_far(comparison: Comparison) -> str:
    """Return the best trial by its last report, of the ended ones where there are any."""
    records = comparison.records
    found = best_trial(records)
    if found is None:
        return f"No trial has reported a finite {records.metric} yet."
    best, value, ended = found
    return (
        f"Best {records.metric}{'' if ended else ' so far'}: {number(value)}, by trial "
        f"{best['trial_id']} ({best['arm']})."
    )


def by_arm(comparison: Comparison) -> str:
    """Return the mean of each arm's trials, where there are several arms."""
    values = {arm: comparison.values(arm) for arm in comparison.arms}
    told = [
        f"{arm} {number(own.mean())} ({plural(len(own), comparison.records.unit)})"
        for arm, own in values.items()
        if len(own)
    ]
    return f"Mean {comparison.metric} of ended trials: {', '.join(told)}." if len(told) > 1 else ""


def progress(comparison: Comparison) -> str:
    """Return how many trials are open, failed or were stopped; nothing when all ended well."""
    records = comparison.records
    names = {"unfinished": "unfinished", "failed": "failed", "stopped": "stopped early"}
    amounts = {said: len(records.trials_with(name)) for name, said in names.items()}
    told = [f"{count(amount)} {said}" for said, amount in amounts.items() if amount]
    return f"Of {plural(len(records.trials), 'trial')}, {', '.join(told)}." if told else ""


def total_cost(comparison: Comparison) -> str:
    """Return the trials, training steps and time of all arms together."""
    spent = Cost.of(comparison.records, comparison.arms)
    return (
        f"Cost: {plural(spent.trials, 'trial')}, {plural(spent.steps, 'training step')}, "
        f"{duration(spent.seconds)} of trial time."
    )
