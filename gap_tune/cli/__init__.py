"""The gap-tune command."""

from __future__ import annotations

from typing import Annotated

import typer

from gap_tune import __version__
from gap_tune.cli import (
    comparing,
    completion,
    dashboards,
    judging,
    lists,
    planning,
    probing,
    reporting,
    running,
    simulating,
)
from gap_tune.cli.group import Command, Commands

app = typer.Typer(
    name="gap-tune",
    cls=Commands,
    help="Momentum for Ray Tune studies, read off the gradients that training computes.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for command in (
    comparing.demo,
    comparing.compare,
    running.resume,
    reporting.report,
    lists.families,
    lists.workloads,
    probing.probe,
    judging.panel,
    planning.plan,
    dashboards.dashboards,
):
    app.command(cls=Command)(command)
app.add_typer(simulating.app, name="simulate")


@app.callback(invoke_without_command=True)
def _without_command(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
) -> None:
    if version:
        typer.echo(f"gap-tune {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main() -> None:
    """Run the command that the process was started with."""
    with completion.of_whole_words():
        app(prog_name="gap-tune")
