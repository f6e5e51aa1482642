"""fixing: how much is lost by a fixed momentum, as far as trials of an experiment tell."""

from __future__ import annotations

import math

from gap_tune.formatting import plural
from gap_tune.report.comparison import Comparison
from gap_tune.report.sentences import relative
from gap_tune.tune.spelling import fixed_parts, is_fixed_name


def fixing(comparison: Comparison, arm: str, momentum: float) -> str:
    """Return what is known of how much worse a fixed momentum does than an arm that tunes it.

    Trials of the fixed momentum nearest to it tell, over all that are paired with trials of the
    arm; the best trial alone would flatter the arm that has it. They were not trained at the
    learning rate that goes with the momentum here, which may be far from the one that was set.

    Args:
        comparison: The study.
        arm: The arm of the best trial; of one that holds its momentum there is nothing to say.
        momentum: The momentum to hold.
    """
    if is_fixed_name(arm):
        return ""
    held = {name: _value(name) for name in comparison.fixed_arms}
    known = {name: value for name, value in held.items() if value is not None}
    tested = {
        name: found
        for name in known
        if comparison.records.study.get("paired", True)
        and (found := comparison.equivalence(name, arm)) is not None
    }
    if not tested:
        return (
            "How much is lost by a fixed pair is not known: no trials of a fixed momentum are "
            f"paired with trials of {arm}."
        )
    # Memories are as long as 1 / (1 - momentum).
    nearest = min(tested, key=lambda name: abs(math.log((1 - known[name]) / (1 - momentum))))
    found = tested[nearest]
    low, high = map(relative, found.interval)
    return (
        "What the fixed pair loses is known of other trials only: the nearest fixed momentum that "
        f"was trained, {known[nearest]:g}, over {plural(found.count, comparison.records.unit)}, "
        f"is {relative(found.ratio)} than {arm} in {comparison.metric} (90% interval from {low} to "
        f"{high}), at the learning rates that were set, not at this one."
    )


def _value(arm: str) -> float | None:
    """Return the one momentum of an arm; None of one that has several."""
    parts = fixed_parts(arm)
    try:
        return float(parts[0]) if len(parts) == 1 else None
    except ValueError:
        return None
