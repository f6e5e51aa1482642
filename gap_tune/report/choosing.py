"""What is chosen in hindsight: the best of several arms, or an arm's best learning rate."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from gap_tune.records.records import Records

_Name = TypeVar("_Name", bound=Hashable)


def best_of(
    values: Mapping[_Name, pd.Series],
    mode: str,
    lost: Mapping[_Name, Collection[Hashable]],
    units: Mapping[Any, Any] | None = None,
) -> _Name | None:
    """Return the name with the best mean, the first of equals; None when none has a value.

    Only names that failed on the fewest seeds compete, over the seeds that all of them finished:
    what survived one easy seed must not win by it.

    Args:
        values: Values by seed, or by whatever else pairs them.
        mode: "min" or "max".
        lost: Seeds that were lost.
        units: By seed, what its value is averaged within first, see ``by_unit``.

    >>> easy = pd.Series({0: 0.1})
    >>> best_of({"a": easy, "b": pd.Series({0: 0.2, 1: 0.3})}, "min", {"a": {1}, "b": ()})
    'b'
    """
    values = {name: own for name, own in values.items() if len(own)}
    fewest = min((len(lost[name]) for name in values), default=0)
    values = {name: own for name, own in values.items() if len(lost[name]) == fewest}
    if not values:
        return None
    common = sorted(set.intersection(*(set(own.index) for own in values.values())))
    means = {
        name: float(by_unit(own.loc[common] if common else own, units).mean())
        for name, own in values.items()
    }
    choose = min if mode == "min" else max
    return choose(means, key=means.__getitem__)


def by_unit(values: pd.Series, units: Mapping[Any, Any] | None) -> pd.Series:
    """Return the mean of the values of each unit, such as a configuration trained on several seeds.

    Args:
        values: By seed.
        units: By seed, its unit; None or an empty one takes each for itself.

    >>> by_unit(pd.Series({1: 2.0, 2: 4.0, 3: 5.0}), {1: 0, 2: 0, 3: 1}).to_dict()
    {0: 3.0, 1: 5.0}
    """
    return values.groupby(values.index.map(units)).mean() if units and len(values) else values


def best_trial(records: Records) -> tuple[pd.Series, float, bool] | None:
    """Return the best trial by its last report, of the ended ones where there are any.

    Args:
        records: The trials.

    Returns:
        The trial's row, the study's metric, and whether it has ended; None where no trial has a
        finite metric.
    """
    for trials, ended in ((records.trials_with("finished"), True), (records.trials, False)):
        if records.metric not in trials:
            continue
        values = pd.to_numeric(trials[records.metric], errors="coerce")
        values = values[np.isfinite(values)]
        if len(values):
            place = values.idxmin() if records.mode == "min" else values.idxmax()
            return trials.loc[place], float(values[place]), ended
    return None


@dataclass(frozen=True)
class TunedRate:
    """The learning rate that an arm does best at.

    Attributes:
        lr: The learning rate.
        edge: "smallest" or "largest" where it is that of several tried, so that a better one may
            lie outside of them; else "".
    """

    lr: float
    edge: str = ""

    @property
    def at_edge(self) -> bool:
        """Whether it is the smallest or largest tried."""
        return bool(self.edge)


def tuned_rate(
    values: Mapping[float, pd.Series], mode: str, lost: Mapping[float, Collection[Hashable]]
) -> TunedRate | None:
    """Return the learning rate of the best mean over seeds; None where none has a value.

    It is one for all seeds, chosen as ``best_of`` does: a rate at which seeds failed that others
    finished does not win.

    Args:
        values: By each learning rate that was tried, the values by seed.
        mode: "min" or "max".
        lost: By each learning rate, the seeds that were lost.

    >>> losses = {0.1: pd.Series([0.4, 0.5]), 0.3: pd.Series([0.2, 0.3])}
    >>> tuned_rate(losses, "min", dict.fromkeys(losses, ()))
    TunedRate(lr=0.3, edge='largest')
    """
    best = best_of(values, mode, lost)
    if best is None:
        return None
    edges = {min(values): "smallest", max(values): "largest"} if len(values) > 1 else {}
    return TunedRate(best, edges.get(best, ""))
