"""Progress: shows a study while it runs, in a terminal, a log or a pipe."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from ray.tune import Callback
from rich.console import Console

from gap_tune.errors import InvalidValueError, check_range, did_you_mean
from gap_tune.tune import keys
from gap_tune.tune.monitoring.callbacks import contained
from gap_tune.tune.monitoring.progress.pace import Pace
from gap_tune.tune.monitoring.progress.stillness import Machines, Stillness, told
from gap_tune.tune.monitoring.progress.table import Screen
from gap_tune.tune.monitoring.progress.tracker import Tracker
from gap_tune.tune.monitoring.progress.trials import Shown
from gap_tune.tune.monitoring.progress.views import Events, Failures, Lines, View

logger = logging.getLogger(__name__)

AUTO = "auto"
_VIEWS: Mapping[str, type[View]] = MappingProxyType(
    {"table": Screen, "lines": Lines, "json": Events, "quiet": Failures}
)
STYLES = (AUTO, *_VIEWS)


class Progress(Callback):
    """Shows how a study is: numbers of trials, the time left, the best, what runs, what failed.

    | style | |
    |---|---|
    | ``table`` | one screen, redrawn in place, at any number of trials and any width |
    | ``lines`` | one line per trial that ended, and every 30 seconds how the study is |
    | ``json`` | one JSON object per event, each on a line |
    | ``quiet`` | one line per trial that failed |
    | ``auto`` | ``table`` in a terminal that can redraw, ``lines`` in a file, a pipe, a dumb one |

    ``table`` and ``lines`` say of each arm what its trials ended with so far, and that this is no
    answer yet; where nothing has moved for a minute, or for three times as long as reports usually
    take, they say what may be the cause.

    It takes at most one per cent of the driver's time: a terminal that draws slowly is redrawn
    less often than twice a second. A study of several Ray Tune runs can share one.

    Args:
        total: Number of trials that the study will run; None where nobody knows yet.
        style: One of ``STYLES``.
        metric: Result key of the study's metric, for the best trial; None for none. Of several
            objectives the first counts.
        mode: "min" or "max", or one for each of several objectives.
        epoch: Result key of the epoch.
        epochs: Its value when a trial is done, for bars and the time left; without it only trials
            that ended count.
        loss: Result key of the loss.
        accuracy: Result key of the accuracy.
        console: Where to show it; default standard output.

    Raises:
        InvalidValueError: When style or mode is unknown, or ``epochs`` is not positive.

    >>> Progress(12, style="loud")
    Traceback (most recent call last):
    ...
    gap_tune.errors.InvalidValueError: style must be one of ('auto', 'table', 'lines', 'json', \
'quiet'), but got 'loud'.
    """

    def __init__(
        self,
        total: int | None,
        *,
        style: str = AUTO,
        metric: str | Sequence[str] | None = "validation_loss",
        mode: str | Sequence[str] = "min",
        epoch: str = "epoch",
        epochs: float | None = None,
        loss: str = "validation_loss",
        accuracy: str = "validation_accuracy",
        console: Console | None = None,
    ) -> None:
        if style not in STYLES:
            raise InvalidValueError(
                f"style must be one of {STYLES}, but got {style!r}.{did_you_mean(style, STYLES)}"
            )
        name, first_mode = keys.first_objective(metric, mode)
        first_mode = keys.check_objective_mode(first_mode)
        if epochs is not None:
            check_range("epochs", epochs, 0, float("inf"), low_open=True)
        self._style = style
        self._shown = Shown(epoch, epochs, name, first_mode, loss, accuracy)
        self._tracker = Tracker(total, self._shown)
        self._console = console
        self._view: View | None = None
        self._pace: Pace | None = None
        self._stillness: Stillness | None = None

    def __getstate__(self) -> dict[str, Any]:
        # Ray saves callbacks with the study; a terminal cannot be saved.
        return {**self.__dict__, "_console": None, "_view": None, "_pace": None, "_stillness": None}

    def get_state(self) -> dict[str, Any]:
        """Return what a study that is restored needs."""
        return self._tracker.state()

    @contained
    def set_state(self, state: dict[str, Any]) -> None:
        """Continue from what ``get_state`` returned."""
        self._tracker.load(state)

    @contained
    def setup(self, **info: Any) -> None:
        """Start to show a Ray Tune run."""
        console = self._console or Console()
        style = self._style
        if style == AUTO:
            redraws = console.is_terminal and not console.is_dumb_terminal
            style = "table" if redraws else "lines"
        self._view = _VIEWS[style](console, self._shown, self._tracker)
        every_s = self._view.every_s
        self._pace = None if every_s is None else Pace(every_s)
        self._stillness = Stillness()
        self._view.start()

    @contained
    def on_step_end(self, iteration: int, trials: Sequence[Any], **info: Any) -> None:
        """Show how the study is, when it is time."""
        pace, view = self._pace, self._view
        if pace is None or view is None or not pace.due():
            return
        # What fails once, such as a terminal that has gone, must not fail twice a second.
        self._pace = None
        with pace.shown() as now:
            snapshot = self._tracker.look(trials, now)
            view.refresh(replace(snapshot, still=self._still(trials)))
        self._pace = pace

    def _still(self, trials: Sequence[Any]) -> str:
        seconds = self._stillness.seconds() if self._stillness is not None else None
        if seconds is None:
            return ""
        try:
            return told(seconds, trials, Machines.now())
        except Exception:
            # The screen itself must go on: Ray may be about to end.
            logger.debug("the cause of stillness is not known", exc_info=True)
            return told(seconds, [], Machines())

    def _moved(self, *, reported: bool = False) -> None:
        if self._stillness is not None:
            self._stillness.moved(reported=reported)

    @contained
    def on_trial_start(
        self, iteration: int, trials: Sequence[Any], trial: Any, **info: Any
    ) -> None:
        """Show that a trial starts."""
        self._moved()
        if self._view is not None:
            self._view.started(trial)

    @contained
    def on_trial_result(
        self, iteration: int, trials: Sequence[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Show a result."""
        self._moved(reported=True)
        if self._view is not None:
            self._view.reported(trial, result)

    @contained
    def on_trial_complete(
        self, iteration: int, trials: Sequence[Any], trial: Any, **info: Any
    ) -> None:
        """Show a finished trial."""
        self._end(trial, failed=False)

    @contained
    def on_trial_error(
        self, iteration: int, trials: Sequence[Any], trial: Any, **info: Any
    ) -> None:
        """Show a failed trial."""
        self._end(trial, failed=True)

    @contained
    def on_experiment_end(self, trials: Sequence[Any], **info: Any) -> None:
        """Stop showing this Ray Tune run."""
        view, self._view, self._pace = self._view, None, None
        if view is not None:
            view.close(self._tracker.look(trials, time.monotonic()))

    def _end(self, trial: Any, *, failed: bool) -> None:
        self._moved()
        reason = self._tracker.end(trial, failed=failed)
        if self._view is not None:
            self._view.ended(trial, failed=failed, reason=reason)
