"""Trainables: class trainables, their checkpoints (facts 16 and 25), what a trial asks for."""

from __future__ import annotations

from typing import Any

from ray.tune import Trainable


def requested(trial: Any) -> list[dict[str, float]]:
    """Return the bundles of resources that a trial asks for, of which a node must hold each."""
    return list(trial.placement_group_factory.bundles)


def is_stored(trainable: Trainable) -> bool:
    """Tell whether Tune stores the checkpoints of a class trainable; nobody else does."""
    return bool(trainable._storage)


def no_checkpoint(trainable: Trainable) -> Any:
    """Return what a class trainable's ``save`` answers where there is no checkpoint."""
    from ray.train._internal.checkpoint_manager import _TrainingResult

    return _TrainingResult(checkpoint=None, metrics=dict(trainable._last_result or {}))
