"""SchedulerWrapper: a trial scheduler that leaves everything to another one."""

from __future__ import annotations

from typing import Any

from ray.tune.schedulers import (
    HyperBandScheduler,
    PopulationBasedTraining,
    PopulationBasedTrainingReplay,
    TrialScheduler,
)

from gap_tune.errors import UnsupportedError
from gap_tune.tune.ray_private.fifo import LiveFIFO, runs_in_order
from gap_tune.tune.ray_private.schedulers import base_scheduler

# They are told by class, so that what is derived from them (PB2, HyperBandForBOHB) is refused too.
_NOT_WRAPPED = {
    PopulationBasedTraining: "refuses every Searcher and pauses trials all the time: run it as a "
    "study of its own",
    PopulationBasedTrainingReplay: "pauses its only trial to replace its configuration, momentum "
    "included: replay momentum with GapScheduler(rule=MomentumSchedule.from_decisions(...)), or "
    "run it as a study of its own",
    HyperBandScheduler: "hangs now and then even alone: use ASHAScheduler",
}


class SchedulerWrapper(TrialScheduler):
    """Forwards every question to the wrapped scheduler.

    Args:
        scheduler: The scheduler to wrap; default FIFO.

    Raises:
        UnsupportedError: When ``scheduler`` is no trial scheduler or one that cannot be wrapped.
    """

    # None also where a study goes on that an earlier version began.
    _order: LiveFIFO | None = None
    # What the study compares trials by: a metric, or several; None until Ray has told.
    _judged: Any = None

    def __init__(self, scheduler: TrialScheduler | None = None) -> None:
        super().__init__()
        self._inner = LiveFIFO() if scheduler is None else scheduler
        _check(self._inner)
        # Most run trials in order, and ask each that there ever was whether it waits.
        self._order = LiveFIFO() if runs_in_order(self._inner) else None

    @property
    def metric(self) -> str | None:
        """The metric of the wrapped scheduler."""
        metric: str | None = self._inner.metric
        return metric

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """Pass metric and mode to the wrapped scheduler."""
        self._judged = metric or self._inner.metric
        return bool(self._inner.set_search_properties(metric, mode, **spec))

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Return what the wrapped scheduler says."""
        action: str = self._inner.on_trial_result(tune_controller, trial, result)
        return action

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Forward to the wrapped scheduler."""
        if self._order is not None:
            self._order.on_trial_add(tune_controller, trial)
        self._inner.on_trial_add(tune_controller, trial)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Forward to the wrapped scheduler."""
        if self._order is not None:
            self._order.on_trial_error(tune_controller, trial)
        self._inner.on_trial_error(tune_controller, trial)

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Forward to the wrapped scheduler."""
        if self._order is not None:
            self._order.on_trial_complete(tune_controller, trial, result)
        self._inner.on_trial_complete(tune_controller, trial, result)

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        """Forward to the wrapped scheduler."""
        if self._order is not None:
            self._order.on_trial_remove(tune_controller, trial)
        self._inner.on_trial_remove(tune_controller, trial)

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """Return what the wrapped scheduler would, without looking at trials that have ended."""
        return (self._order or self._inner).choose_trial_to_run(tune_controller)

    def debug_string(self) -> str:
        """Describe the wrapped scheduler."""
        return str(self._inner.debug_string())

    def save(self, checkpoint_path: str) -> None:
        """Save the wrapped scheduler."""
        self._inner.save(checkpoint_path)

    def restore(self, checkpoint_path: str) -> None:
        """Restore the wrapped scheduler."""
        self._inner.restore(checkpoint_path)


def _check(scheduler: Any) -> None:
    if not isinstance(scheduler, TrialScheduler):
        raise UnsupportedError(
            "scheduler must be a ray.tune.schedulers.TrialScheduler, "
            f"but got {type(scheduler).__name__}."
        )
    innermost = scheduler
    while innermost is not None:
        _check_kind(innermost)
        innermost = base_scheduler(innermost)


def _check_kind(scheduler: Any) -> None:
    reasons = [reason for kind, reason in _NOT_WRAPPED.items() if isinstance(scheduler, kind)]
    if isinstance(scheduler, SchedulerWrapper):
        reasons = ["would decide everything twice: pass it to tune.TuneConfig as it is"]
    if reasons:
        raise UnsupportedError(
            "scheduler must be one that leaves trials running, such as ASHAScheduler, but "
            f"got {type(scheduler).__name__}, which {reasons[0]}."
        )
