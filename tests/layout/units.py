"""The units of the layout, and which of them each may import: data flows one way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tests.layout.imports import Import, Sources

SIDES = ("trial", "scheduling", "search", "monitoring", "integrations", "ray_private")
_CORE = {"gradients", "theory", "rules", "control"}
# Modules of ``tune`` itself that no side shares: they use sides, or are used alone.
_ALONE = ("probe", "starting", "tuner")
_WITHIN_TUNE = {"tune.shared", *(f"tune.{name}" for name in (*SIDES, *_ALONE))}
_TUNE = {"tune", *_WITHIN_TUNE}
_TRAINED = {*_CORE, "optim", "workloads", "training"}

# What each unit may import besides itself and the foundation. The modules that lie in the package
# and in ``tune`` itself are units too: faces, which only pass names on, and what all sides share.
ALLOWED: Mapping[str, set[str]] = {
    "_lazy": set(),
    "errors": set(),
    "files": set(),
    "formatting": set(),
    "importing": set(),
    # It names where modules are now, and imports none of them by itself.
    "_moved": {*_TRAINED, *_TUNE, "records", "study", "report"},
    "gradients": set(),
    "theory": set(),
    "rules": {"gradients", "theory"},
    "control": {"gradients", "theory", "rules"},
    "optim": _CORE,
    "tune.shared": {"gradients", "rules"},
    "tune.ray_private": {"rules", "tune.shared"},
    "tune.trial": {*_CORE, "tune.shared", "tune.ray_private"},
    "tune.monitoring": {"rules", "tune.shared", "tune.ray_private"},
    "tune.search": {*_CORE, "tune.shared", "tune.ray_private"},
    "tune.scheduling": {
        *("gradients", "theory", "rules"),
        *("tune.shared", "tune.ray_private", "tune.monitoring"),
    },
    "tune.integrations": {*_CORE, "tune.shared", "tune.ray_private", "tune.trial"},
    "tune.starting": set(),
    "tune.probe": {"gradients", "tune.shared", "tune.starting"},
    "tune.tuner": {
        *("tune.shared", "tune.ray_private"),
        *("tune.scheduling", "tune.search", "tune.monitoring"),
    },
    "tune": {*_WITHIN_TUNE, "rules"},
    "workloads": set(),
    "training": {
        *(*_CORE, "optim", "workloads"),
        *("tune.shared", "tune.ray_private", "tune.trial", "tune.scheduling"),
    },
    "records": {"gradients", "rules", "tune.shared"},
    "study": {*_TRAINED, *_TUNE, "records"},
    "report": {
        *("gradients", "theory", "rules", "control"),
        *("tune.shared", "records", "study"),
    },
    "panel": {"rules", *_TUNE, "workloads", "training", "records", "study", "report"},
    "simulation": {*_TRAINED, *_TUNE, "records", "study", "report", "panel"},
    # It measures with real studies.
    "planning": {"gradients", "rules", "optim", *_TUNE},
    "dashboards": set(),
    "testing": {*_TRAINED, "tune.shared"},
    "gap_tune": {*_TRAINED, *_TUNE, "records", "study", "report", "panel", "dashboards", "_moved"},
    "cli": {
        *(*_TRAINED, *_TUNE, "records", "study", "report", "panel", "dashboards", "testing"),
        *("gap_tune", "simulation", "planning"),
    },
}
# What anyone may import.
FOUNDATION = {"_lazy", "errors", "files", "formatting", "importing"}
WITHOUT_RAY = {
    *(*FOUNDATION, "gradients", "theory", "rules", "control", "optim"),
    *("workloads", "records", "report", "dashboards", "tune.shared"),
}
MOST_MODULES = 14


def unit_of(module: str) -> str:
    """Return the unit of a module of ours.

    >>> unit_of("gap_tune.tune.search.owned"), unit_of("gap_tune.tune.keys"), unit_of("gap_tune")
    ('tune.search', 'tune.shared', 'gap_tune')
    """
    _, *parts = module.split(".")
    if not parts:
        return "gap_tune"
    if parts[0] != "tune" or len(parts) == 1:
        return parts[0]
    return f"tune.{parts[1]}" if parts[1] in (*SIDES, *_ALONE) else "tune.shared"


def forbidden(sources: Sources) -> Iterator[Import]:
    """Yield the imports of our own modules that go against the flow."""
    for each in sources.imports():
        if each.target.split(".")[0] == "gap_tune":
            here, there = unit_of(each.module), unit_of(each.target)
            if there not in {here, *ALLOWED.get(here, ()), *FOUNDATION}:
                yield each


def of_ray(sources: Sources) -> Iterator[Import]:
    """Yield the imports of Ray where there may be none."""
    for each in sources.imports():
        if each.target.split(".")[0] == "ray" and unit_of(each.module) in WITHOUT_RAY:
            yield each


def beyond_numpy(sources: Sources, known: set[str]) -> Iterator[Import]:
    """Yield what the theory imports besides NumPy and, where it is needed, SciPy.

    Args:
        sources: The modules.
        known: Names of the standard library's modules.
    """
    for each in sources.imports():
        top = each.target.split(".")[0]
        fine = {"gap_tune", "numpy", *known} | ({"scipy"} if each.late else set())
        if unit_of(each.module) == "theory" and top not in fine:
            yield each


def crowded(sources: Sources) -> Iterator[tuple[str, int]]:
    """Yield the folders that hold too many modules, their ``__init__.py`` not counted."""
    for package in sources.packages:
        names = sources.trees.keys() - sources.packages
        count = sum(name.rpartition(".")[0] == package for name in names)
        if count > MOST_MODULES:
            yield package, count
