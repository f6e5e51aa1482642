"""The command that measures gradients before a study."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from gap_tune.cli import completion
from gap_tune.cli.options import Lr
from gap_tune.errors import check_range


def probe(
    workload: Annotated[
        str,
        typer.Argument(
            help="Workload to train: see `gap-tune workloads`.",
            autocompletion=completion.workloads,
        ),
    ],
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
    from gap_tune.training.prepared import prepare

    run = prepare(config)
    endless = (each for _ in run.position.epochs(sys.maxsize) for each in run.minibatches())
    return run.learner.optimizer, lambda: run.step(next(endless))
