"""Options that several commands have."""

from __future__ import annotations

from typing import Annotated

import typer

Out = Annotated[
    str | None,
    typer.Option(
        metavar="FOLDER|URI",
        help="Where all results go: a folder, or s3://bucket/folder. "
        "[default: gap_tune_results/<workload>-<time>]",
    ),
]
Epochs = Annotated[int | None, typer.Option(help="Epochs per trial. [default: the workload's]")]
Cpus = Annotated[int | None, typer.Option(help="CPU cores to use, one per trial. [default: all]")]
Lr = Annotated[
    float | None,
    typer.Option(help="Learning rate, meant for momentum 0.9. [default: the workload's]"),
]
Style = Annotated[
    str,
    typer.Option(
        help="What to show meanwhile: auto, table, lines, json (one object per event) or quiet "
        "(failures only)."
    ),
]
