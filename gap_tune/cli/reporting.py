"""What presents a study, and the command that does so anew."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from gap_tune.errors import InvalidValueError

if TYPE_CHECKING:
    from gap_tune.report import Comparison
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
        comparison = present(records, experiment, store)
    if figures is not None:
        images = write_images(comparison, store.folder / "figures", figures)
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
        console.print(f"{name + ':':<12}{store.shown(path)}", soft_wrap=True, highlight=False)
    return comparison
