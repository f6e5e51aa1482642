"""Options that several commands have."""

from __future__ import annotations

from typing import Annotated

import typer

from gap_tune.cli import completion

DEFAULT_ARMS = "gap,fixed:0.5,fixed:0.9,fixed:0.99"
Out = Annotated[
    str | None,
    typer.Option(
        metavar="FOLDER|URI",
        help="Where all results go: a folder, or s3://bucket/folder. "
        "[default: gap_tune_results/<workload>-<time>]",
    ),
]
Arms = Annotated[
    str | None,
    typer.Option(
        help="Methods, by commas: gap, gap-trial, gap-validation, gap-paper, gap-<rule>, "
        "gap-trial-<rule>, my_module:MyRule, fixed:<momentum>, fixed:grid, optuna, asha, median, "
        "pbt, optuna:<trials>, nesterov:<momentum>, warmup:<momentum>, switch, yellowfin, "
        "schedulefree, prodigy, dadapt, hypergradient, adaptive-memory, ... (gap-tune families "
        "lists them). "
        f"[default: {DEFAULT_ARMS}]",
        autocompletion=completion.arms,
    ),
]
Family = Annotated[
    str | None,
    typer.Option(
        help="Optimizer: sgd, adamw. [default: the workload's]",
        autocompletion=completion.families,
    ),
]
Epochs = Annotated[int | None, typer.Option(help="Epochs per trial. [default: the workload's]")]
Cpus = Annotated[int | None, typer.Option(help="CPU cores to use, one per trial. [default: all]")]
Lr = Annotated[
    float | None,
    typer.Option(help="Learning rate, meant for momentum 0.9. [default: the workload's]"),
]
Json = Annotated[
    bool,
    typer.Option(
        "--json", help="Print the result as one JSON document, all else on standard error."
    ),
]
Style = Annotated[
    str,
    typer.Option(
        help="What to show meanwhile: auto, table, lines, json (one object per event) or quiet "
        "(failures only).",
        autocompletion=completion.styles,
    ),
]
