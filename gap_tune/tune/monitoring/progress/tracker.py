"""Tracker: how many trials there are of which kind, the best so far, and the time left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from gap_tune.formatting import as_reported, time_left
from gap_tune.tune.monitoring.instruments import finite
from gap_tune.tune.monitoring.progress.standing import Ended, Standing
from gap_tune.tune.monitoring.progress.trials import (
    Shown,
    arm_of,
    label,
    momentum_of,
    reason_of,
    unit_of,
)
from gap_tune.tune.ray_private.results import last_result

_PENDING, _RUNNING, _PAUSED = "PENDING", "RUNNING", "PAUSED"
_TERMINATED, _ERROR = "TERMINATED", "ERROR"


@dataclass(frozen=True)
class Best:
    """The best value of the study's metric that a trial ends with, or has now."""

    value: float
    trial: str
    momentum: str


@dataclass(frozen=True)
class Snapshot:
    """A study at one moment.

    Attributes:
        finished: Number of trials that finished.
        failed: Number of trials that failed for good.
        paused: Number of trials that wait for the scheduler to go on.
        pending: Number of trials still to start.
        total: Number of trials that the study will run; None where nobody knows.
        share: How much of the study is done, 0 to 1; None where nobody knows.
        left_s: Estimated seconds until it ends; None where nobody knows.
        best: The best trial; None where the study has no metric, or no value of it yet.
        running: The trials that run.
        standing: The best that each arm has ended with.
        still: For how long nothing has moved, and why that may be; empty where something has.
    """

    finished: int
    failed: int
    paused: int
    pending: int
    total: int | None
    share: float | None
    left_s: float | None
    best: Best | None
    running: Sequence[Any] = field(repr=False)
    standing: Standing = field(repr=False)
    still: str = ""

    def counts(self) -> str:
        """Return the numbers of trials in one line."""
        of_total = "" if self.total is None else f" of {self.total}"
        others = {
            "running": len(self.running),
            "failed": self.failed,
            "paused": self.paused,
            "pending": self.pending,
        }
        some = [f"{count} {name}" for name, count in others.items() if count]
        return ", ".join([f"{self.finished}{of_total} finished", *some])

    def pace(self) -> str:
        """Return how much is done and how long the rest takes; empty where nobody knows."""
        if self.share is None:
            return ""
        left = "" if self.left_s is None else f", about {time_left(self.left_s)} left"
        return f"{self.share:.0%} done{left}"


class Tracker:
    """Follows the trials of a study, over several Ray Tune runs if it has them.

    Results cost nothing: what there is to know is read from the trials when it is to be shown.

    Args:
        total: Number of trials that the study will run; None where nobody knows yet.
        shown: Result keys.
    """

    def __init__(self, total: int | None, shown: Shown) -> None:
        self._total, self._shown = total, shown
        # Why each trial failed, or None, in the order in which they ended.
        self._ended: dict[str, str | None] = {}
        self._failed: dict[str, str] = {}
        self._best: Best | None = None
        # Those that finished, by their ids.
        self._finished: dict[str, Ended] = {}
        # When this process began to look, and how many trials' worth was done by then.
        self._begun: tuple[float, float] | None = None

    def __getstate__(self) -> dict[str, Any]:
        # The clock of another process says nothing.
        return {**self.__dict__, "_begun": None}

    def state(self) -> dict[str, Any]:
        """Return what a study that is restored needs."""
        return {
            "ended": dict(self._ended),
            "failed": dict(self._failed),
            "best": self._best,
            "finished": dict(self._finished),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Continue from what ``state`` returned."""
        self._ended, self._failed = dict(state["ended"]), dict(state["failed"])
        self._best = state["best"]
        # A study that another version began has none.
        self._finished = dict(state.get("finished", {}))

    @property
    def failures(self) -> Sequence[tuple[str, str]]:
        """The trials that failed and why, the latest first."""
        return [
            (name, self._ended[trial_id] or "") for trial_id, name in reversed(self._failed.items())
        ]

    @property
    def place(self) -> str:
        """How many trials ended, and of how many."""
        return f"{len(self._ended)}" + ("" if self._total is None else f" of {self._total}")

    def end(self, trial: Any, *, failed: bool) -> str:
        """Note that a trial has ended; return why it failed."""
        self._reopen(trial.trial_id)
        reason = (reason_of(trial) or "reason unknown") if failed else None
        self._ended[trial.trial_id] = reason
        if failed:
            self._failed[trial.trial_id] = label(trial)
        else:
            self._best = self._better(self._best, trial)
            value = self._shown.value(trial)
            self._finished[trial.trial_id] = Ended(arm_of(trial), unit_of(trial), value)
        return reason or ""

    def look(self, trials: Sequence[Any], now: float) -> Snapshot:
        """Return what there is to show.

        Args:
            trials: The trials of the present Ray Tune run.
            now: Seconds on a clock that never goes back.
        """
        by_status: dict[str, list[Any]] = {_PENDING: [], _RUNNING: [], _PAUSED: []}
        for trial in trials:
            status = trial.status
            if status in (_TERMINATED, _ERROR):
                # Trials of a study that was restored have ended unseen.
                if trial.trial_id not in self._ended:
                    self.end(trial, failed=status == _ERROR)
            else:
                self._reopen(trial.trial_id)
                by_status.setdefault(status, []).append(trial)
        running, paused = by_status[_RUNNING], by_status[_PAUSED]
        done, best = float(len(self._ended)), self._best
        for trial in (*running, *paused):
            done += self._shown.fraction(trial) or 0.0
            best = self._better(best, trial)
        open_ = len(running) + len(paused)
        known = self._total is not None
        pending = max(0, (self._total or 0) - len(self._ended) - open_)
        return Snapshot(
            finished=len(self._ended) - len(self._failed),
            failed=len(self._failed),
            paused=len(paused),
            pending=pending if known else len(by_status[_PENDING]),
            total=self._total,
            share=min(1.0, done / self._total) if self._total else None,
            left_s=self._left(done, running, now),
            best=best,
            running=running,
            standing=Standing(self._finished.values(), self._shown.better),
        )

    def _left(self, done: float, running: Sequence[Any], now: float) -> float | None:
        """Return the seconds that are left: at the study's pace, at least the slowest trial's."""
        if self._begun is None:
            self._begun = (now, done)
        begun_at, done_before = self._begun
        gained = done - done_before
        if self._total is None or gained <= 0:
            return None
        left = max(0.0, self._total - done) * (now - begun_at) / gained
        for trial in running:
            fraction = self._shown.fraction(trial) or 0.0
            seconds = finite(last_result(trial).get("time_total_s")) or 0.0
            if fraction > 0:
                left = max(left, seconds * (1 - fraction) / fraction)
        return left

    def _better(self, best: Best | None, trial: Any) -> Best | None:
        value = self._shown.value(trial)
        if value is None or (best is not None and not self._shown.better(value, best.value)):
            return best
        return Best(value, label(trial), momentum_of(trial))

    def _reopen(self, trial_id: str) -> None:
        # Ray starts failed trials again when a study is restored so.
        self._ended.pop(trial_id, None)
        self._failed.pop(trial_id, None)
        self._finished.pop(trial_id, None)


def best_line(best: Best, metric: str) -> str:
    """Return the best trial in one line.

    >>> best_line(Best(0.0123456, "gap seed 1", "0.9"), "validation_loss")
    'best validation_loss 0.01235: gap seed 1, momentum 0.9'
    """
    return f"best {metric} {as_reported(best.value)}: {best.trial}, momentum {best.momentum}"
