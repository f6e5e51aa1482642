"""The command that writes dashboards."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from gap_tune.cli.document import document
from gap_tune.cli.options import Json
from gap_tune.formatting import plain


def dashboards(
    out: Annotated[Path, typer.Option(help="Folder to write.")] = Path("gap_tune_dashboards"),
    grafana: Annotated[str, typer.Option(help="Address of Grafana.")] = "http://localhost:3000",
    prometheus: Annotated[
        str, typer.Option(help="Address of Prometheus.")
    ] = "http://localhost:9090",
    target: Annotated[
        list[str] | None,
        typer.Option(help="Metrics port of a machine, host:port; may be repeated."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a Grafana dashboard, and what makes Prometheus, Grafana and Ray show it."""
    from gap_tune.dashboards import Addresses, write_dashboards

    chosen = {} if target is None else {"targets": target}
    readme = write_dashboards(out, Addresses(grafana=grafana, prometheus=prometheus, **chosen))
    if as_json:
        with document("dashboards", wanted=True) as made:
            made["files"] = {"folder": readme.parent}
        return
    console = Console()
    console.print(readme.read_text().rstrip(), markup=False, highlight=False, soft_wrap=True)
    console.print(Text(f"\nwritten to {plain(str(readme.parent))}"), soft_wrap=True)
