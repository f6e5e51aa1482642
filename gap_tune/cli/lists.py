"""Commands that list what there is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.console import Console
from rich.padding import Padding
from rich.table import Table

if TYPE_CHECKING:
    from gap_tune.training.families.base import OptimizerFamily


def families() -> None:
    """List optimizers: what --family and --arms take, what GAP tunes, and their theory."""
    from gap_tune.training.families.table import BASE_FAMILIES, TRAINING_FAMILIES

    console = Console()
    given = {name: TRAINING_FAMILIES[name] for name in BASE_FAMILIES}
    _print_training(
        console, "--family: what a study trains with, at the momentum of each arm", given
    )
    others = {name: f for name, f in TRAINING_FAMILIES.items() if name not in given}
    _print_training(
        console, "--arms: optimizers that are arms themselves, beside gap and fixed:...", others
    )
    _print_tuned(console)
    _print_theory(console)


def _print_training(
    console: Console, heading: str, families: Mapping[str, OptimizerFamily]
) -> None:
    table = Table("name", "class", "hyperparameters", "source", box=None)
    for column in table.columns[:2]:
        column.no_wrap = True
    for name, family in families.items():
        hyperparameters = ", ".join(("lr", *family.defaults))
        table.add_row(name, family.path, hyperparameters, family.source)
    _print_section(console, heading)
    console.print(table, markup=False, highlight=False)


def _print_tuned(console: Console) -> None:
    from gap_tune.theory.families import THEORY_FAMILIES, Update

    _print_section(
        console, "gap_tune.attach: optimizers of your own training whose momentum GAP tunes"
    )
    tuned = [
        str(implementation)
        for family in THEORY_FAMILIES.values()
        if family.update is not Update.MEMORYLESS
        for implementation in family.implementations
    ]
    others = "Others that have betas are named to it by gap_tune.theory.families.register."
    for text in (", ".join(tuned), others):
        console.print(Padding(text, (0, 1)), markup=False, highlight=False)


def _print_theory(console: Console) -> None:
    from gap_tune.theory.families import THEORY_FAMILIES

    _print_section(
        console, "gap_tune.theory: what each optimizer maximises, and under which budget"
    )
    for family in THEORY_FAMILIES.values():
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


def _print_section(console: Console, heading: str) -> None:
    console.print(f"\n{heading}\n", style="bold underline", markup=False, highlight=False)


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
