"""What runs a study and shows it, and the command that continues one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from gap_tune.cli.group import Failed
from gap_tune.cli.options import Style
from gap_tune.cli.reporting import present

if TYPE_CHECKING:
    from gap_tune.study import Records, Study
    from gap_tune.study.conditions import Conditions


def resume(
    folder: Annotated[
        str, typer.Argument(metavar="FOLDER|URI", help="Where a killed study's results are.")
    ],
    progress: Style = "auto",
) -> None:
    """Continue a study whose driver was killed: trials go on from their checkpoints."""
    from gap_tune.study import Study

    study = Study.restore(folder)
    run_study(study, study.resume, progress)


def run_study(study: Study, go: Callable[[list[Any]], Records], style: str) -> None:
    """Run a study, show its progress, and present what it has found.

    Args:
        study: The study.
        go: Its method that starts it, or continues it, with callbacks.
        style: How to show its progress.

    Raises:
        Failed: When every trial of it failed; the report is written all the same.
    """
    import optuna

    from gap_tune.tune.monitoring.progress import Progress
    from gap_tune.tune.monitoring.ray_dashboard import DashboardLink

    # The table shows what optuna would say of every trial.
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    # What reads JSON lines from standard output must find nothing else there.
    console = Console(stderr=style == "json")
    total = study.total_trials()
    conditions = study.conditions
    console.print(_announced(study, total), highlight=False, soft_wrap=True)
    progress = Progress(
        total,
        style=style,
        metric=conditions.metric,
        mode=conditions.mode,
        epochs=conditions.epochs,
    )
    records = go([DashboardLink(stderr=style == "json"), progress])
    present(records, study.folder, study.store, console)
    _check_trials(records, study)


def _announced(study: Study, total: int | None) -> str:
    conditions = study.conditions
    trials = "trials" if total is None else f"{total} trials"
    return (
        f"{trials}: {len(study.arms)} arms x {study.seeds} seeds, {study.plan.budget_text}, "
        f"{conditions.epochs} epochs of {conditions.settings['workload']} at {_rates(conditions)}"
    )


def _rates(conditions: Conditions) -> str:
    low, high = conditions.lr_range
    return f"lr {conditions.lr:g}" if conditions.lrs == 1 else f"lr {low:g} to {high:g}"


def _check_trials(records: Records, study: Study) -> None:
    from gap_tune.formatting import plain

    trials = records.trials
    if trials.empty or (trials["status"] != "failed").any():
        return
    last = trials.iloc[-1]
    raise Failed(
        f"all {len(trials)} trials failed, that of {last['arm']} with seed {last['seed']} with: "
        f"{plain(last['error']) or 'reason unknown'} (all of them: error.txt in the folders of "
        f"the trials, below {study.store.shown(study.storage)})."
    )
