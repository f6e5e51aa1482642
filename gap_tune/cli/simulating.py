"""The commands that simulate studies on recorded runs, and that record them."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from gap_tune.cli import completion, recording
from gap_tune.cli.document import document
from gap_tune.cli.group import Command, Commands
from gap_tune.cli.options import Json
from gap_tune.errors import InvalidValueError, check_count, check_range, did_you_mean

if TYPE_CHECKING:
    from gap_tune.simulation.answers.answer import Answer
    from gap_tune.simulation.answers.methods import Method
    from gap_tune.simulation.answers.running import Conditions
    from gap_tune.simulation.answers.setting import Setting

_PACKAGES = ("gap-tune", "ray", "optuna", "torch", "numpy")
# GAP and what it replaces, by the searcher that GapSearch has by default, with and without early
# stopping; the sweeps that most do; and population based training.
_METHODS = (
    "gap+tpe+fifo,sweep+tpe+fifo,fixed:0.9+tpe+fifo,gap+tpe+asha,sweep+tpe+asha,"
    "sweep+random+fifo,sweep+grid+fifo,sweep+random+pbt"
)
_ALL = "all"
# What Ray's driver took on two cores: docs/scale.md measures it on yours.
_LATENCY, _PER_RESULT, _PER_SUGGESTION = 0.002, 0.0015, 0.01

app = typer.Typer(cls=Commands, invoke_without_command=True)
app.command(cls=Command)(recording.record)


@app.callback()
def simulate(
    context: typer.Context,
    out: Annotated[
        Path | None, typer.Option(help="Folder. [default: gap_tune_results/simulation]")
    ] = None,
    tables: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Recorded runs of yours. [default: gap_tune's own]"),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TEXT",
            help="Settings whose names hold this text; may be repeated. [default: all]",
        ),
    ] = None,
    methods: Annotated[
        str,
        typer.Option(
            help="Methods, by commas: <momentum>+<searcher>+<scheduler>, momentum of gap, sweep, "
            "fixed:<momentum>; searcher of random, tpe, grid; scheduler of fifo, asha, median, "
            "pbt; or all, every one that can be. The first comparison of gap is the answer. "
            f"[default: {_METHODS}]",
            show_default=False,
            autocompletion=completion.methods,
        ),
    ] = _METHODS,
    trials: Annotated[int, typer.Option(help="Trials that a study starts.")] = 30,
    repeats: Annotated[int, typer.Option(help="How often each method runs on each setting.")] = 20,
    slots: Annotated[int, typer.Option(help="Trials that a study runs at once.")] = 8,
    trial_seconds: Annotated[
        float,
        typer.Option(
            help="How long a whole trial takes without GAP; 0 leaves all times as recorded, of "
            "networks whose steps take a millisecond."
        ),
    ] = 600.0,
    step_cost: Annotated[
        float, typer.Option(help="How long a trial takes with GAP, in those without.")
    ] = 1.1,
    start_seconds: Annotated[
        float, typer.Option(help="How long the process of a trial takes to start.")
    ] = 10.0,
    cpus: Annotated[
        int | None, typer.Option(help="CPU cores to simulate with. [default: all]")
    ] = None,
    as_json: Json = False,
) -> None:
    """Simulate studies on recorded runs: what GAP saves, by trials and by cluster time."""
    if context.invoked_subcommand is not None:
        return
    from gap_tune.simulation.answers.running import Conditions
    from gap_tune.simulation.cluster import Cluster

    conditions = Conditions(
        trials,
        repeats,
        Cluster(
            trials_per_node=check_count("slots", slots),
            start_seconds=check_range("start_seconds", start_seconds, 0, float("inf")),
            report_latency=_LATENCY,
            seconds_per_result=_PER_RESULT,
            seconds_per_suggestion=_PER_SUGGESTION,
        ),
        check_range("trial_seconds", trial_seconds, 0, float("inf")) or None,
        step_cost,
    )
    asked = _methods(methods)
    cores = check_count("cpus", (os.cpu_count() or 1) if cpus is None else cpus)
    found, runs = _settings(tables, settings or [])
    folder = out or Path("gap_tune_results") / "simulation"
    with document("simulation", wanted=as_json) as made:
        made |= _answered(found, asked, conditions, cores, folder, runs)


def _methods(text: str) -> list[Method]:
    from gap_tune.simulation.answers.methods import Method, all_methods

    if text.strip() == _ALL:
        return all_methods()
    return [Method.parse(name) for name in text.split(",")]


def _settings(tables: Path | None, texts: Sequence[str]) -> tuple[list[Setting], str]:
    """Return the recorded settings that are asked for, and in words where they are from."""
    from gap_tune.simulation.answers.setting import Setting
    from gap_tune.simulation.recorded import RecordedRuns

    runs = RecordedRuns.load(tables)
    for text in texts:
        if not any(text in name for name in runs):
            raise InvalidValueError(
                f"--settings must be part of a setting's name, one of {list(runs)}, but got "
                f"{text!r}.{did_you_mean(text, runs)}"
            )
    chosen = [name for name in runs if not texts or any(text in name for text in texts)]
    origin = "those that gap_tune ships" if tables is None else str(tables)
    return [Setting.recorded(runs[name]) for name in chosen], origin


def _answered(
    settings: list[Setting],
    methods: list[Method],
    conditions: Conditions,
    cpus: int,
    folder: Path,
    runs: str,
) -> dict[str, Any]:
    """Run the studies, show what they say, and return that for a JSON document."""
    from gap_tune.simulation.answers.answer import Answer
    from gap_tune.simulation.answers.running import run_studies
    from gap_tune.simulation.answers.tables import write_tables
    from gap_tune.simulation.page.page import write_page

    console = Console()
    try:
        with _progress(console) as told:
            studies = run_studies(settings, methods, conditions, cpus=cpus, told=told)
    except KeyboardInterrupt:
        console.print("interrupted; nothing is kept of simulated studies", style="bold")
        raise typer.Exit(130) from None
    answer = Answer(studies)
    written = write_tables(answer, folder)
    page = write_page(answer, _note(conditions, runs), folder / "simulate.html")
    return _shown(answer, {"report": page, "tables": written[0].parent}, console)


def _shown(answer: Answer, files: dict[str, Path], console: Console) -> dict[str, Any]:
    from gap_tune.simulation.answers import tables

    console.print(tables.shown(answer))
    for text in (answer.headline, *answer.sentences):
        console.print(text, highlight=False, markup=False)
    for name, path in files.items():
        console.print(f"{name + ':':<8}{path}", soft_wrap=True, highlight=False, markup=False)
    return {
        "answer": {
            "kind": answer.kind,
            "headline": answer.headline,
            "sentences": answer.sentences,
        },
        "methods": tables.methods_table(answer).to_dict("records"),
        "comparisons": tables.pairs_table(answer).to_dict("records"),
        "stopping": tables.stopping_table(answer).to_dict("records"),
        "waste": tables.waste_table(answer).to_dict("records"),
        "files": files,
    }


def _note(conditions: Conditions, runs: str) -> dict[str, Any]:
    """Return how the studies were made, for the page."""
    cluster, whole = conditions.cluster, conditions.trial_seconds
    pace = "as long as it was recorded"
    if whole is not None:
        pace = f"{whole:g} s, with GAP {conditions.step_cost:g} times as long"
    return {
        "command": " ".join(["gap-tune", *sys.argv[1:]]),
        "cluster": f"{cluster.slots} trials at once; a whole trial takes {pace}, its "
        f"process {cluster.start_seconds:g} s to start, a report {cluster.report_latency:g} s to "
        f"the driver, which takes {cluster.seconds_per_result:g} s for each and "
        f"{cluster.seconds_per_suggestion:g} s for a suggestion",
        "runs": runs,
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in _PACKAGES},
    }


@contextmanager
def _progress(console: Console) -> Iterator[Callable[[int, int], None]]:
    """Give what shows how many studies are done; a line at the start where nobody watches."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn("studies"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("studies", total=None)

        def told(done: int, of: int) -> None:
            if done == 0 and not console.is_terminal:
                console.print(f"{of:,} studies", highlight=False, markup=False)
            progress.update(task, completed=done, total=of)

        yield told
