"""FirstReports: what the beginning of each trial's training said about momentum."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gap_tune.errors import StateError
from gap_tune.gradients.statistics import AlignmentStatistics
from gap_tune.tune import keys
from gap_tune.tune.search.closeness import Point, closeness
from gap_tune.tune.statistics_json import ByBeta2, parse

# First reports that are kept: the latest, which a searcher that converges has put closest.
KEPT = 256
# Trials whose first report is awaited; more than any cluster runs at once.
_AWAITED = 4096
# Observed steps before a report counts, as many as the default rule's warm-up.
_LEAST_STEPS = 5
# No gradients give more; sums that do would outweigh every other trial.
_IMPLAUSIBLE = 1e9
_SUMS = ("alignment", "validation_alignment", "autocorrelation")


@dataclass(frozen=True)
class FirstReport:
    """One trial's first report, its sums divided by the trial's own gradient power."""

    point: Point
    by_beta2: ByBeta2

    @property
    def any(self) -> AlignmentStatistics:
        """The statistics of one beta2: what does not depend on beta2 may be read off it."""
        return next(iter(self.by_beta2.values()))

    @property
    def kind(self) -> tuple[Any, ...]:
        """What reports must have in common to be added."""
        whitened = self.any.whitening is not None
        return self.any.candidates, len(self.any.autocorrelation), whitened, tuple(self.by_beta2)


class FirstReports:
    """Collects each trial's first report and adds them up for a new trial nearby."""

    def __init__(self) -> None:
        self._awaited: dict[str, tuple[Point, float | None]] = {}
        self._kept: deque[FirstReport] = deque(maxlen=KEPT)

    def expect(self, trial_id: str, point: Point, beta2: float | None = None) -> None:
        """Await the first report of a trial, which starts at ``point`` and with ``beta2``."""
        self._awaited[trial_id] = (point, beta2)
        if len(self._awaited) > _AWAITED:
            del self._awaited[next(iter(self._awaited))]

    def forget(self, trial_id: str) -> None:
        """Await nothing more of a trial, if anything was awaited."""
        self._awaited.pop(trial_id, None)

    def take(self, trial_id: str, result: Mapping[str, Any]) -> None:
        """Keep a result's statistics if it is the first report of a trial that is awaited.

        A report of fewer than five observed steps says too little; the next one counts.

        Raises:
            StateError: When the statistics are malformed; the next report may do better.
        """
        if trial_id not in self._awaited or keys.STATISTICS not in result:
            return
        point, beta2 = self._awaited[trial_id]
        by_beta2 = _read(result, beta2)
        if min(s.steps for s in by_beta2.values()) >= _LEAST_STEPS:
            report = FirstReport(point, _normalised(by_beta2))
            self.forget(trial_id)
            self._kept.append(report)

    def near(self, point: Point) -> tuple[ByBeta2, float, int]:
        """Return the sums of first reports, weighted by closeness to a point.

        Reports that cannot be added, because they compare other candidates or are whitened, form
        groups; the group that weighs most counts.

        Returns:
            The statistics by beta2, their weight (observed steps times closeness), and the number
            of trials; ``({}, 0.0, 0)`` without any report.
        """
        groups: dict[tuple[Any, ...], list[tuple[FirstReport, float]]] = {}
        for report in self._kept:
            share = closeness(point, report.point)
            groups.setdefault(report.kind, []).append((report, share))
        if not groups:
            return {}, 0.0, 0
        members = max(groups.values(), key=_weight)
        shares = np.array([share for _, share in members])
        added = {
            beta2: _added([report.by_beta2[beta2] for report, _ in members], shares)
            for beta2 in members[0][0].by_beta2
        }
        return added, _weight(members), len(members)

    def state(self) -> dict[str, Any]:
        """Return everything that continuing needs."""
        return {"awaited": dict(self._awaited), "kept": list(self._kept)}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Continue from what ``state`` returned."""
        self._awaited = dict(state["awaited"])
        self._kept = deque(state["kept"], maxlen=KEPT)


def _weight(members: Sequence[tuple[FirstReport, float]]) -> float:
    return sum(report.any.weight * share for report, share in members)


def _read(result: Mapping[str, Any], beta2: float | None) -> ByBeta2:
    """Return the statistics by beta2; by None where the study does not search beta2."""
    if beta2 is not None and keys.STATISTICS_BY_BETA2 in result:
        by_beta2 = parse(result[keys.STATISTICS_BY_BETA2])
        shapes = {(s.candidates, s.whitening is None, s.weight) for s in by_beta2.values()}
        if len(shapes) != 1 or None in by_beta2:
            raise StateError(
                f"{keys.STATISTICS_BY_BETA2} must hold statistics of equal steps for each beta2, "
                f"but got {sorted(by_beta2, key=str)}."
            )
        return by_beta2
    (statistics,) = parse(result[keys.STATISTICS]).values()
    return {beta2: statistics}


def _normalised(by_beta2: ByBeta2) -> ByBeta2:
    """Divide sums by the trial's mean gradient power and W, so that every trial counts alike.

    One divisor for all beta2, since their gains are compared with each other.
    """
    everything = by_beta2.values()
    power = sum(s.power / max(s.weight, 1e-300) for s in everything) / len(by_beta2)
    price = sum((s.whitening or 0.0) / max(s.weight, 1e-300) for s in everything) / len(by_beta2)
    whitened = next(iter(everything)).whitening is not None
    if power <= 0.0 or (whitened and price <= 0.0):
        raise StateError(f"statistics must hold gradients other than zero, but got {power=:g}.")
    divided = {beta2: _divided(s, power, price) for beta2, s in by_beta2.items()}
    for s in divided.values():
        if max(map(abs, (s.weight, *s.alignment, *s.autocorrelation))) > _IMPLAUSIBLE:
            raise StateError(
                f"statistics must be at most {_IMPLAUSIBLE:g} times the gradients' power, "
                f"but got {s.alignment}."
            )
    return divided


def _divided(s: AlignmentStatistics, power: float, price: float) -> AlignmentStatistics:
    sums: Any = {name: tuple(x / power for x in getattr(s, name)) for name in _SUMS}
    return replace(s, **sums, whitening=None if s.whitening is None else s.whitening / price)


def _added(
    parts: Sequence[AlignmentStatistics], shares: NDArray[np.float64]
) -> AlignmentStatistics:
    """Return the weighted sum of statistics; counts of the model are those of the latest."""

    def total(name: str) -> Any:
        return (shares @ np.array([getattr(part, name) for part in parts])).tolist()

    sums: Any = {name: tuple(total(name)) for name in _SUMS}
    return replace(
        parts[-1],
        **sums,
        whitening=None if parts[0].whitening is None else total("whitening"),
        weight=total("weight"),
        validation_weight=total("validation_weight"),
        steps=round(total("steps")),
        skipped_steps=round(total("skipped_steps")),
    )
