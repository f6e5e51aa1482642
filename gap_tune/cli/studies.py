"""Commands that run, continue and report studies."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from gap_tune.cli.options import Cpus, Epochs, Lr, Out, Style
from gap_tune.errors import InvalidValueError, StateError

if TYPE_CHECKING:
    from gap_tune.study import Records, Study
    from gap_tune.study.store import Store

DEMO_WORKLOAD = "digits-resnet"
_ARMS = "gap,fixed:0.5,fixed:0.9,fixed:0.99"
_OF_RESOURCES = ("cpus", "cpus_per_trial", "gpus_per_trial")


def demo(
    out: Out = None,
    seeds: Annotated[int, typer.Option(help="Paired seeds: trials per arm.")] = 3,
    epochs: Epochs = None,
    cpus: Cpus = None,
    progress: Style = "auto",
) -> None:
    """Compare GAP with a sweep of six fixed momenta on real handwritten digits."""
    from gap_tune.study.grammar import DEMO_MOMENTA
    from gap_tune.tune.spelling import GAP_NAME, fixed_name

    arms = [GAP_NAME, *map(fixed_name, DEMO_MOMENTA)]
    given = {"workload": DEMO_WORKLOAD, "arms": arms, "seeds": seeds, "epochs": epochs}
    _compare({**given, "cpus": cpus, "out": out}, style=progress)


def compare(
    workload: Annotated[
        str,
        typer.Argument(
            metavar="WORKLOAD|FILE", help="What to train (`gap-tune workloads`), or study.yaml."
        ),
    ],
    arms: Annotated[
        str | None,
        typer.Option(
            help="Methods, by commas: gap, gap-trial, gap-validation, gap-paper, gap-<rule>, "
            "gap-trial-<rule>, my_module:MyRule, fixed:<momentum>, "
            "fixed:grid, optuna, asha, median, pbt, optuna:<trials>, switch, switch-parameter, "
            "yellowfin, trainable-diagonal, ... "
            f"[default: {_ARMS}]"
        ),
    ] = None,
    out: Out = None,
    seeds: Annotated[int | None, typer.Option(help="Paired seeds. [default: 3]")] = None,
    epochs: Epochs = None,
    lr: Lr = None,
    lr_range: Annotated[
        tuple[float, float] | None,
        typer.Option(
            metavar="LOW HIGH", help="Where to search it. [default: a tenth to three times it]"
        ),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            help="Of an arm per seed: own, trials:<n>, steps:<n>, steps:<n>x. [default: own]"
        ),
    ] = None,
    family: Annotated[
        str | None, typer.Option(help="Optimizer: sgd, adamw. [default: the workload's]")
    ] = None,
    metric: Annotated[
        str | None, typer.Option(help="Metric to compare by. [default: validation_loss]")
    ] = None,
    mode: Annotated[
        str | None, typer.Option(help="Whether it should be min or max. [default: min]")
    ] = None,
    reports_per_epoch: Annotated[
        int | None, typer.Option(help="Reports, and decisions, per epoch. [default: 4]")
    ] = None,
    cpus: Cpus = None,
    cpus_per_trial: Annotated[
        int | None, typer.Option(help="CPU cores of one trial. [default: 1]")
    ] = None,
    gpus_per_trial: Annotated[
        float | None, typer.Option(help="GPUs of one trial, such as 1 or 0.25. [default: 0]")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue what is in --out; start where nothing is.")
    ] = False,
    progress: Style = "auto",
) -> None:
    """Compare methods on a workload: same data, epochs and seeds, at a stated budget.

    Options override what a study file says.
    """
    from gap_tune.study.files import SUFFIXES, read_study_file

    is_file = workload.endswith(SUFFIXES)
    given = {
        "arms": None if arms is None else arms.split(","),
        "out": out,
        "seeds": seeds,
        "epochs": epochs,
        "lr": lr,
        "lr_range": lr_range,
        "budget": budget,
        "family": family,
        "metric": metric,
        "mode": mode,
        "reports_per_epoch": reports_per_epoch,
        "cpus": cpus,
        "cpus_per_trial": cpus_per_trial,
        "gpus_per_trial": gpus_per_trial,
    }
    said = read_study_file(workload) if is_file else {"workload": workload}
    chosen = {name: value for name, value in given.items() if value is not None}
    _compare({"arms": _ARMS.split(","), **said, **chosen}, resume=resume, style=progress)


def resume(
    folder: Annotated[
        str, typer.Argument(metavar="FOLDER|URI", help="Where a killed study's results are.")
    ],
    progress: Style = "auto",
) -> None:
    """Continue a study whose driver was killed: trials go on from their checkpoints."""
    from gap_tune.study import Study

    _run(Study.restore(folder), _resumed, progress)


def report(
    folder: Annotated[
        str,
        typer.Argument(
            metavar="FOLDER|URI",
            help="A study, or any Ray Tune experiment, also a running one.",
        ),
    ],
    metric: Annotated[
        str | None,
        typer.Option(help="Metric to compare by. [default: what the experiment asked Ray for]"),
    ] = None,
    mode: Annotated[
        str | None, typer.Option(help="Whether it should be min or max. [default: likewise]")
    ] = None,
    figures: Annotated[
        str | None,
        typer.Option(metavar="svg|png", help="Write each figure as a file, too, into figures/."),
    ] = None,
) -> None:
    """Write the report of a study anew and print its table."""
    from gap_tune.report.figures.images import check_format, write_images
    from gap_tune.study.remote_store import open_store, without_secrets

    if figures is not None:
        check_format(figures)
    store = open_store(folder)
    store.pull()
    with store.named_in_errors():
        experiment, records = _read(store, without_secrets(folder), metric, mode)
        _present(records, experiment, store)
    if figures is not None:
        images = write_images(records, store.folder / "figures", figures)
        store.push(store.folder / "figures")
        text = f"{'figures:':<12}{store.shown(store.folder / 'figures')} ({len(images)} files)"
        Console().print(text, soft_wrap=True, highlight=False, markup=False)


def _read(store: Store, called: str, metric: str | None, mode: str | None) -> tuple[Path, Records]:
    """Return the experiment in a store, which may be the store itself, and its records."""
    from gap_tune.records.experiments import is_experiment, read_experiment
    from gap_tune.records.studies import EXPERIMENT, STUDY_FILE
    from gap_tune.study import read_records

    folder = store.folder
    if is_experiment(folder) and not (folder / STUDY_FILE).exists():
        return folder, read_experiment(folder, metric=metric, mode=mode, called=called)
    if metric is not None or mode is not None:
        raise InvalidValueError(
            "--metric and --mode must come with an experiment that is no gap_tune study, which has "
            f"its own, but got {called}."
        )
    if not (folder / STUDY_FILE).exists():
        return folder / EXPERIMENT, read_records(folder / EXPERIMENT)
    if store.filesystem is not None:
        raise InvalidValueError(
            "a study in object storage must be named by the folder that holds its "
            f"{EXPERIMENT!r}, but got {store.shown(folder)}."
        )
    return folder, read_records(folder)


def _compare(given: dict[str, Any], *, resume: bool = False, style: str) -> None:
    """Run the study that options and file ask for.

    Args:
        given: Arguments of ``Study`` and ``Resources``, and "out"; None is their default.
        resume: Whether to continue what is in "out".
        style: How to show its progress.
    """
    from gap_tune.study import Resources, Study

    arguments = {name: value for name, value in given.items() if value is not None}
    out = arguments.pop("out", None)
    if resume and out is None:
        raise InvalidValueError("--resume must come with --out, the folder to continue, got none.")
    workload = arguments.pop("workload")
    name = Path(workload.replace(":", "-")).name
    folder = out or f"gap_tune_results/{name}-{datetime.now():%Y%m%d-%H%M%S}"
    resources = {key: arguments.pop(key) for key in _OF_RESOURCES if key in arguments}
    study = Study(workload, **arguments, resources=Resources(**resources), storage=folder)
    if not resume or not study.exists():
        _run(study, lambda study, callbacks: study.run(callbacks), style)
        return
    different = study.differs_from(Study.restore(folder))
    if different:
        raise StateError(
            f"--resume must ask for the comparison that {study.store.shown(study.storage)} holds, "
            f"but got other {different}: "
            "choose another folder, or `gap-tune resume` it as it is."
        )
    _run(study, _resumed, style)


def _resumed(study: Study, callbacks: list[Any]) -> Records:
    return study.resume(callbacks)


def _run(study: Study, go: Callable[[Study, list[Any]], Records], style: str) -> None:
    import optuna

    from gap_tune.tune.monitoring.progress import Progress
    from gap_tune.tune.monitoring.ray_dashboard import DashboardLink

    # The table shows what optuna would say of every trial.
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    # What reads JSON lines from standard output must find nothing else there.
    console = Console(stderr=style == "json")
    total = study.total_trials()
    trials = "trials" if total is None else f"{total} trials"
    conditions = study.conditions
    console.print(
        f"{trials}: {len(study.arms)} arms x {study.seeds} seeds, {study.budget.text}, "
        f"{conditions.epochs} epochs of {conditions.settings['workload']} at lr {conditions.lr:g}",
        highlight=False,
        soft_wrap=True,
    )
    progress = Progress(
        total,
        style=style,
        metric=conditions.metric,
        mode=conditions.mode,
        epochs=conditions.epochs,
    )
    records = go(study, [DashboardLink(stderr=style == "json"), progress])
    _present(records, study.folder, study.store, console)


def _present(
    records: Records, experiment: Path, store: Store, console: Console | None = None
) -> None:
    """Write CSV and page, print table, verdict and where everything is."""
    from gap_tune.report import summary_table, write_csv, write_page

    page = write_page(records, store.folder / "report.html")
    tables = write_csv(records, store.folder)
    console = console or Console()
    console.print(summary_table(records))
    for path in (*tables, page):
        store.push(path)
    for name, path in (("report", page), ("tables", store.folder), ("experiment", experiment)):
        console.print(f"{name + ':':<12}{store.shown(path)}", soft_wrap=True, highlight=False)
