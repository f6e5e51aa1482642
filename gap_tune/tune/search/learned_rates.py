"""LearnedRates: later trials start at the learning rate that earlier ones came to train with."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from gap_tune.control.trust_region import TrustRegion
from gap_tune.tune import keys, nested
from gap_tune.tune.search.closeness import Axis

# The trust region of a trial that starts where an earlier one has led: most of the way is gone.
_START, _FLOOR, _SPAN = 0.5, 1 / 3, 3.0
# Of a trial's scale, in its logarithm, a later trial takes this share over; and it starts so far
# around that to either side. Whole steps and a narrower spread were measured to be worse for AdamW.
SHARE, SPREAD = 0.5, 1.2
# Results of trials that trained shorter than this part of the longest are not compared.
_COMPARABLE = 0.9
# Scales of a trial to remember; of more, every other one is left out.
_MOST = 512


@dataclass(frozen=True)
class Finished:
    """A trial that has ended.

    Attributes:
        trial: Its id.
        value: The study's metric.
        steps: Optimizer steps that it trained.
        log_lr: Log of the learning rate that it started from.
        log_scale: Mean log of its scale over the middle half of its reports: what it trained with.
    """

    trial: str
    value: float
    steps: float
    log_lr: float
    log_scale: float


class LearnedRates:
    """What trials in a trust region say about where later ones should start.

    A trial that trained with the scale 4 says that its learning rate was a quarter of what it
    should have been. Later trials start around half of the way, in its logarithm, from the learning
    rate of the best trial so far to what that came to train with, in a narrow region.
    """

    def __init__(self) -> None:
        self._started: dict[str, float] = {}
        self._scales: dict[str, list[float]] = {}
        self._steps: dict[str, float] = {}
        # How often a report's scale is kept, and how many have come.
        self._strides: dict[str, tuple[int, int]] = {}
        self._finished: list[Finished] = []

    def suggest(
        self, trial: str, searched: float, axis: Axis | None, mode: Any
    ) -> tuple[float, str | None]:
        """Return the learning rate for a trial to start from, and why where it is another.

        Args:
            trial: The trial's id.
            searched: What the wrapped searcher suggests. Its place in the range becomes that
                around the learning rate of the best trial so far.
            axis: The range; None where nothing is to be learned.
            mode: "min" or "max", of the study's one metric.
        """
        best = self.best(mode) if isinstance(mode, str) else None
        reason = None
        if axis is not None and best is not None:
            lr = around(best, axis.coordinate(searched))
            searched = min(max(lr, axis.low), axis.high)
            scale = math.exp(best.log_scale)
            reason = f"trial {best.trial} came to train with {scale:.2g} times its learning rate"
        self._started[trial] = math.log(searched)
        return searched, reason

    def take(self, trial: str, result: Mapping[str, Any]) -> None:
        """Note the scale of a report."""
        scale = nested.get(result, keys.SCALE) if trial in self._started else None
        if scale is None or not float(scale) > 0:
            return
        self._steps[trial] = float(nested.get(result, keys.STEPS, 0.0))
        stride, count = self._strides.get(trial, (1, 0))
        scales = self._scales.setdefault(trial, [])
        if count % stride == 0:
            scales.append(math.log(scale))
        if len(scales) > _MOST:
            del scales[1::2]
            stride *= 2
        self._strides[trial] = stride, count + 1

    def finish(self, trial: str, value: float | None) -> None:
        """Note how a trial ended; None where it failed."""
        log_lr, scales = self._started.pop(trial, None), self._scales.pop(trial, [])
        steps, _ = self._steps.pop(trial, 0.0), self._strides.pop(trial, None)
        if log_lr is None or not scales or value is None or not math.isfinite(value):
            return
        quarter = len(scales) // 4
        middle = scales[quarter : len(scales) - quarter]
        ended = Finished(trial, value, steps, log_lr, math.fsum(middle) / len(middle))
        self._finished = _of_use([*self._finished, ended])

    def best(self, mode: str) -> Finished | None:
        """Return the best of the trials that trained about as long as any; None before any.

        Those that still run count as well: a scheduler ends the worst trials first.
        """
        longest = max(
            (*self._steps.values(), *(each.steps for each in self._finished)), default=0.0
        )
        sign = 1.0 if mode == "min" else -1.0
        comparable = [each for each in self._finished if each.steps >= _COMPARABLE * longest]
        return min(comparable, key=lambda each: sign * each.value, default=None)

    def state(self) -> dict[str, Any]:
        """Return everything that continuing needs."""
        return {
            "started": dict(self._started),
            "scales": {trial: list(scales) for trial, scales in self._scales.items()},
            "steps": dict(self._steps),
            "strides": {trial: list(stride) for trial, stride in self._strides.items()},
            "finished": [asdict(each) for each in self._finished],
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Continue from what ``state`` returned."""
        self._started = dict(state.get("started", {}))
        self._scales = {t: list(scales) for t, scales in state.get("scales", {}).items()}
        self._steps = dict(state.get("steps", {}))
        self._strides = {t: (s[0], s[1]) for t, s in state.get("strides", {}).items()}
        # Earlier versions kept all.
        self._finished = _of_use([Finished(**each) for each in state.get("finished", ())])


def _of_use(finished: list[Finished]) -> list[Finished]:
    """Return those of trials that ended of which one may be the best some day, in their order.

    Left out are those that trained too short to be compared with the longest, and those that are
    no better, whether less or more is, than one that trained as long: few remain of any number.
    """
    least = _COMPARABLE * max((each.steps for each in finished), default=0.0)
    places = [i for i, each in enumerate(finished) if each.steps >= least]
    kept: set[int] = set()
    for sign in (1.0, -1.0):
        best: tuple[float, int] | None = None
        # The longest first. Of equal values the earlier trial is the better.
        rank = {i: (sign * finished[i].value, i) for i in places}
        for i in sorted(places, key=lambda i: (-finished[i].steps, rank[i])):
            if best is None or rank[i] < best:
                best = rank[i]
                kept.add(i)
    return [finished[i] for i in sorted(kept)]


def narrowed(region: TrustRegion) -> TrustRegion:
    """Return the region of a trial that starts where an earlier one has led.

    >>> narrowed(TrustRegion()).span, narrowed(TrustRegion(span=2.0)).span
    (3.0, 2.0)
    """
    floor, span = max(region.floor, _FLOOR), min(region.span, _SPAN)
    return replace(region, start=min(max(_START, floor), span), floor=floor, span=span)


def around(best: Finished, coordinate: float) -> float:
    """Return a learning rate around half of the way to what a trial came to train with.

    Args:
        best: That trial.
        coordinate: Where in the spread, from 0 to 1.

    >>> trial = Finished("a", 0.1, 100.0, math.log(0.01), math.log(4.0))
    >>> round(around(trial, 0.5), 6)
    0.02
    """
    return math.exp(best.log_lr + SHARE * best.log_scale + (2.0 * coordinate - 1.0) * SPREAD)
