"""The gap-tune command."""

from __future__ import annotations

from typing import Annotated

import typer

from gap_tune import __version__
from gap_tune.cli import comparing, dashboards, judging, lists, probing, reporting, running
from gap_tune.cli.group import Commands

app = typer.Typer(
    name="gap-tune",
    cls=Commands,
    help="Momentum for Ray Tune studies, read off the gradients that training computes.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(comparing.demo)
app.command()(comparing.compare)
app.command()(running.resume)
app.command()(reporting.report)
app.command()(lists.families)
app.command()(lists.workloads)
app.command()(probing.probe)
app.command()(judging.panel)
app.command()(dashboards.dashboards)


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
    app(prog_name="gap-tune")
