"""The first sentence of a verdict: whether to stop sweeping momentum."""

from __future__ import annotations

from typing import Literal

from gap_tune.formatting import at_share, plural
from gap_tune.report.comparison import Comparison
from gap_tune.report.cost import Cost
from gap_tune.report.evidence.equivalence import Equivalence
from gap_tune.tune.spelling import GAP_NAME, fixed_name, fixed_parts

Kind = Literal["gain", "as good", "not worse", "no gain", "loss", "undecided"]

PLAIN = fixed_name(0.9)


def headline(comparison: Comparison, kind: Kind, equivalence: Equivalence | None) -> str:
    """Return the answer of a study that decides.

    Of one fixed momentum it says how GAP compares; of several, whether to stop sweeping them.

    Args:
        comparison: The study.
        kind: What its tests show; not "undecided".
        equivalence: GAP against the best fixed arm; None where that cannot be tested, or must not
            speak for GAP since it failed where that arm did not.
    """
    if momenta(comparison) == 1:
        return _against_one(comparison, kind, equivalence)
    return _against_several(comparison, kind, equivalence)


def momenta(comparison: Comparison) -> int:
    """Return how many fixed momenta a study trains, in however many arms."""
    known = [fixed_parts(arm) for arm in comparison.fixed_arms]
    if all(part[:1].isdigit() for parts in known for part in parts):
        return len({part for parts in known for part in parts})
    costs = [comparison.costs[arm] for arm in comparison.fixed_arms]
    return round(sum(cost.trials / max(cost.seeds, 1) for cost in costs))


def steps_saved(comparison: Comparison) -> str:
    """Return at what share of the steps of the fixed arms GAP was trained; nothing if not fewer."""
    gap, fixed = paid(comparison)
    share = at_share(gap.steps, fixed.steps)
    return f", {share} the steps" if share else ""


def units(comparison: Comparison) -> str:
    """Return over how many units a test is.

    A configuration is the mean of its seeds, where it has several.
    """
    pairs = len(comparison.differences[GAP_NAME].by_seed)
    return plural(pairs, comparison.records.unit)


def _against_one(comparison: Comparison, kind: Kind, equivalence: Equivalence | None) -> str:
    best, saved = comparison.best_fixed, steps_saved(comparison)
    margin = f"{100 * comparison.records.margin:g} %"
    if kind == "gain":
        return f"GAP won: it is better than {best}{saved}."
    if kind == "as good":
        return f"GAP is as good as {best} within {margin}{saved}."
    if kind == "not worse":
        return f"GAP is not worse than {best} by more than {margin}{saved}."
    if kind == "no gain":
        return f"No gain shown: GAP and {best} cannot be told apart{saved}."
    if equivalence is not None and equivalence.not_worse:
        return f"GAP lost, though within {margin}: it is worse than {best}, by less{saved}."
    return f"GAP lost: it is worse than {best}."


def _against_several(comparison: Comparison, kind: Kind, equivalence: Equivalence | None) -> str:
    best = f"the best of {momenta(comparison)} fixed momenta, {comparison.best_fixed}"
    margin, over = f"{100 * comparison.records.margin:g} %", f"over {units(comparison)}"
    spent, plain = _spent(comparison), _plain(comparison)
    stop = "Stop sweeping momentum"
    if kind == "gain":
        found = f"GAP is better than {best} (paired t test at 5 % {over})"
        return f"{stop}: {spent}{found}{plain}."
    if kind == "as good":
        found = f"GAP is within {margin} of {best} (two one-sided tests {over})"
        return f"{stop}: {spent}{found}{plain}."
    if kind == "not worse":
        test = f"(one one-sided test at 5 % {over})"
        found = f"GAP is not worse than {best}, by more than {margin} {test}"
        return f"{stop}: {spent}{found}{plain}."
    if kind == "no gain":
        found = f"GAP and {best}, cannot be told apart {over}"
        little = "No gain shown, and too little evidence to stop sweeping momentum"
        return f"{little}: {spent}{found}{plain}."
    if equivalence is not None and equivalence.not_worse:
        found = f"GAP is worse than {best}, but by less (one one-sided test at 5 % {over})"
        return f"{stop} if {margin} is little to you: {spent}{found}{plain}."
    found = f"GAP is worse than {best} (paired t test at 5 % {over})"
    return f"Keep sweeping momentum: {found}{plain}."


def _spent(comparison: Comparison) -> str:
    """Return what share of the fixed arms' trials GAP took, and of their steps if that differs."""
    gap, fixed = paid(comparison)
    if not fixed.trials or not fixed.steps:
        return ""
    trials, steps = (
        f"{100 * own / all_:.0f} %"
        for own, all_ in ((gap.trials, fixed.trials), (gap.steps, fixed.steps))
    )
    beside = "" if trials == steps else f" ({steps} of the steps)"
    return f"with {trials} of the trials{beside}, "


def _plain(comparison: Comparison) -> str:
    """Return whether momentum 0.9, which nobody has to sweep for, is as good as the best one."""
    best = comparison.best_fixed
    if PLAIN not in comparison.fixed_arms:
        return ""
    if best == PLAIN:
        return "; plain 0.9 is that best one"
    found = comparison.equivalence(PLAIN)
    if found is None or comparison.lost(PLAIN, best) or not found.not_worse:
        worse = comparison.differences[PLAIN].interval[0] > 0.0
        return f"; plain 0.9 is {'not as good' if worse else 'not shown to be as good'}"
    return "; plain 0.9 is as good"


def paid(comparison: Comparison) -> tuple[Cost, Cost]:
    """Return what GAP spent and what the fixed arms did, in the trials that are compared."""
    # At tuned learning rates all the others were paid for, too.
    own = comparison.records if comparison.sweep is not None else comparison.compared
    return Cost.of(own, [GAP_NAME]), Cost.of(own, comparison.fixed_arms)
