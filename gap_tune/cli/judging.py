"""The command that judges the default rule."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.text import Text

from gap_tune.cli import completion
from gap_tune.cli.document import document
from gap_tune.cli.options import Json
from gap_tune.formatting import plain

if TYPE_CHECKING:
    from gap_tune.panel.settings import PanelSettings
    from gap_tune.study import Runner

Out = Annotated[Path | None, typer.Option(help="Folder. [default: gap_tune_results/panel]")]
Cpus = Annotated[int | None, typer.Option(help="CPU cores, one run each. [default: all]")]
Quick = Annotated[bool, typer.Option(help="Only check that everything runs, in a minute or two.")]
Arms = Annotated[
    str | None,
    typer.Option(
        help="Methods, by commas. [default: the settings']", autocompletion=completion.arms
    ),
]
Kind = Annotated[
    Literal["pool", "ray"], typer.Option(help="What does the runs: processes here, or Ray Tune.")
]
Half = Annotated[
    Literal["development", "held-out", "both"],
    typer.Option(help="Settings to make a rule with, or those kept back to judge it by."),
]
Span = Annotated[
    float | None, typer.Option(help="Largest over smallest learning rate. [default: the settings']")
]
Rates = Annotated[int | None, typer.Option(help="Learning rates. [default: the settings']")]
Seeds = Annotated[int | None, typer.Option(help="Paired seeds. [default: the settings']")]
Skip = Annotated[bool, typer.Option(help="Leave settings out whose data are not here.")]
Settings = Annotated[Path | None, typer.Option(help="YAML file. [default: gap_tune's own]")]


def panel(
    out: Out = None,
    cpus: Cpus = None,
    quick: Quick = False,
    arms: Arms = None,
    settings: Settings = None,
    half: Half = "development",
    lr_span: Span = None,
    lrs: Rates = None,
    seeds: Seeds = None,
    skip_missing: Skip = False,
    runner: Kind = "pool",
    as_json: Json = False,
) -> None:
    """Judge the default rule on many small tasks; the same command continues a killed panel."""
    from dataclasses import replace

    from gap_tune.panel.settings import read_settings
    from gap_tune.study import PoolRunner, RayRunner, Resources

    chosen = read_settings(settings).of_half(half)
    if quick:
        chosen = chosen.quick()
    if arms is not None:
        chosen = replace(chosen, arms=tuple(name.strip() for name in arms.split(",")))
    chosen = replace(
        chosen,
        lr_span=chosen.lr_span if lr_span is None else lr_span,
        lr_count=chosen.lr_count if lrs is None else lrs,
        seeds=chosen.seeds if seeds is None else seeds,
    )
    folder = out or Path("gap_tune_results") / ("panel-quick" if quick else "panel")
    cores = (os.cpu_count() or 1) if cpus is None else cpus
    does: Runner = PoolRunner(cores)
    if runner == "ray":
        does = RayRunner(Resources(cpus=cores), folder / "ray")
    with document("panel", wanted=as_json) as made:
        made |= _judged(chosen, folder, does, skip_missing=skip_missing)


def _judged(
    chosen: PanelSettings, folder: Path, does: Runner, *, skip_missing: bool
) -> dict[str, Any]:
    """Run a panel, show what it says, and return that for a JSON document."""
    from gap_tune.panel.missing import with_data
    from gap_tune.panel.page import write_page
    from gap_tune.panel.panel import run_panel
    from gap_tune.panel.scores import score
    from gap_tune.panel.summary import arms_table
    from gap_tune.panel.tables import CAPTION, arms_summary, write_tables
    from gap_tune.panel.verdict import verdict

    console = Console()
    chosen = with_data(chosen, console, skip_missing=skip_missing)
    try:
        note, rows = run_panel(chosen, folder, does, console=console)
    except KeyboardInterrupt:
        console.print("interrupted; the same command continues", style="bold")
        raise typer.Exit(130) from None
    scores = score(rows, note)
    tables = write_tables(scores, folder)
    page = write_page(scores, note, folder / "panel.html")
    answer = verdict(scores)
    console.print(arms_summary(scores))
    console.print(CAPTION, style="dim", highlight=False)
    for text in (answer.headline, *answer.sentences):
        console.print(Text(plain(text)))
    files = {"report": page, "table": tables[0], "arms": tables[1]}
    for name, path in files.items():
        console.print(Text(plain(f"{name + ':':<8}{path}")), soft_wrap=True)
    return {"answer": answer, "arms": arms_table(scores).to_dict("records"), "files": files}
