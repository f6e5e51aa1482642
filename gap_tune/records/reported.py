"""Which metrics trials report themselves, where no study names any."""

from __future__ import annotations

import pandas as pd

from gap_tune.tune import keys

# Pages show the metric that is compared by, and others up to so many in all.
_MOST_METRICS = 6
# What says of a report whose it is.
_NAMES = ("arm", "seed", "configuration", "own_seed", "trial_id")
# What Ray adds to reports of its own accord.
_OF_RAY = ("iteration", "epoch", "step", "timestamp", "time_this_iter_s", "time_total_s")


def reported_metrics(results: pd.DataFrame) -> list[str]:
    """Return the names of numeric metrics, in the order in which trials report them.

    >>> reported_metrics(pd.DataFrame({"arm": ["gap"], "loss": [0.1], "gap/momentum": [0.9]}))
    ['loss']
    """
    own = results.drop(columns=[*_NAMES, *_OF_RAY], errors="ignore")
    names = own.select_dtypes("number").columns
    return [str(name) for name in names if not str(name).startswith(keys.PREFIX)]


def shown_metrics(results: pd.DataFrame, metric: str) -> list[str]:
    """Return the metrics that a page shows, the one that is compared by first."""
    return list(dict.fromkeys([metric, *reported_metrics(results)]))[:_MOST_METRICS]
