"""Regrets: how far each arm is behind the best fixed momentum, while a study still runs."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from gap_tune.tune.keys import check_objective_mode
from gap_tune.tune.spelling import is_fixed_name

# (arm, seed) -> trial -> the metric at each report.
Curves = dict[tuple[str, str], dict[str, list[float]]]
# In the place of all trials that have ended.
_ENDED = ""


class Regrets:
    """Keeps each trial's metric by report, and compares arms at the same report on the same seeds.

    An arm's value on a seed, after so many reports, is that of its best trial there. Two arms are
    compared after as many reports as both have, on the seeds that both have, by the mean of the
    differences. The regret is the comparison with the fixed arm that comes out best in it: positive
    where the arm is behind, never negative for a fixed arm itself.

    Args:
        mode: "min" or "max": whether the metric is better low or high.

    Raises:
        InvalidValueError: When ``mode`` is something else.

    >>> regrets = Regrets("min")
    >>> for arm, losses in {"gap": [3.0, 1.0], "fixed:0.9": [2.0, 1.5, 1.4]}.items():
    ...     for report, loss in enumerate(losses, 1):
    ...         regrets.add(arm, 0, "trial of " + arm, report, loss)
    >>> regrets.now()
    {'gap': -0.5, 'fixed:0.9': 0.0}
    """

    def __init__(self, mode: str) -> None:
        self._sign = 1.0 if check_objective_mode(mode) == "min" else -1.0
        self._curves: Curves = defaultdict(dict)

    def add(self, arm: str, seed: Any, trial: str, report: int, value: float) -> None:
        """Note the metric of a trial's report, counted from 1.

        A trial that goes back to a checkpoint reports some numbers twice: the later one counts.
        """
        curve = self._curves[arm, str(seed)].setdefault(trial, [])
        del curve[report - 1 :]
        # A report that nobody noted, as between a driver's last save and its end, is made up for.
        curve += [self._sign * value] * (report - len(curve))

    def end(self, arm: str, seed: Any, trial: str) -> None:
        """Keep of a trial that reports no more only what is to be compared: the best so far.

        Memory is that of the trials that run, however many have ended on the same seed.
        """
        curves = self._curves.get((arm, str(seed)), {})
        curve = curves.pop(trial, None)
        if curve:
            ended = curves.get(_ENDED, curve)
            reports = range(1, 1 + max(len(curve), len(ended)))
            curves[_ENDED] = [_best([curve, ended], count) for count in reports]

    def now(self) -> dict[str, float]:
        """Return every arm's regret so far; arms that cannot be compared yet are left out."""
        if not any(is_fixed_name(arm) for arm, _ in self._curves):
            return {}
        seeds: dict[str, dict[str, list[list[float]]]] = defaultdict(dict)
        for (arm, seed), trials in self._curves.items():
            curves = [curve for curve in trials.values() if curve]
            if curves:
                seeds[arm][seed] = curves
        fixed = [arm for arm in seeds if is_fixed_name(arm)]
        regrets = {}
        for arm in seeds:
            behind = [_behind(seeds[arm], seeds[other]) for other in fixed]
            known = [difference for difference in behind if difference is not None]
            if known:
                regrets[arm] = max(known)
        return regrets

    def state(self) -> list[Any]:
        """Return what is kept, as plain values."""
        return [
            [arm, seed, {trial: list(curve) for trial, curve in trials.items()}]
            for (arm, seed), trials in self._curves.items()
        ]

    def load(self, state: list[Any]) -> None:
        """Continue from what ``state`` returned."""
        for arm, seed, trials in state:
            self._curves[arm, seed] = {trial: list(curve) for trial, curve in trials.items()}


def _behind(
    mine: dict[str, list[list[float]]], theirs: dict[str, list[list[float]]]
) -> float | None:
    """Return by how much the first arm is behind the second, as a mean over the seeds of both."""
    differences = []
    for seed in mine.keys() & theirs.keys():
        reports = min(max(map(len, curves)) for curves in (mine[seed], theirs[seed]))
        differences.append(_best(mine[seed], reports) - _best(theirs[seed], reports))
    return sum(differences) / len(differences) if differences else None


def _best(curves: list[list[float]], reports: int) -> float:
    """Return the best value of trials after so many reports, or at the end of shorter ones."""
    return min(curve[min(reports, len(curve)) - 1] for curve in curves)
