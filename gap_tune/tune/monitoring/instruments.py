"""Instruments of RayMetrics, and how results become what they show."""

from __future__ import annotations

import math
from typing import Any

from ray.util.metrics import Counter, Gauge, Histogram

from gap_tune.errors import StateError
from gap_tune.tune import keys, nested
from gap_tune.tune.ray_private.results import last_result
from gap_tune.tune.statistics_json import parse_one

PREFIX = "gap_tune_"
_BOUNDARIES_S = [0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2.0]
RUNNING = "RUNNING"
STATUSES = ("PENDING", RUNNING, "PAUSED", "TERMINATED", "ERROR")
_BY_TRIAL = ("study", "arm", "trial")
TRIAL_GAUGES = {
    "momentum": "Momentum that the trial trains with",
    "gain": "Gain of the momentum in use, a mean per step",
    "best_gain": "Largest gain of a candidate kept fixed, a mean per step",
    "autocorrelation": "Lag-1 autocorrelation of gradients, S[1]/S[0]",
    "gradient_power": "Gradient power S[0], minibatch noise included, a mean per step",
    "scale": "Factor on the learning rate by which the trust region has grown or shrunk",
    "agreement": "How far fresh gradients agree with the updates just taken, -1 to 1",
    "steps_per_second": "Optimizer steps per second since the report before",
    "metric": "The study's metric",
}


class Instruments:
    """Ray's metrics, which belong to one process and cannot be saved."""

    def __init__(self) -> None:
        def gauge(name: str, what: str, *tags: str) -> Any:
            return Gauge(PREFIX + name, what, tag_keys=tags)

        def counter(name: str, what: str, *tags: str) -> Any:
            return Counter(PREFIX + name, what, tag_keys=("study", "arm", *tags))

        self.by_trial = {name: gauge(name, what, *_BY_TRIAL) for name, what in TRIAL_GAUGES.items()}
        self.trials = gauge("trials", "Trials by status", "study", "status")
        self.regret = gauge(
            "regret", "How far the metric is behind the best fixed arm's", "study", "arm"
        )
        self.decisions = counter("decisions", "Decisions by reason", "reason")
        self.faults = counter("faults", "Trials that failed, and restarts", "kind")
        self.skipped = counter("skipped_steps", "Steps with non-finite gradients")
        self.seconds = Histogram(
            PREFIX + "decision_seconds",
            "Seconds from a result's arrival to the sent decision",
            boundaries=_BOUNDARIES_S,
            tag_keys=("study",),
        )


class Latest:
    """A running trial's latest result, and what its gauges show.

    Args:
        trial: The Ray trial, whose ``last_result`` is still the one before.
    """

    def __init__(self, trial: Any) -> None:
        self.trial = trial
        self.values: dict[str, float] = {}
        self._unread: dict[str, Any] | None = None
        # A trial that goes on from a checkpoint brings its counts along.
        before = last_result(trial)
        self._steps, self._seconds = _progress(before)
        text = before.get(keys.STATISTICS)
        try:
            self._skipped = 0 if text is None else parse_one(text).skipped_steps
        except StateError:
            self._skipped = 0

    def take(self, result: dict[str, Any]) -> None:
        """Keep a result; it is read when gauges are refreshed, which many results do not see."""
        self._unread = dict(result)

    def read(self, metric: str | None) -> int:
        """Bring ``values`` up to date; return the steps skipped since the last time.

        Args:
            metric: Result key of the study's metric.

        Raises:
            StateError: When the reported statistics are malformed.
        """
        result, self._unread = self._unread, None
        if result is None:
            return 0
        steps, seconds = _progress(result)
        found: dict[str, Any] = {
            "metric": metric_of(result, metric),
            "momentum": result.get(keys.MOMENTUM),
            "gain": result.get(keys.GAIN),
            "gradient_power": result.get(keys.POWER),
            "scale": result.get(keys.SCALE),
            "agreement": result.get(keys.AGREEMENT),
        }
        if steps > self._steps and seconds > self._seconds:
            found["steps_per_second"] = (steps - self._steps) / (seconds - self._seconds)
        self._steps, self._seconds = steps, seconds
        numbers = {name: finite(value) for name, value in found.items()}
        self.values |= {name: value for name, value in numbers.items() if value is not None}
        return self._read_statistics(result.get(keys.STATISTICS))

    def _read_statistics(self, text: Any) -> int:
        if text is None:
            return 0
        statistics = parse_one(text)
        self.values["best_gain"] = float(statistics.gain().max())
        lags = statistics.autocorrelation
        if len(lags) > 1 and lags[0] > 0:
            self.values["autocorrelation"] = lags[1] / lags[0]
        skipped = statistics.skipped_steps - self._skipped
        self._skipped = max(self._skipped, statistics.skipped_steps)
        return max(0, skipped)


def metric_of(result: dict[str, Any], metric: str | None) -> float | None:
    """Return the study's metric in a result, nested or flat; None where there is no finite one."""
    if metric is None:
        return None
    return finite(nested.get(result, metric))


def _progress(result: dict[str, Any]) -> tuple[float, float]:
    """Return a trial's optimizer steps and training seconds."""
    return finite(result.get(keys.STEPS)) or 0.0, finite(result.get("time_total_s")) or 0.0


def finite(value: Any) -> float | None:
    """Return a number of a result; None for anything else."""
    try:
        number = float(value)
    except (OverflowError, RuntimeError, TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
