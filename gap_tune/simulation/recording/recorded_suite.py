"""What is recorded: settings of the panel, arms, learning rates, and how to do it all."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from gap_tune.files import write_text
from gap_tune.panel.settings import DEVELOPMENT, PanelSettings, read_settings
from gap_tune.simulation.recording.moments import record, time_run
from gap_tune.study.suite.continuing import run_suite
from gap_tune.study.suite.pool import PoolRunner
from gap_tune.study.suite.suite import Suite

KIND = "recorded"
TIMING_FILE = "timing.jsonl"
REPORTS = 20
MOMENTA = (0.0, 0.5, 0.8, 0.9, 0.95, 0.99)
TUNED, UNSCALED = "gap", "gap-unscaled"
ARMS = (TUNED, UNSCALED, *(f"fixed:{momentum:g}" for momentum in MOMENTA))
LEARNING_RATES, SPAN = 15, 100.0
# Each is a second of its kind, and among those that take longest.
_LEFT_OUT = ("characters, adamw", "cnn, adamw, batch 16, 40 % noise")
# Enough that the quickest of them is one that nothing disturbed.
_TIMED = 3


def shipped_panel() -> PanelSettings:
    """Return the settings of the table that gap_tune ships: twelve of the development half.

    >>> len(shipped_panel().settings)
    12
    """
    return read_settings().of_half(DEVELOPMENT).without(_LEFT_OUT)


def recorded_suite(
    panel: PanelSettings,
    *,
    arms: Sequence[str] = ARMS,
    lr_count: int = LEARNING_RATES,
    lr_span: float = SPAN,
    seeds: int = 4,
    reports: int = REPORTS,
) -> Suite:
    """Return the runs to record: every setting and arm, at all learning rates, on all seeds.

    Args:
        panel: Whose settings to take.
        arms: Names of the arms.
        lr_count: How many learning rates, equally spaced in their logarithm.
        lr_span: Largest over smallest; the setting's own is in their middle.
        seeds: Number of seeds.
        reports: How many reports a run makes, evenly spread, each with the test loss.
    """
    whole = replace(panel, arms=tuple(arms), lr_count=lr_count, lr_span=lr_span, seeds=seeds)
    suite = whole.suite()
    shown = {"reports": reports, "test_at_reports": True}
    settings = {
        name: replace(conditions, settings={**conditions.settings, **shown})
        for name, conditions in suite.settings.items()
    }
    return replace(suite, settings=settings)


def record_suite(
    suite: Suite, folder: Path | str, cpus: int, *, console: Console | None = None
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Do the runs that the folder does not hold yet, then time some; errors as of ``run_suite``.

    Args:
        suite: What to record.
        folder: Where ``recorded.json``, ``runs.jsonl`` and ``timing.jsonl`` are or will be.
        cpus: Processes, one core each.
        console: Where to say how far it is; default standard output.

    Returns:
        What the suite is, and all runs.
    """
    console = console or Console()
    folder = Path(folder).expanduser().resolve()
    note, rows = run_suite(suite, folder, PoolRunner(cpus, record), kind=KIND, console=console)
    if not (folder / TIMING_FILE).exists():
        console.print("timing", highlight=False)
        measure_times(suite, folder, cpus)
    return note, rows


def measure_times(suite: Suite, folder: Path, cpus: int) -> None:
    """Time some plain runs of every setting and arm at the middle learning rate, and write that."""
    lines: list[dict[str, Any]] = []
    middle = [job for job in suite.jobs() if job.config["rate"] == suite.lr_count // 2]
    few = [job for job in middle if job.config["seed"] < _TIMED]
    PoolRunner(cpus, time_run).run(few, lines.append)
    write_text(folder / TIMING_FILE, "".join(json.dumps(line) + "\n" for line in lines))
