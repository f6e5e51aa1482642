"""The command that plans a study for a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table

from gap_tune.cli.document import document
from gap_tune.cli.group import whole_words
from gap_tune.cli.options import Json

if TYPE_CHECKING:
    from gap_tune.planning import Constants
    from gap_tune.planning.text import Told

_MEASURED = Path("gap_tune_constants.json")


def plan(
    trials: Annotated[int | None, typer.Option(help="Trials of the study.")] = None,
    nodes: Annotated[int, typer.Option(help="Machines that train.")] = 1,
    gpus: Annotated[
        int, typer.Option(help="GPUs of each; without GPUs, the trials that a machine holds.")
    ] = 1,
    report_every: Annotated[
        str, typer.Option(metavar="TIME", help="Training between two reports: 30s, 5m, 2h.")
    ] = "30s",
    reports: Annotated[int | None, typer.Option(help="Reports of a trial. [default: 20]")] = None,
    trial_takes: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Training of a whole trial, in place of --reports."),
    ] = None,
    trials_per_gpu: Annotated[
        float, typer.Option(help="Trials that share a GPU; 0.5 is one trial on two GPUs.")
    ] = 1.0,
    searcher: Annotated[
        Literal["tpe", "random"], typer.Option(help="Who suggests configurations.")
    ] = "tpe",
    decide: Annotated[
        Literal["scheduler", "trial", "nobody"],
        typer.Option(help="Where momentum is decided: at reports, at steps, or not at all."),
    ] = "scheduler",
    studies: Annotated[
        int, typer.Option(help="Studies at once that share trials and cluster.")
    ] = 1,
    reuse_actors: Annotated[
        bool, typer.Option(help="Whether trials take over each other's processes.")
    ] = False,
    tensorboard: Annotated[bool, typer.Option(help="Whether Ray writes TensorBoard's files.")] = (
        True
    ),
    limited: Annotated[bool, typer.Option(help="Whether max_concurrent_trials is set.")] = False,
    constants: Annotated[
        Path | None,
        typer.Option(
            help="What --measure wrote, or is to write. [default: gap_tune's own; to write, "
            "gap_tune_constants.json]"
        ),
    ] = None,
    measure: Annotated[
        bool, typer.Option("--measure", help="Measure this machine first, in a few minutes.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Plan a study for a cluster: its driver's load, waits, memory, disk, and what to change."""
    from gap_tune.errors import InvalidValueError
    from gap_tune.planning import Request, advise, improved, snippet
    from gap_tune.planning import plan as compute
    from gap_tune.planning.durations import seconds_of
    from gap_tune.planning.settings import environment
    from gap_tune.planning.text import told

    if trials is None and not measure:
        raise InvalidValueError("--trials must be given, or --measure.")
    interval = seconds_of(report_every, "--report-every")
    if reports is not None and trial_takes is not None:
        raise InvalidValueError("--reports or --trial-takes must be given, but got both.")
    if trial_takes is not None:
        reports = max(1, round(seconds_of(trial_takes, "--trial-takes") / interval))
    # What is wrong with it is said before anything is measured.
    request = None
    if trials is not None:
        request = Request(
            trials=trials,
            nodes=nodes,
            gpus=gpus,
            report_seconds=interval,
            reports=20 if reports is None else reports,
            trials_per_gpu=trials_per_gpu,
            searcher=searcher,
            decide=decide,
            reuse_actors=reuse_actors,
            tensorboard=tensorboard,
            limited=limited,
            studies=studies,
        )
    with document("plan", wanted=as_json) as made:
        known = _constants(constants, measure=measure)
        made["constants"] = known
        if request is None:
            return
        asked = compute(request, known)
        better, advice = improved(asked, known), advise(asked, known)
        settings = snippet(better.request)
        made |= {
            "plan": asked,
            "advice": advice,
            "improved": better,
            "settings": settings,
            "environment": environment(better.request),
        }
        if not as_json:
            _show(told(asked, better, advice, known), settings)


def _constants(path: Path | None, *, measure: bool) -> Constants:
    from gap_tune.planning import Constants

    if not measure:
        return Constants.read(path)
    from gap_tune.planning.measuring.measure import measure as take

    found = take(say=lambda text: typer.echo(text, err=True))
    typer.echo(f"written to {found.write(path or _MEASURED)}", err=True)
    return found


def _show(told: Told, settings: str) -> None:
    console = Console()

    def print_lines(text: str, indent: str = "") -> None:
        lines = whole_words(text, console.width, indent)
        console.print(lines, markup=False, highlight=False, soft_wrap=True)

    print_lines(told.verdict)
    print_lines(told.asked)
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for _ in range(3):
        table.add_column()
    table.columns[0].no_wrap = table.columns[1].no_wrap = True
    for row in told.rows:
        table.add_row(*row)
    console.print()
    console.print(table, markup=False, highlight=False)
    if told.changes:
        console.print("\nWhat to change:", highlight=False)
        for change in told.changes:
            print_lines(f"- {change}", "  ")
    console.print()
    if told.after:
        print_lines(told.after)
    print_lines(told.source)
    console.print(f"\n{settings}", markup=False, highlight=False, soft_wrap=True)
