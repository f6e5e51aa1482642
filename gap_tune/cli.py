"""The gap-tune command."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from gap_tune.errors import GapTuneError, check_range

app = typer.Typer(
    name="gap-tune",
    help="Momentum for Ray Tune studies, read off the gradients that training computes.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Out = Annotated[
    Path | None,
    typer.Option(help="Folder for all results. [default: gap_tune_results/<workload>-<time>]"),
]
Seeds = Annotated[int, typer.Option(help="Paired seeds: trials per arm.")]
Epochs = Annotated[int | None, typer.Option(help="Epochs per trial. [default: the workload's]")]
Cpus = Annotated[int | None, typer.Option(help="CPU cores to use, one per trial. [default: all]")]
Lr = Annotated[
    float | None,
    typer.Option(help="Learning rate, meant for momentum 0.9. [default: the workload's]"),
]

# Typer's own copy of click, or click itself: the public exception leads to the right base class.
_USAGE_ERROR: Any = typer.BadParameter.__mro__[2]

DEMO_WORKLOAD = "digits-resnet"


@app.command()
def demo(out: Out = None, seeds: Seeds = 3, epochs: Epochs = None, cpus: Cpus = None) -> None:
    """Compare GAP with a sweep of six fixed momenta on real handwritten digits."""
    from gap_tune.study.arms import DEMO_MOMENTA, GAP, fixed_arm

    arms = [GAP.name, *(fixed_arm(momentum).name for momentum in DEMO_MOMENTA)]
    _compare(DEMO_WORKLOAD, arms, out=out, seeds=seeds, epochs=epochs, cpus=cpus, lr=None)


@app.command()
def compare(
    workload: Annotated[str, typer.Argument(help="Workload to train: see `gap-tune workloads`.")],
    arms: Annotated[
        str, typer.Option(help="Methods, by commas: gap, fixed:<momentum>, trainable-diagonal, ...")
    ] = "gap,fixed:0.5,fixed:0.9,fixed:0.99",
    out: Out = None,
    seeds: Seeds = 3,
    epochs: Epochs = None,
    cpus: Cpus = None,
    lr: Lr = None,
) -> None:
    """Compare methods on a workload: same data, learning rate, epochs and seeds for each."""
    _compare(workload, arms.split(","), out=out, seeds=seeds, epochs=epochs, cpus=cpus, lr=lr)


@app.command()
def resume(folder: Annotated[Path, typer.Argument(help="Folder of a killed study.")]) -> None:
    """Continue a study whose driver was killed: trials go on from their checkpoints."""
    from gap_tune.study import Study

    study = Study.restore(folder)
    study.resume()
    _present(study.folder, folder)


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="Folder of a study, also a running one.")],
) -> None:
    """Write the report of a study anew and print its table."""
    from gap_tune.study.runner import EXPERIMENT

    _present(folder / EXPERIMENT, folder)


@app.command()
def families() -> None:
    """List the optimizers of the theory: budget, cone, optimum, and the classes that are them."""
    from gap_tune.theory.families import FAMILIES

    console = Console()
    for family in FAMILIES.values():
        console.print(f"{family.name} ({family.source})", style="bold", highlight=False)
        lines = {
            "budget": family.budget,
            "cone": family.cone,
            "optimum": family.optimum,
            "derived": ", ".join(h.symbol for h in family.hyperparameters if h.derived_by),
            "classes": ", ".join(map(str, family.implementations)),
            "note": family.note,
        }
        for label, text in lines.items():
            if text:
                console.print(f"  {label + ':':<9}{text}", markup=False, highlight=False)


@app.command()
def workloads() -> None:
    """List the workloads with their data and what they need."""
    from gap_tune.workloads import WORKLOADS

    table = Table("name", "task", "data", "needs", box=None)
    table.columns[0].no_wrap = True
    for name, workload in WORKLOADS.items():
        data = f"{workload.size}; {workload.source}"
        table.add_row(name, workload.description, data, workload.needs)
    console = Console()
    console.print(table, markup=False, highlight=False)
    console.print(
        'Options go into "workload_options" of a trial\'s configuration. Your own class is a '
        'workload too: "package.module:Class".',
        markup=False,
        highlight=False,
    )


@app.command()
def probe(
    workload: Annotated[str, typer.Argument(help="Workload to train: see `gap-tune workloads`.")],
    steps: Annotated[int, typer.Option(help="Training steps.")] = 100,
    out: Annotated[
        Path | None, typer.Option(help="File to write. [default: <workload>-statistics.json]")
    ] = None,
    lr: Lr = None,
) -> None:
    """Train a few steps and choose the momentum that a study should start with."""
    from gap_tune.rules import AlignmentRule
    from gap_tune.tune.probe import probe as measure
    from gap_tune.workloads import get_workload

    get_workload(workload)
    config: dict[str, Any] = {"workload": workload}
    if lr is not None:
        config["lr"] = check_range("lr", lr, 0, float("inf"), low_open=True)
    path = out or Path(f"{workload}-statistics.json")
    statistics = measure(partial(_first_steps, config), steps=steps, path=path)
    decision = AlignmentRule().decide(statistics, 0.9)
    table = Table("momentum", "gain", "", box=None)
    for momentum, gain in zip(decision.candidates, decision.gains, strict=True):
        table.add_row(f"{momentum:g}", f"{gain:.4g}", "*" * (momentum == decision.momentum))
    console = Console()
    console.print(table)
    for line in (
        f"momentum {decision.momentum:g} after {statistics.steps} steps: {decision.explanation}",
        f'written to {path}: GapSearch(statistics="{path}") starts trials with it',
    ):
        console.print(line, soft_wrap=True, highlight=False, markup=False)


def _first_steps(config: dict[str, Any]) -> tuple[Any, Callable[[], None]]:
    """Return a workload's optimizer and a function that trains it one step, for a probe."""
    from gap_tune.workloads.running import prepare

    run = prepare(config)
    endless = (each for _ in run.progress.epochs(sys.maxsize) for each in run.minibatches())
    return run.learner.optimizer, lambda: run.step(next(endless))


