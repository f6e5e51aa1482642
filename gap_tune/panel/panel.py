"""run_panel: does what is left of a panel's runs, and says how many those are."""

from __future__ import annotations

import time
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console

from gap_tune.errors import check_count
from gap_tune.formatting import time_left
from gap_tune.panel.journal import Journal
from gap_tune.panel.running import Job, run
from gap_tune.panel.settings import PanelSettings
from gap_tune.records.panels import key_of, read_runs
from gap_tune.study.pool import results

# How often to say it where there is no terminal.
_EVERY_S = 30.0


def run_panel(
    settings: PanelSettings, folder: Path | str, *, cpus: int, console: Console | None = None
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Do the runs that the folder does not hold yet; return the panel's note and all runs.

    A panel that was killed goes on where it was; more arms than before may be asked for. Runs that
    failed are tried again.

    Args:
        settings: What to run.
        folder: Where ``panel.json`` and ``runs.jsonl`` are or will be.
        cpus: Processes, one core each.
        console: Where to say how far it is; default standard output.

    Raises:
        InvalidValueError: When the folder cannot be written or another panel runs in it.
        StateError: When it holds a panel of other settings, or a process was killed.
    """
    check_count("cpus", cpus)
    console = console or Console()
    journal = Journal(Path(folder).expanduser().resolve())
    jobs = plan(settings)
    with journal.held():
        note = journal.begin(settings)
        done = {key_of(row) for row in read_runs(journal.folder) if row["status"] != "failed"}
        left = [job for job in jobs if job.key not in done]
        console.print(
            f"{len(jobs):,} runs: {len(settings.settings)} settings x {settings.lr_count} learning "
            f"rates x {settings.seeds} seeds x {len(settings.arms)} arms; "
            f"{len(jobs) - len(left):,} of them done before",
            highlight=False,
        )
        with Remaining(len(jobs), len(jobs) - len(left), console) as remaining:
            for row in results(run, left, cpus) if left else ():
                journal.append(row)
                remaining.advance()
        found = {key_of(row): row for row in read_runs(journal.folder)}
        return note, [found[job.key] for job in jobs]


def plan(settings: PanelSettings) -> list[Job]:
    """Return all runs, seed by seed, so that pairs run close in time and the end can be told."""
    rates = {
        (setting.name, arm): settings.learning_rates(setting, arm)
        for setting in settings.settings
        for arm in settings.arms
    }
    return [
        Job(setting, arm, rates[setting.name, arm][rate], rate, seed)
        for seed in range(settings.seeds)
        for rate in range(settings.lr_count)
        for setting in settings.settings
        for arm in settings.arms
    ]


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
