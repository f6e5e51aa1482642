"""LeftOut: the pairs of trials that a paired test leaves out, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from gap_tune.formatting import count, plural
from gap_tune.records.records import Records

# What a trial without a result did instead of giving one.
_DID = {
    "failed": "failed",
    "stopped": "stopped early",
    "unfinished": "not ended",
    "finished": "without a finite result",
    "": "not started",
}


@dataclass(frozen=True)
class LeftOut:
    """The pairs that a comparison of two arms leaves out, as one of both has no result.

    Attributes:
        reasons: How many there are by arm and by what its trial did instead of giving a result.
        pairs: How many there are; a pair of which both lack a result has two reasons.

    >>> trials = pd.DataFrame(
    ...     [("gap", 0, "failed"), ("fixed:0.9", 0, "finished")], columns=["arm", "seed", "status"]
    ... )
    >>> values = {"gap": pd.Series([], dtype=float), "fixed:0.9": pd.Series({0: 0.3})}
    >>> LeftOut.of(Records({}, trials, trials), values).text
    '1 pair is left out: gap failed in 1.'
    """

    reasons: Mapping[tuple[str, str], int]
    pairs: int

    @classmethod
    def of(cls, records: Records, values: Mapping[str, pd.Series]) -> LeftOut:
        """Return what is left out.

        Args:
            records: The trials of all arms.
            values: The results of the two arms by seed.
        """
        if records.trials.empty:
            return cls({}, 0)
        trials = records.trials[records.trials["arm"].isin(list(values))]
        status = {
            (arm, seed): state for arm, seed, state in trials[["arm", "seed", "status"]].values
        }
        seeds = list(dict.fromkeys(trials["seed"]))
        missing = [
            (arm, seed) for seed in seeds for arm, own in values.items() if seed not in own.index
        ]
        reasons = Counter((arm, status.get((arm, seed), "")) for arm, seed in missing)
        return cls(dict(reasons), len({seed for _, seed in missing}))

    def was(self, status: str, arm: str) -> bool:
        """Tell whether trials of an arm are left out since they ended so."""
        return bool(self.reasons.get((arm, status)))

    @property
    def text(self) -> str:
        """One sentence; empty where nothing is left out."""
        if not self.pairs:
            return ""
        told = [f"{arm} {_DID[state]} in {count(n)}" for (arm, state), n in self.reasons.items()]
        verb = "is" if self.pairs == 1 else "are"
        return f"{plural(self.pairs, 'pair')} {verb} left out: {', '.join(told)}."