def _compare(
    workload: str,
    arms: list[str],
    *,
    out: Path | None,
    seeds: int,
    epochs: int | None,
    cpus: int | None,
    lr: float | None,
) -> None:
    from gap_tune.study.runner import Resources, Study
    from gap_tune.tune.callbacks import ProgressTable

    folder = out or Path("gap_tune_results") / f"{workload}-{datetime.now():%Y%m%d-%H%M%S}"
    study = Study(
        workload,
        arms,
        seeds=seeds,
        epochs=epochs,
        lr=lr,
        resources=Resources() if cpus is None else Resources(cpus=cpus),
        storage=folder,
    )
    total = len(study.arms) * study.seeds
    console = Console()
    console.print(
        f"{total} trials: {len(study.arms)} arms x {study.seeds} seeds, "
        f"{study.settings['epochs']} epochs of {workload} at lr {study.settings['lr']:g}",
        highlight=False,
    )
    study.run([ProgressTable(total, console=console)])
    _present(study.folder, folder)


def _present(experiment: Path, folder: Path) -> None:
    """Write CSV and page, print table, verdict and where everything is."""
    from gap_tune.report import summary_table, write_csv, write_page
    from gap_tune.study import read_records

    records = read_records(experiment)
    write_csv(records, folder)
    page = write_page(records, folder / "report.html")
    console = Console()
    console.print(summary_table(records))
    for name, path in (("report", page), ("tables", folder), ("experiment", experiment)):
        console.print(f"{name + ':':<12}{path}", soft_wrap=True, highlight=False)


def main() -> None:
    """Run the command; bad input ends in one line on standard error and exit status 2."""
    if len(sys.argv) == 1:
        sys.argv.append("--help")
    try:
        status = app(standalone_mode=False)
    except (GapTuneError, _USAGE_ERROR) as error:
        text = error.format_message() if isinstance(error, _USAGE_ERROR) else str(error)
        print(f"gap-tune: error: {text}", file=sys.stderr)
        sys.exit(2)
    except (KeyboardInterrupt, typer.Abort):
        print("gap-tune: interrupted; `gap-tune resume FOLDER` continues.", file=sys.stderr)
        sys.exit(130)
    sys.exit(status if isinstance(status, int) else 0)
