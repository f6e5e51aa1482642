"""run_panel: does what is left of a panel's runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console

from gap_tune.errors import check_count
from gap_tune.panel.journal import Journal
from gap_tune.panel.pool import results
from gap_tune.panel.progress import Progress
from gap_tune.panel.running import Job
from gap_tune.panel.settings import PanelSettings
from gap_tune.records.panels import key_of, read_runs


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
        with Progress(len(jobs), len(jobs) - len(left), console) as progress:
            for row in results(left, cpus) if left else ():
                journal.append(row)
                progress.advance()
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
