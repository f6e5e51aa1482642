"""Commands that list what there is."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table


def families() -> None:
    """List the optimizers of the theory: budget, cone, optimum, and the classes that are them."""
    from gap_tune.theory.families import FAMILIES

    console = Console()
    for family in FAMILIES.values():
        console.print(f"{family.name} ({family.source})", style="bold", highlight=False)
        lines = {
            "budget": family.budget,
            "cone": family.cone,
            "optimum": family.optimum,
            "derived": ", ".join(h.symbol for h in family.hyperparameters if h.derived_by),
            "classes": ", ".join(map(str, family.implementations)),
            "note": family.note,
        }
        for label, text in lines.items():
            if text:
                console.print(f"  {label + ':':<9}{text}", markup=False, highlight=False)


def workloads() -> None:
    """List the workloads with their data and what they need."""
    from gap_tune.workloads import WORKLOADS

    table = Table("name", "task", "data", "needs", box=None)
    table.columns[0].no_wrap = True
    for name, workload in WORKLOADS.items():
        data = f"{workload.size}; {workload.source}"
        table.add_row(name, workload.description, data, workload.needs)
    console = Console()
    console.print(table, markup=False, highlight=False)
    console.print(
        'Options go into "workload_options" of a trial\'s configuration. Your own class is a '
        'workload too: "package.module:Class".',
        markup=False,
        highlight=False,
    )
