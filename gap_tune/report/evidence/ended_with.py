"""EndedWith: what the best of n trials ended with, of configurations that several arms trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class EndedWith:
    """The expected result of the best of n of an experiment's configurations, arm by arm.

    All arms were trained at the same configurations, so a search of n trials with one arm differs
    from that with another in momentum alone. A trial that failed, or was stopped early, counts as
    the worst of all.

    Attributes:
        curves: By arm, the result of the best of 1, 2, ... configurations, drawn without
            replacement: the exact expectation, mean over seeds. The last is what the whole search
            ended with.
    """

    curves: Mapping[str, Floats]

    @classmethod
    def of(cls, trials: pd.DataFrame, finals: pd.Series, mode: str) -> EndedWith | None:
        """Return the curves; None where fewer than two configurations have ended with every arm.

        Args:
            trials: The compared trials, with ``arm, seed, configuration, own_seed, status``.
            finals: Results by arm and seed, without missing ones.
            mode: "min" or "max".
        """
        sign = 1.0 if mode == "min" else -1.0
        ended = trials[trials["status"] != "unfinished"]
        names = list(zip(ended["arm"], ended["seed"], strict=True))
        results = sign * finals.reindex(names).to_numpy(float)
        if not np.isfinite(results).any():
            return None
        worst = np.nanmax(results)
        table = pd.DataFrame(
            {
                "arm": ended["arm"].to_numpy(),
                "own_seed": ended["own_seed"].to_numpy(),
                "configuration": ended["configuration"].to_numpy(),
                "result": np.where(np.isnan(results), worst, results),
            }
        ).pivot_table("result", ["own_seed", "configuration"], "arm")
        whole = [rows for _, rows in table.dropna().groupby("own_seed") if len(rows) > 1]
        if not whole:
            return None
        most = min(map(len, whole))
        return cls(
            {
                str(arm): sign
                * np.mean([expected_best(rows[arm].to_numpy(), most) for rows in whole], axis=0)
                for arm in table.columns
            }
        )

    def table(self, metric: str) -> pd.DataFrame:
        """Return a row per arm and number of trials: the columns ``method, trials`` and the metric.

        Args:
            metric: What results are of.
        """
        return pd.concat(
            [
                pd.DataFrame({"method": arm, "trials": range(1, len(curve) + 1), metric: curve})
                for arm, curve in self.curves.items()
            ],
            ignore_index=True,
        )


def expected_best(results: Floats, most: int) -> Floats:
    """Return the expected least of 1, 2, ... results drawn without replacement.

    The least of n of N is the one of rank i, from 0, with probability
    ``C(N - i - 1, n - 1) / C(N, n)``.

    Args:
        results: All of them; lower is better.
        most: Up to how many are drawn, at most all.

    >>> expected_best(np.array([3.0, 1.0, 2.0]), 3).round(3).tolist()
    [2.0, 1.333, 1.0]
    """
    ordered = np.sort(results)
    found, chance = np.empty(most), np.full(len(ordered), 1.0 / len(ordered))
    for drawn in range(1, most + 1):
        found[drawn - 1] = chance @ ordered
        # From n to n + 1: C(k, n) = C(k, n-1) (k-n+1) / n, and C(N, n+1) = C(N, n) (N-n) / (n+1).
        left = np.arange(len(ordered) - 1, -1, -1) - drawn + 1
        chance = chance * np.maximum(left, 0) * (drawn + 1) / (drawn * max(len(ordered) - drawn, 1))
    return found
