"""What presents a study, and the command that does so anew."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from gap_tune.cli import completion
from gap_tune.cli.document import document
from gap_tune.cli.options import Json
from gap_tune.errors import InvalidValueError
from gap_tune.formatting import plain, without_secrets

if TYPE_CHECKING:
    from gap_tune.report import Best, Comparison
    from gap_tune.study import Records
    from gap_tune.study.store import Store


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
        typer.Option(
            metavar="svg|png",
            help="Write each figure as a file, too, into figures/.",
            autocompletion=completion.formats,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write the report of a study anew and print its table."""
    from gap_tune.report.figures.images import check_format, write_images
    from gap_tune.study.remote_store import open_store

    if figures is not None:
        check_format(figures)
    store = open_store(folder)
    store.pull()
    with document("comparison", wanted=as_json) as made:
        with store.named_in_errors():
            experiment, records = _read(store, without_secrets(folder), metric, mode)
            comparison = present(records, experiment, store)
        made |= described(comparison, experiment, store)
        if figures is not None:
            images = write_images(comparison, store.folder / "figures", figures)
            store.push(store.folder / "figures")
            shown = made["files"]["figures"] = store.shown(store.folder / "figures")
            text = f"{'figures:':<12}{shown} ({len(images)} files)"
            Console().print(Text(plain(text)), soft_wrap=True)


def _read(store: Store, called: str, metric: str | None, mode: str | None) -> tuple[Path, Records]:
    """Return the experiment in a store, which may be the store itself, and its records."""
    from gap_tune.records.experiments import is_experiment, read_experiment
    from gap_tune.records.studies import EXPERIMENT, STUDY_FILE, no_study
    from gap_tune.study import read_records

    folder = store.folder
    if is_experiment(folder) and not (folder / STUDY_FILE).exists():
        return folder, read_experiment(folder, metric=metric, mode=mode, called=called)
    if not any((place / STUDY_FILE).exists() for place in (folder, folder / EXPERIMENT)):
        raise no_study(called.partition("?")[0], folder, experiments=True)
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


def described(comparison: Comparison, experiment: Path, store: Store) -> dict[str, Any]:
    """Return what a comparison shows, for a JSON document."""
    from gap_tune.report import Best, verdict

    return {
        "answer": verdict(comparison),
        "best": _best(Best.of(comparison)),
        "metric": comparison.metric,
        "mode": comparison.records.mode,
        "arms": comparison.summary,
        "files": {
            "report": store.shown(store.folder / "report.html"),
            "tables": store.shown(store.folder),
            "experiment": store.shown(experiment),
        },
    }


def _best(found: Best | None) -> dict[str, Any] | None:
    """Return the trial to take home as a document has it."""
    if found is None:
        return None
    shown = {f.name: getattr(found, f.name) for f in fields(found) if not f.name.startswith("_")}
    del shown["config"]
    pair = found.fixed_pair
    named = None if pair is None else {"learning_rate": pair[0], "momentum": pair[1]}
    return {**shown, "fixed_pair": named}


def present(
    records: Records, experiment: Path, store: Store, console: Console | None = None
) -> Comparison:
    """Write CSV and page, print table, verdict and where everything is; return what they show."""
    from gap_tune.report import Comparison, summary_table, write_csv, write_page

    comparison = Comparison.of(records)
    page = write_page(comparison, store.folder / "report.html")
    tables = write_csv(comparison, store.folder)
    console = console or Console()
    console.print(summary_table(comparison))
    for path in (*tables, page):
        store.push(path)
    for name, path in (("report", page), ("tables", store.folder), ("experiment", experiment)):
        console.print(Text(plain(f"{name + ':':<12}{store.shown(path)}")), soft_wrap=True)
    return comparison
