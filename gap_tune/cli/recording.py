"""The command that records runs for simulated studies."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from gap_tune.cli.document import document
from gap_tune.cli.options import Json

Out = Annotated[Path, typer.Option(help="Folder of the runs, and of the tables made of them.")]
Cpus = Annotated[int | None, typer.Option(help="CPU cores, one run each. [default: all]")]
Settings = Annotated[
    Path | None,
    typer.Option(help="YAML file as of `gap-tune panel`. [default: twelve of gap_tune's own]"),
]
Rates = Annotated[int, typer.Option(help="Learning rates, equally spaced in their logarithm.")]
Span = Annotated[float, typer.Option(help="Largest over smallest learning rate.")]
Seeds = Annotated[int, typer.Option(help="Seeds of each.")]
Reports = Annotated[int, typer.Option(help="Reports of a run, evenly spread.")]


def record(
    out: Out = Path("gap_tune_results/recorded"),
    cpus: Cpus = None,
    settings: Settings = None,
    lrs: Rates = 15,
    lr_span: Span = 100.0,
    seeds: Seeds = 4,
    reports: Reports = 20,
    as_json: Json = False,
) -> None:
    """Train what simulated studies are made of; the same command continues a killed recording.

    Every setting is trained at all learning rates with six fixed momenta, with GAP, and with GAP in
    a trust region of fixed size.
    """
    from gap_tune.panel.settings import read_settings
    from gap_tune.simulation.recorded.packing import pack
    from gap_tune.simulation.recording.recorded_suite import (
        KIND,
        record_suite,
        recorded_suite,
        shipped_panel,
    )

    panel = shipped_panel() if settings is None else read_settings(settings)
    suite = recorded_suite(panel, lr_count=lrs, lr_span=lr_span, seeds=seeds, reports=reports)
    console = Console()
    with document("recording", wanted=as_json) as made:
        try:
            record_suite(suite, out, cpus or os.cpu_count() or 1, console=console)
        except KeyboardInterrupt:
            console.print("interrupted; the same command continues", style="bold")
            raise typer.Exit(130) from None
        made |= {"tables": pack(out, out, kind=KIND), "files": {"folder": out}}
        console.print(f"tables: {out}", soft_wrap=True, highlight=False, markup=False)
