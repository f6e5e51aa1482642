"""FirstReports: what the beginning of each trial's training said about momentum."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gap_tune.errors import StateError
from gap_tune.gradients.statistics import AlignmentStatistics
from gap_tune.tune import keys
from gap_tune.tune.search.closeness import Point, closeness
from gap_tune.tune.statistics_json import ByBeta2, parse, parse_one

# Candidates, whether whitened, values of beta2 with the number of sums that each holds.
Kind = tuple[tuple[float, ...], bool, tuple[tuple[float | None, int], ...]]
# First reports that are kept: the latest, which a searcher that converges has put closest.
KEPT = 256
# Trials whose first report is awaited; more than any cluster runs at once.
_AWAITED = 4096
# Observed steps before a report counts, as many as the default rule's warm-up.
_LEAST_STEPS = 5
# No gradients give more; sums that do would outweigh every other trial.
_IMPLAUSIBLE = 1e9
_SUMS = ("alignment", "validation_alignment", "autocorrelation")
_COUNTED = ("weight", "validation_weight", "steps", "skipped_steps")


@dataclass(frozen=True)
class FirstReport:
    """One trial's first report, its sums divided by the trial's own gradient power."""

    point: Point
    by_beta2: ByBeta2

    @property
    def kind(self) -> Kind:
        """What reports must have in common to be added; the weight does not depend on beta2."""
        one = next(iter(self.by_beta2.values()))
        sums = tuple((beta2, len(s.autocorrelation)) for beta2, s in self.by_beta2.items())
        return one.candidates, one.whitening is not None, sums


class _Block:
    """All that can be added of reports of one kind: a row of a matrix for each, zero elsewhere.

    Every suggestion adds up every report, so that they are kept as what is added.
    """

    def __init__(self, report: FirstReport) -> None:
        self._slots: set[int] = set()
        self._weights = np.zeros(KEPT)
        self._rows = {beta2: np.zeros((KEPT, _row(s).size)) for beta2, s in report.by_beta2.items()}

    def put(self, slot: int, report: FirstReport) -> None:
        """Put a report into a row."""
        self._latest = report.by_beta2
        self._slots.add(slot)
        self._weights[slot] = next(iter(report.by_beta2.values())).weight
        for beta2, statistics in report.by_beta2.items():
            self._rows[beta2][slot] = _row(statistics)

    def clear(self, slot: int) -> bool:
        """Clear a row; return whether any is left."""
        self._slots.discard(slot)
        self._weights[slot] = 0.0
        for rows in self._rows.values():
            rows[slot] = 0.0
        return bool(self._slots)

    def weight(self, shares: NDArray[np.float64]) -> float:
        """Return the observed steps of all reports, each times its share."""
        return float(shares @ self._weights)

    def added(self, shares: NDArray[np.float64]) -> ByBeta2:
        """Return the sums of all reports, each times its share."""
        return {beta2: _added(self._latest[beta2], shares @ r) for beta2, r in self._rows.items()}

    def __len__(self) -> int:
        return len(self._slots)


class FirstReports:
    """Collects each trial's first report and adds them up for a new trial nearby."""

    def __init__(self) -> None:
        self._awaited: dict[str, tuple[Point, float | None]] = {}
        self._kept: deque[FirstReport] = deque(maxlen=KEPT)
        self._taken = 0
        # The same reports again, as what is added: number n is in slot n % KEPT.
        self._points: list[Point | None] = [None] * KEPT
        self._blocks: dict[Kind, _Block] = {}

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
            self._keep(report)

    def near(self, point: Point) -> tuple[ByBeta2, float, int]:
        """Return the sums of first reports, weighted by closeness to a point.

        Reports that cannot be added, because they compare other candidates or are whitened, form
        groups; the group that weighs most counts.

        Returns:
            The statistics by beta2, their weight (observed steps times closeness), and the number
            of trials; ``({}, 0.0, 0)`` without any report.
        """
        if not self._blocks:
            return {}, 0.0, 0
        shares = np.array([p is not None and closeness(point, p) for p in self._points], float)
        block = max(self._blocks.values(), key=lambda block: block.weight(shares))
        return block.added(shares), block.weight(shares), len(block)

    def _keep(self, report: FirstReport) -> None:
        slot = self._taken % KEPT
        if len(self._kept) == KEPT:
            # The oldest, whose slot this is, leaves.
            kind = self._kept[0].kind
            if not self._blocks[kind].clear(slot):
                del self._blocks[kind]
        self._kept.append(report)
        self._points[slot] = report.point
        if report.kind not in self._blocks:
            self._blocks[report.kind] = _Block(report)
        self._blocks[report.kind].put(slot, report)
        self._taken += 1

    def state(self) -> dict[str, Any]:
        """Return everything that continuing needs."""
        return {
            "awaited": dict(self._awaited),
            "kept": list(self._kept),
            "taken": self._taken,
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Continue from what ``state`` returned."""
        self._awaited, kept = dict(state["awaited"]), state["kept"]
        self._kept.clear()
        self._blocks.clear()
        self._points = [None] * KEPT
        # The same slots: sums in another order may differ in the last digit.
        self._taken = state.get("taken", len(kept)) - len(kept)
        for report in kept:
            self._keep(report)


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
    return {beta2: parse_one(result[keys.STATISTICS])}


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


def _row(s: AlignmentStatistics) -> NDArray[np.float64]:
    sums = (x for name in _SUMS for x in getattr(s, name))
    counted = (getattr(s, name) for name in _COUNTED)
    return np.array([*sums, *counted, s.whitening or 0.0])


def _added(latest: AlignmentStatistics, row: NDArray[np.float64]) -> AlignmentStatistics:
    """Return statistics with the sums of a row; counts of the model are those of the latest."""
    values = row.tolist()
    whitening = values.pop()
    changes: dict[str, Any] = {}
    for name in _SUMS:
        count = len(getattr(latest, name))
        changes[name], values = tuple(values[:count]), values[count:]
    changes |= dict(zip(_COUNTED, values, strict=True))
    changes |= {name: round(changes[name]) for name in ("steps", "skipped_steps")}
    whitened = latest.whitening is not None
    return replace(latest, **changes, whitening=whitening if whitened else None)
