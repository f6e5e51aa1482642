"""Commands that list what there is to choose from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table

from gap_tune.cli.document import document
from gap_tune.cli.group import whole_words
from gap_tune.cli.options import Json

if TYPE_CHECKING:
    from gap_tune.theory.families import Family
    from gap_tune.training.families.base import OptimizerFamily

_OWN = (
    'Options go into "workload_options" of a trial\'s configuration. Your own class is a workload '
    'too: "package.module:Class".'
)


def families(as_json: Json = False) -> None:
    """List optimizers: what --family and --arms take, what GAP tunes, and their theory."""
    from gap_tune.theory.families import THEORY_FAMILIES
    from gap_tune.training.families.table import BASE_FAMILIES, TRAINING_FAMILIES

    given = {name: TRAINING_FAMILIES[name] for name in BASE_FAMILIES}
    others = {name: f for name, f in TRAINING_FAMILIES.items() if name not in given}
    if as_json:
        with document("families", wanted=True) as made:
            made |= {
                "family": _trained(given),
                "arms": _trained(others),
                "tuned": _tuned(),
                "theory": [
                    {"name": family.name, "source": family.source, **_lines(family)}
                    for family in THEORY_FAMILIES.values()
                ],
            }
        return
    console = Console()
    _print_section(console, "--family: what a study trains with, at the momentum of each arm")
    _print_table(console, _trained(given))
    _print_section(console, "--arms: optimizers that are arms themselves, beside gap and fixed:...")
    _print_table(console, _trained(others))
    _print_tuned(console)
    _print_theory(console)


def _trained(families: Mapping[str, OptimizerFamily]) -> list[dict[str, str]]:
    return [
        {
            "name": name,
            "class": family.path,
            "hyperparameters": ", ".join(("lr", *family.defaults)),
            "source": family.source,
        }
        for name, family in families.items()
    ]


def _print_table(console: Console, rows: Sequence[Mapping[str, str]]) -> None:
    """Print a row per line where the terminal is wide enough, else its cells below each other."""
    name, first, *others = rows[0]
    columns = zip(rows[0], *(row.values() for row in rows), strict=True)
    if sum(max(map(len, cells)) + 2 for cells in columns) <= console.width:
        table = Table(*rows[0], box=None)
        for row in rows:
            table.add_row(*row.values())
    else:
        table = Table(name, "; ".join([first, *others]), box=None)
        for row in rows:
            rest = "; ".join(row[other] for other in others if row[other])
            table.add_row(row[name], f"{row[first]}\n{rest}")
    table.columns[0].no_wrap = True
    console.print(table, markup=False, highlight=False)


def _tuned() -> list[str]:
    from gap_tune.theory.families import THEORY_FAMILIES, Update

    return [
        str(implementation)
        for family in THEORY_FAMILIES.values()
        if family.update is not Update.MEMORYLESS
        for implementation in family.implementations
    ]


def _print_tuned(console: Console) -> None:
    _print_section(
        console, "gap_tune.attach: optimizers of your own training whose momentum GAP tunes"
    )
    others = "Others that have betas are named to it by gap_tune.theory.families.register."
    for text in (", ".join(_tuned()), others):
        console.print(Padding(text, (0, 1)), markup=False, highlight=False)


def _lines(family: Family) -> dict[str, str]:
    return {
        "budget": family.budget,
        "cone": family.cone,
        "optimum": family.optimum,
        "derived": ", ".join(h.symbol for h in family.hyperparameters if h.derived_by),
        "classes": ", ".join(map(str, family.implementations)),
        "note": family.note,
    }


def _print_theory(console: Console) -> None:
    from gap_tune.theory.families import THEORY_FAMILIES

    _print_section(
        console, "gap_tune.theory: what each optimizer maximises, and under which budget"
    )
    for family in THEORY_FAMILIES.values():
        console.print(f"{family.name} ({family.source})", style="bold", highlight=False)
        for label, text in _lines(family).items():
            if text:
                line = whole_words(f"  {label + ':':<9}{text}", console.width, " " * 11)
                console.print(line, markup=False, highlight=False, soft_wrap=True)


def _print_section(console: Console, heading: str) -> None:
    console.print(f"\n{heading}\n", style="bold underline", markup=False, highlight=False)


def workloads(as_json: Json = False) -> None:
    """List the workloads with their data and what they need."""
    from gap_tune.workloads import WORKLOADS

    rows: list[dict[str, Any]] = [
        {
            "name": name,
            "task": workload.description,
            "data": f"{workload.size}; {workload.source}",
            "needs": workload.needs,
        }
        for name, workload in WORKLOADS.items()
    ]
    if as_json:
        with document("workloads", wanted=True) as made:
            made["workloads"] = rows
        return
    console = Console()
    _print_workloads(console, rows)
    console.print(_OWN, markup=False, highlight=False)


def _print_workloads(console: Console, rows: Sequence[Mapping[str, str]]) -> None:
    """Print each workload over a few lines: sentences do not fit side by side."""
    table = Table("name", "task, data, needs", box=None)
    table.columns[0].no_wrap = True
    for row in rows:
        needs = "" if row["needs"] == "nothing" else f"\nneeds {row['needs']}"
        table.add_row(row["name"], f"{row['task']}\n{row['data']}{needs}")
    console.print(table, markup=False, highlight=False)
