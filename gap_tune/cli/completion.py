"""What a shell completes: names that are known without training anything."""

from __future__ import annotations

from collections.abc import Iterable


def workloads(incomplete: str) -> list[str]:
    """Return the workloads that begin so; where none does, the shell completes files."""
    from gap_tune.workloads.registry import workload_names

    return _beginning(incomplete, workload_names())


def arms(incomplete: str) -> list[str]:
    """Return what the last one of a list of arms may become."""
    from gap_tune.study.grammar import arm_names

    before, comma, last = incomplete.rpartition(",")
    taken = before.split(",")
    names = [name for name in arm_names() if name not in taken]
    return [f"{before}{comma}{name}" for name in _beginning(last, names)]


def families(incomplete: str) -> list[str]:
    """Return the families of optimizers that begin so."""
    from gap_tune.training.families.table import BASE_FAMILIES

    return _beginning(incomplete, BASE_FAMILIES)


def _beginning(incomplete: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]
