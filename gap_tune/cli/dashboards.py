"""The command that writes dashboards."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


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
) -> None:
    """Write a Grafana dashboard, and what makes Prometheus, Grafana and Ray show it."""
    from gap_tune.dashboards import Addresses, write_dashboards

    chosen = {} if target is None else {"targets": target}
    readme = write_dashboards(out, Addresses(grafana=grafana, prometheus=prometheus, **chosen))
    console = Console()
    console.print(readme.read_text().rstrip(), markup=False, highlight=False, soft_wrap=True)
    console.print(f"\nwritten to {readme.parent}", markup=False, highlight=False, soft_wrap=True)
