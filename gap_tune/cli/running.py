"""What runs a study and shows it, and the command that continues one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from gap_tune.cli.document import document
from gap_tune.cli.group import Failed
from gap_tune.cli.options import Json, Style
from gap_tune.cli.reporting import described, present
from gap_tune.formatting import plain

if TYPE_CHECKING:
    from gap_tune.study import Records, Study


def resume(
    folder: Annotated[
        str, typer.Argument(metavar="FOLDER|URI", help="Where a killed study's results are.")
    ],
    progress: Style = "auto",
    as_json: Json = False,
) -> None:
    """Continue a study whose driver was killed: trials go on from their checkpoints."""
    from gap_tune.study import Study

    study = Study.restore(folder)
    run_study(study, study.resume, progress, as_json=as_json)


def run_study(
    study: Study, go: Callable[[list[Any]], Records], style: str, *, as_json: bool = False
) -> None:
    """Run a study, show its progress, and present what it has found.

    Args:
        study: The study.
        go: Its method that starts it, or continues it, with callbacks.
        style: How to show its progress.
        as_json: Whether to print the result as JSON.

    Raises:
        Failed: When every trial of it failed; the report is written all the same.
    """
    with document("comparison", wanted=as_json) as made:
        records = _run(study, go, style)
        # What reads JSON lines from standard output must find nothing else there.
        comparison = present(records, study.folder, study.store, Console(stderr=style == "json"))
        made |= described(comparison, study.folder, study.store)
        _check_trials(records, study)


def _run(study: Study, go: Callable[[list[Any]], Records], style: str) -> Records:
    import optuna

    from gap_tune.tune.monitoring.progress import Progress
    from gap_tune.tune.monitoring.ray_dashboard import DashboardLink

    # The table shows what optuna would say of every trial.
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    total = study.total_trials()
    conditions, clock = study.conditions, study.conditions.clock
    console = Console(stderr=style == "json")
    announced = Text(plain(_announced(study, total)))
    console.print(announced, soft_wrap=not console.is_terminal)
    progress = Progress(
        total,
        style=style,
        metric=conditions.metric,
        mode=conditions.mode,
        epoch=clock.time_attr if clock.length else "epoch",
        epochs=clock.length or None,
    )
    return go([DashboardLink(stderr=style == "json"), progress])


def _announced(study: Study, total: int | None) -> str:
    trials = "trials" if total is None else f"{total} trials"
    return (
        f"{trials}: {len(study.arms)} arms x {study.seeds} seeds, {study.plan.budget_text}, "
        f"{study.conditions.summary}"
    )


def _check_trials(records: Records, study: Study) -> None:
    trials = records.trials
    if trials.empty or (trials["status"] != "failed").any():
        return
    last = trials.iloc[-1]
    raise Failed(
        f"all {len(trials)} trials failed, that of {last['arm']} with seed {last['seed']} with: "
        f"{plain(last['error']) or 'reason unknown'} (all of them: error.txt in the folders of "
        f"the trials, below {study.store.shown(study.storage)})."
    )
