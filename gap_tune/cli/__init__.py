"""The gap-tune command."""

from __future__ import annotations

import sys
from typing import Any

import typer

from gap_tune.cli import lists, probing, studies
from gap_tune.dashboards.command import dashboards
from gap_tune.errors import GapTuneError
from gap_tune.panel.command import panel

app = typer.Typer(
    name="gap-tune",
    help="Momentum for Ray Tune studies, read off the gradients that training computes.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(studies.demo)
app.command()(studies.compare)
app.command()(studies.resume)
app.command()(studies.report)
app.command()(lists.families)
app.command()(lists.workloads)
app.command()(probing.probe)
app.command()(panel)
app.command()(dashboards)

# Typer's own copy of click, or click itself: the public exception leads to the right base class.
_USAGE_ERROR: Any = typer.BadParameter.__mro__[2]


def main() -> None:
    """Run the command; bad input ends in one line on standard error and exit status 2."""
    if len(sys.argv) == 1:
        sys.argv.append("--help")
    try:
        status = app(standalone_mode=False)
    except (GapTuneError, _USAGE_ERROR) as error:
        text = error.format_message() if isinstance(error, _USAGE_ERROR) else str(error)
        print(f"gap-tune: error: {text}", file=sys.stderr)
        sys.exit(2)
    except (KeyboardInterrupt, typer.Abort):
        print("gap-tune: interrupted; `gap-tune resume FOLDER` continues.", file=sys.stderr)
        sys.exit(130)
    sys.exit(status if isinstance(status, int) else 0)
