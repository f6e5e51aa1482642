"""Where modules of an earlier layout are now: saved studies and checkpoints name them.

Ray Tune pickles schedulers, searchers and callbacks into an experiment's folder by the names of
their modules, and a study that was begun before the move must be restored after it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

# Folders, where they were before, and the modules that kept their names on the way.
_FOLDERS = {
    ("tune", "tune.trial"): "attaching channels checkpointing epochs exact_types observed session "
    "storage tuning wanted workers",
    ("tune", "tune.scheduling"): "scheduler siblings wrapping",
    ("tune", "tune.monitoring"): "callbacks metrics histogram regret instruments latency "
    "ray_dashboard progress",
    ("tune", "tune.integrations"): "lightning logged hugging_face hugging_face_trainer moments "
    "trainable overriding whereabouts",
    ("tune", "tune.ray_private"): "delivery fifo naming owners watching",
    ("workloads", "workloads.vision"): "cifar digits images resnet vit vit_weights",
    ("workloads", "workloads.text"): "characters language questions",
    ("workloads", "training"): "batches distributed held_out learner local loop perturbed "
    "placement ranks schedules settings",
    ("study", "study.methods"): "plan population spending",
}
_NOW = {
    f"gap_tune.{before}.{name}": f"gap_tune.{now}.{name}"
    for (before, now), names in _FOLDERS.items()
    for name in names.split()
}
_NOW |= {
    "gap_tune.study.records": "gap_tune.records.studies",
    "gap_tune.report.experiment": "gap_tune.records.experiments",
    "gap_tune.workloads.families": "gap_tune.training.families.table",
    "gap_tune.tune.deciding": "gap_tune.tune.scheduling.decider",
    "gap_tune.tune.decisions": "gap_tune.tune.scheduling.decision_log",
    # What keeps the perturbations of a population within their space.
    "gap_tune.study.searches": "gap_tune.study.methods.pbt",
}


def _now(name: str) -> str | None:
    """Return where a module, or one inside of a package that moved, is now; None elsewhere."""
    if name in _NOW:
        return _NOW[name]
    package, _, rest = name.rpartition(".")
    return f"{_NOW[package]}.{rest}" if package in _NOW else None


class _Earlier(MetaPathFinder, Loader):
    """Finds a module under the name that it had before."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return a spec for names of the earlier layout only."""
        return ModuleSpec(fullname, self) if _now(fullname) is not None else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return the module itself, not a second one."""
        module = import_module(str(_now(spec.name)))
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Give the module back its own spec; it has been executed under its own name."""
        spec = module.__spec__
        module.__spec__ = spec.loader_state if spec is not None else None


def install() -> None:
    """Let the earlier names be found, before folders are searched for them a second time."""
    if not any(isinstance(finder, _Earlier) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Earlier())
