"""run_panel: does what is left of a panel's runs, and says how many those are."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console

from gap_tune.formatting import time_left
from gap_tune.panel.journal import Journal
from gap_tune.panel.settings import PanelSettings
from gap_tune.records.panels import key_of, read_runs
from gap_tune.study.suite.runner import Runner
from gap_tune.study.suite.running import Line

# How often to say it where there is no terminal.
_EVERY_S = 30.0


def run_panel(
    settings: PanelSettings, folder: Path | str, runner: Runner, *, console: Console | None = None
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Do the runs that the folder does not hold yet; return the panel's note and all runs.

    A panel that was killed goes on where it was; more arms than before may be asked for. Runs that
    failed are tried again.

    Args:
        settings: What to run.
        folder: Where ``panel.json`` and ``runs.jsonl`` are or will be.
        runner: Does the runs.
        console: Where to say how far it is; default standard output.

    Raises:
        InvalidValueError: When the folder cannot be written or another panel runs in it.
        StateError: When it holds a panel of other settings, or a run was cut off.
    """
    console = console or Console()
    journal = Journal(Path(folder).expanduser().resolve())
    jobs = settings.suite().jobs()
    with journal.held():
        note = journal.begin(settings)
        known = {key_of(row) for row in read_runs(journal.folder) if row["status"] != "failed"}
        left = [job for job in jobs if job.key not in known]
        console.print(
            f"{len(jobs):,} runs: {len(settings.settings)} settings x {settings.lr_count} learning "
            f"rates x {settings.seeds} seeds x {len(settings.arms)} arms; "
            f"{len(jobs) - len(left):,} of them done before",
            highlight=False,
        )
        if left:
            with Remaining(len(jobs), len(jobs) - len(left), console) as remaining:
                runner.run(left, partial(_keep, journal, remaining))
        found = {key_of(row): row for row in read_runs(journal.folder)}
        return note, [found[job.key] for job in jobs]


def _keep(journal: Journal, remaining: Remaining, row: Line) -> None:
    journal.append(row)
    remaining.advance()


class Remaining:
    """Says where a panel is: a line that changes in a terminal, one every half minute elsewhere.

    Args:
        total: Runs of the panel.
        done: Runs that an earlier session did.
        console: Where to say it.
    """

    def __init__(self, total: int, done: int, console: Console) -> None:
        self._total, self._before, self._now = total, done, 0
        self._console = console
        self._status = console.status("starting")
        self._since = self._said = time.monotonic()

    def __enter__(self) -> Remaining:
        if self._console.is_terminal:
            self._status.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._status.stop()

    def advance(self) -> None:
        """Count a run."""
        self._now += 1
        now = time.monotonic()
        text = line(self._total, self._before, self._now, now - self._since)
        if self._console.is_terminal:
            self._status.update(text)
        elif now - self._said >= _EVERY_S:
            self._said = now
            self._console.print(text, highlight=False)


def line(total: int, before: int, now: int, seconds: float) -> str:
    """Return the line.

    Args:
        total: Runs of the panel.
        before: Runs of earlier sessions.
        now: Runs of this session, at least one.
        seconds: How long this session has been at it.

    >>> line(100, 10, 30, 60.0)
    '40 of 100 runs, about 2 min left'
    """
    left = (total - before - now) * seconds / now
    return f"{before + now:,} of {total:,} runs, about {time_left(left)} left"
