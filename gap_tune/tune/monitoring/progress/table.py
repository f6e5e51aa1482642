"""Screen: the best trial, those that run and those that failed, on one screen of a terminal."""

from __future__ import annotations

import atexit
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rich import box
from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from gap_tune.formatting import as_reported, plain
from gap_tune.tune import keys, nested
from gap_tune.tune.monitoring.progress.tracker import Snapshot, Tracker, best_line
from gap_tune.tune.monitoring.progress.trials import (
    Shown,
    agreement_of,
    arm_of,
    changes_of,
    momentum_of,
    scale_of,
    which,
)
from gap_tune.tune.monitoring.progress.views import View
from gap_tune.tune.monitoring.ray_dashboard import links_line
from gap_tune.tune.ray_private.results import last_result

_BAR, _WHOLE_BAR = 8, 24
# The heading of the table, its rule and the prompt below.
_FRAME_LINES = 3
_MOST_FAILURES = 5
# A terminal that is lower shows trials instead of what arms have ended with.
_LOW = 16
_FEWEST_ROWS = 2


@dataclass(frozen=True)
class _Column:
    heading: str
    cells: Sequence[str | ProgressBar]
    justify: Literal["left", "right"] = "right"
    # Columns of high rank go first where the terminal is narrow; rank 0 stays.
    rank: int = 0

    @property
    def width(self) -> int:
        texts = [cell_len(cell) if isinstance(cell, str) else _BAR for cell in self.cells]
        return max([cell_len(self.heading), *texts])


class Screen(View):
    """Redraws one screen in place."""

    every_s = 0.5

    def __init__(self, console: Console, shown: Shown, tracker: Tracker) -> None:
        super().__init__(console, shown, tracker)
        self._live: Live | None = None
        self._links = ""

    def start(self) -> None:
        """Take over the lower part of the terminal."""
        self._links = links_line()
        self._live = Live(console=self.console, auto_refresh=False, transient=True)
        self._live.start()
        # It hides the cursor, which must come back however the study ends.
        atexit.register(self._stop)

    def refresh(self, snapshot: Snapshot) -> None:
        """Redraw."""
        if self._live is not None:
            self._live.update(self.render(snapshot), refresh=True)

    def close(self, snapshot: Snapshot) -> None:
        """Give the terminal back; the table goes, the summary that follows stays."""
        self._stop()

    def _stop(self) -> None:
        atexit.unregister(self._stop)
        if self._live is not None:
            self._live.stop()
            self._live = None

    def render(self, snapshot: Snapshot) -> RenderableType:
        """Return the whole screen, no longer than the terminal is high."""
        top = list(self._top(snapshot))
        failures = list(self._failures())
        room = self.console.height - len(top) - len(failures) - _FRAME_LINES
        rows = snapshot.running[: max(_FEWEST_ROWS, room)]
        more = len(snapshot.running) - len(rows)
        # The line that says so takes the place of a row.
        rows = rows[: len(rows) - 1] if more else rows
        parts: list[RenderableType] = [*top, *([self._table(rows)] if rows else [])]
        if more:
            parts.append(self._line(f"and {more + 1} more that run", "dim"))
        return Group(*parts, *failures)

    def _top(self, snapshot: Snapshot) -> Iterator[RenderableType]:
        yield self._line(snapshot.counts(), "bold")
        if snapshot.share is not None:
            grid = Table.grid(padding=(0, 2, 0, 0))
            bar = ProgressBar(total=1.0, completed=snapshot.share, width=_WHOLE_BAR)
            grid.add_row(bar, self._line(snapshot.pace()))
            yield grid
        if snapshot.best is not None:
            yield self._line(best_line(snapshot.best, self.shown.metric or ""))
        if self.console.height >= _LOW:
            for line in snapshot.standing.lines(self.console.width):
                yield self._line(line)
            if self._links and cell_len(self._links) <= self.console.width:
                yield self._line(self._links, "dim")
        if snapshot.still:
            for line in textwrap.wrap(snapshot.still, self.console.width, break_on_hyphens=False):
                yield self._line(line, "yellow")

    def _failures(self) -> Iterator[Text]:
        failures = self.tracker.failures
        most = min(_MOST_FAILURES, max(1, self.console.height // 5))
        for name, reason in failures[:most]:
            yield self._line(f"failed: {name}: {reason}", "red")
        if len(failures) > most:
            yield self._line(f"and {len(failures) - most} more that failed", "red")

    def _table(self, trials: Sequence[Any]) -> Table:
        table = Table(
            # Frames would take the columns that headings need in 80.
            box=box.SIMPLE_HEAD,
            padding=0,
            show_edge=False,
        )
        columns = self._fitting(self._columns(trials))
        for column in columns:
            table.add_column(
                Text(column.heading),
                justify=column.justify,
                no_wrap=True,
                overflow=self._overflow,
            )
        for cells in zip(*(column.cells for column in columns), strict=True):
            table.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in cells))
        return table

    def _columns(self, trials: Sequence[Any]) -> list[_Column]:
        columns = [
            _Column("arm", [arm_of(trial) for trial in trials], "left"),
            _Column("trial", [which(trial) for trial in trials], "left"),
        ]
        fractions = [self.shown.fraction(trial) for trial in trials]
        bars = [ProgressBar(total=1.0, completed=f, width=_BAR) for f in fractions if f is not None]
        if bars:
            columns.append(_Column("done", bars, "left", rank=4))
        results = [last_result(trial) for trial in trials]
        progress = self.shown.epoch
        if not any(nested.holds(result, progress) for result in results):
            progress = "training_iteration"
        values = {self.shown.counted if progress == self.shown.epoch else "report": progress}
        for rank, (heading, key) in enumerate((values | self.shown.values()).items()):
            if any(nested.holds(result, key) for result in results):
                cells = [as_reported(nested.get(result, key)) for result in results]
                columns.append(_Column(plain(heading), cells, rank=(1, 0, 5)[rank]))
        columns.append(_Column("momentum", [momentum_of(trial) for trial in trials]))
        if any(keys.SCALE in result for result in results):
            columns.append(_Column("scale", [scale_of(trial) for trial in trials], rank=2))
        if any(keys.AGREEMENT in result for result in results):
            columns.append(_Column("agreement", [agreement_of(trial) for trial in trials], rank=3))
        columns.append(_Column("changes", [changes_of(trial) for trial in trials], rank=6))
        return columns

    def _fitting(self, columns: list[_Column]) -> list[_Column]:
        """Return the columns for which the terminal is wide enough."""
        for rank in (6, 5, 4, 3, 2, 1):
            if sum(column.width + 1 for column in columns) - 1 <= self.console.width:
                break
            columns = [column for column in columns if column.rank != rank]
        return columns

    def _line(self, text: str, style: str = "") -> Text:
        return Text(plain(text), style=style, no_wrap=True, overflow=self._overflow)

    @property
    def _overflow(self) -> Literal["crop", "ellipsis"]:
        return "crop" if self.console.options.ascii_only else "ellipsis"
