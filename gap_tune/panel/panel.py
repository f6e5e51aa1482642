"""run_panel: does what is left of a panel's runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console

from gap_tune.panel.settings import PanelSettings
from gap_tune.study.suite.continuing import run_suite
from gap_tune.study.suite.runner import Runner


def run_panel(
    settings: PanelSettings, folder: Path | str, runner: Runner, *, console: Console | None = None
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Do the runs that the folder does not hold yet, as ``run_suite`` does.

    Args:
        settings: What to run.
        folder: Where ``panel.json`` and ``runs.jsonl`` are or will be.
        runner: Does the runs.
        console: Where to say how far it is; default standard output.

    Returns:
        What the panel is, and all runs.

    Raises:
        InvalidValueError: When the folder cannot be written or another panel runs in it.
        StateError: When it holds a panel of other settings, or a run was cut off.
    """
    return run_suite(
        settings.suite(),
        folder,
        runner,
        kind="panel",
        described=settings.describe(),
        console=console,
    )
