"""run_suite: does what is left of a suite's runs."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from gap_tune.records.suites import key_of, read_runs
from gap_tune.study.suite.journal import Journal
from gap_tune.study.suite.remaining import Remaining
from gap_tune.study.suite.runner import Runner
from gap_tune.study.suite.running import Line
from gap_tune.study.suite.suite import Suite


def run_suite(
    suite: Suite,
    folder: Path | str,
    runner: Runner,
    *,
    kind: str = "suite",
    described: Mapping[str, Any] | None = None,
    console: Console | None = None,
) -> tuple[dict[str, Any], list[Line]]:
    """Do the runs that the folder does not hold yet; return the suite's note and all runs.

    A suite that was killed goes on where it was; more arms than before may be asked for. Runs that
    failed are tried again.

    Args:
        suite: What to run.
        folder: Where ``<kind>.json`` and ``runs.jsonl`` are or will be.
        runner: Does the runs.
        kind: What messages and the note's file call the suite.
        described: What the note says that later sessions must ask for again; default
            ``suite.describe()``. It holds at least the names of that.
        console: Where to say how far it is; default standard output.

    Raises:
        InvalidValueError: When the folder cannot be written or another suite runs in it.
        StateError: When it holds a suite of other settings, or a run was cut off.

    >>> from tempfile import mkdtemp
    >>> from gap_tune.study import parse_arm
    >>> from gap_tune.study.conditions import Conditions
    >>> from gap_tune.study.suite.running import run
    >>> class Here:
    ...     def run(self, jobs, done):
    ...         for job in jobs:
    ...             done(run(job))
    >>> task = {"workload": "logistic", "family": "sgd", "batch_size": 64, "epochs": 1}
    >>> tables = {"tables": Conditions(task, 0.1, (0.1, 0.1), "validation_loss", "min")}
    >>> suite = Suite(tables, (parse_arm("gap"),), seeds=1, lr_span=10.0, lr_count=2)
    >>> folder = mkdtemp()
    >>> note, rows = run_suite(suite, folder, Here())
    2 runs: 1 settings x 2 learning rates x 1 seeds x 1 arms; 0 of them done before
    >>> again = run_suite(suite, folder, Here())
    2 runs: 1 settings x 2 learning rates x 1 seeds x 1 arms; 2 of them done before
    >>> again == (note, rows), [row["status"] for row in rows]
    (True, ['finished', 'finished'])
    """
    console = console or Console()
    journal = Journal(Path(folder).expanduser().resolve(), kind)
    jobs = suite.jobs()
    with journal.held():
        note = journal.begin(suite.describe() if described is None else described)
        known = {key_of(row) for row in read_runs(journal.folder) if row["status"] != "failed"}
        left = [job for job in jobs if job.key not in known]
        done = len(jobs) - len(left)
        console.print(
            f"{len(jobs):,} runs: {len(suite.settings)} settings x {suite.lr_count} learning "
            f"rates x {suite.seeds} seeds x {len(suite.arms)} arms; {done:,} of them done before",
            highlight=False,
        )
        if left:
            with Remaining(len(jobs), done, console) as remaining:
                runner.run(left, partial(_keep, journal, remaining))
        found = {key_of(row): row for row in read_runs(journal.folder)}
        return note, [found[job.key] for job in jobs]


def _keep(journal: Journal, remaining: Remaining, row: Line) -> None:
    journal.append(row)
    remaining.advance()
