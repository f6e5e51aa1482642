"""The command that measures gradients before a study."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gap_tune.cli import completion
from gap_tune.cli.document import document
from gap_tune.cli.options import Json, Lr
from gap_tune.errors import check_range
from gap_tune.formatting import plain

if TYPE_CHECKING:
    from gap_tune.rules import Decision


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
    as_json: Json = False,
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
    with document("probe", wanted=as_json) as made:
        statistics = measure(partial(_first_steps, config), steps=steps, path=path)
        decision = AlignmentRule().decide(statistics, 0.9)
        made |= {
            "momentum": decision.momentum,
            "steps": statistics.steps,
            "explanation": decision.explanation,
            "candidates": decision.candidates,
            "gains": decision.gains,
            "files": {"statistics": path},
        }
        _show(decision, statistics.steps, path)


def _show(decision: Decision, steps: int, path: Path) -> None:
    table = Table("momentum", "gain", "", box=None)
    for momentum, gain in zip(decision.candidates, decision.gains, strict=True):
        table.add_row(f"{momentum:g}", f"{gain:.4g}", "*" * (momentum == decision.momentum))
    console = Console()
    console.print(table)
    for line in (
        f"momentum {decision.momentum:g} after {steps} steps: {decision.explanation}",
        f'written to {path}: GapSearch(statistics="{path}") starts trials with it',
    ):
        console.print(Text(plain(line)), soft_wrap=True)


def _first_steps(config: dict[str, Any]) -> tuple[Any, Callable[[], None]]:
    """Return a workload's optimizer and a function that trains it one step, for a probe."""
    from gap_tune.training.prepared import prepare

    run = prepare(config)
    endless = (each for _ in run.position.epochs(sys.maxsize) for each in run.minibatches())
    return run.learner.optimizer, lambda: run.step(next(endless))
