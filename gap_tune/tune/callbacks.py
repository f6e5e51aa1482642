"""ProgressTable: a live table of a study's trials, plain lines where there is no terminal."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from ray.tune import Callback
from rich import box
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from gap_tune.tune import keys

logger = logging.getLogger(__name__)

_REFRESH_S = 0.5
_HEARTBEAT_S = 15.0
_RUNNING, _ERROR, _TERMINATED = "RUNNING", "ERROR", "TERMINATED"
_ORDER = {_RUNNING: 0, _ERROR: 1, _TERMINATED: 2}
# Lines that the table's frame, its title and the prompt below it take.
_FRAME_LINES = 7


def contained(method: Callable[..., None]) -> Callable[..., None]:
    """Log instead of raise: an exception in a callback would end the whole study."""

    @functools.wraps(method)
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> None:
        try:
            method(self, *args, **kwargs)
        except Exception:
            logger.warning("%s.%s failed", type(self).__name__, method.__name__, exc_info=True)

    return wrapper


class ProgressTable(Callback):
    """Shows arm, trial, epoch, loss, accuracy, momentum and its changes of running trials.

    In a terminal it is one table, redrawn in place and cut to the terminal's height: running
    trials first, then failed, then the latest finished. Elsewhere (a file, a pipe) it prints one
    line per finished trial and one now and then for what runs.

    Args:
        total: Number of trials that the study will run; None where nobody knows yet.
        epoch: Result key of the epoch.
        loss: Result key of the loss.
        accuracy: Result key of the accuracy.
        console: Where to draw; default standard output.
    """

    def __init__(
        self,
        total: int | None,
        *,
        epoch: str = "epoch",
        loss: str = "validation_loss",
        accuracy: str = "validation_accuracy",
        console: Console | None = None,
    ) -> None:
        self._total = total
        self._names = (epoch, loss, accuracy)
        self._console = console
        self._live: Live | None = None
        self._drawn_at = 0.0
        self._ended: list[str] = []

    def __getstate__(self) -> dict[str, Any]:
        # Ray saves callbacks with the study; a terminal cannot be saved.
        return {**self.__dict__, "_console": None, "_live": None}

    @contained
    def setup(self, **info: Any) -> None:
        """Start drawing."""
        self._console = self._console or Console()
        self._drawn_at = time.monotonic()
        if self._console.is_terminal:
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()

    @contained
    def on_step_end(self, iteration: int, trials: Sequence[Any], **info: Any) -> None:
        """Redraw, or print a sign of life, when it is time."""
        now = time.monotonic()
        if now - self._drawn_at < (_REFRESH_S if self._live else _HEARTBEAT_S):
            return
        self._drawn_at = now
        if self._live:
            self._live.update(self._table(trials), refresh=True)
        else:
            for trial in trials:
                if trial.status == _RUNNING:
                    self._line(trial, "running")

    @contained
    def on_trial_complete(
        self, iteration: int, trials: Sequence[Any], trial: Any, **info: Any
    ) -> None:
        """Note a finished trial."""
        self._end(trial, "finished")

    @contained
    def on_trial_error(
        self, iteration: int, trials: Sequence[Any], trial: Any, **info: Any
    ) -> None:
        """Note a failed trial."""
        self._end(trial, "failed")

    @contained
    def on_experiment_end(self, trials: Sequence[Any], **info: Any) -> None:
        """Stop drawing; the table goes, the summary that follows stays."""
        if self._live:
            self._live.stop()
            self._live = None

    def _end(self, trial: Any, how: str) -> None:
        if trial.trial_id not in self._ended:
            self._ended.append(trial.trial_id)
        if not self._live:
            self._line(trial, f"{how} ({len(self._ended)}{self._of_total})")

    @property
    def _of_total(self) -> str:
        return "" if self._total is None else f" of {self._total}"

    def _line(self, trial: Any, state: str) -> None:
        arm, seed, epoch, loss, accuracy, momentum, changes = self._cells(trial)
        console = self._console or Console()
        console.print(
            f"{arm} {seed}: {state}, epoch {epoch}, loss {loss}, accuracy {accuracy}, "
            f"momentum {momentum}, {changes} changes",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )

    def _table(self, trials: Sequence[Any]) -> Table:
        counts = {status: sum(t.status == status for t in trials) for status in _ORDER}
        table = Table(
            title=f"{counts[_TERMINATED]}{self._of_total} trials finished, "
            f"{counts[_RUNNING]} running, {counts[_ERROR]} failed",
            title_justify="left",
            # Frames would take the columns that headings need in 80.
            box=box.SIMPLE_HEAD,
            padding=(0, 1, 0, 0),
            show_edge=False,
        )
        for name in ("arm", "trial"):
            table.add_column(name, overflow="ellipsis", no_wrap=True)
        for name in ("epoch", "loss", "accuracy", "momentum", "changes"):
            table.add_column(name, justify="right", no_wrap=True)
        started = [t for t in trials if t.status in _ORDER]
        age = {trial_id: place for place, trial_id in enumerate(self._ended)}
        started.sort(key=lambda t: (_ORDER[t.status], -age.get(t.trial_id, 0)))
        height = self._console.height if self._console else 25
        for trial in started[: max(3, height - _FRAME_LINES)]:
            style = {_RUNNING: "bold", _ERROR: "red"}.get(trial.status, "dim")
            table.add_row(*(Text(cell) for cell in self._cells(trial)), style=style)
        return table

    def _cells(self, trial: Any) -> tuple[str, ...]:
        result = trial.last_result or {}
        epoch, loss, accuracy = (_number(result.get(name)) for name in self._names)
        seed = trial.config.get("seed")
        return (
            str(trial.config.get("arm", trial.trainable_name)),
            trial.trial_id if seed is None else f"seed {seed}",
            epoch,
            loss,
            accuracy,
            _number(result.get(keys.MOMENTUM)),
            _number(result.get(keys.SEQ)),
        )


def _number(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return "-" if value is None else str(value)
