"""A checkpoint that goes on with other hyperparameters, as population based training asks for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from gap_tune.control import apply_momentum, group_momentum, has_momentum
from gap_tune.tune import keys


def follow_configuration(
    optimizer: torch.optim.Optimizer, schedule: Any, config: Mapping[str, Any]
) -> None:
    """Set a restored optimizer's learning rate and momentum to those of its configuration.

    A checkpoint brings the hyperparameters that it was trained with. They are those of the
    configuration too, unless a scheduler of Ray Tune (``PopulationBasedTraining``) changed it, or
    gave the trial another one's checkpoint; then nothing changes but by them.

    Args:
        optimizer: The optimizer, restored; a schedule has noted its ``initial_lr``.
        schedule: Its schedule, restored; it goes on in proportion to the learning rate.
        config: The trial's configuration. A momentum that gap_tune tunes is left alone.
    """
    if "lr" in config:
        factors = [float(config["lr"]) / group["initial_lr"] for group in optimizer.param_groups]
        for group, factor in zip(optimizer.param_groups, factors, strict=True):
            if factor != 1.0:
                group["lr"] *= factor
                group["initial_lr"] = float(config["lr"])
        # A warm-up is chained with what it multiplies.
        for part in getattr(schedule, "_schedulers", [schedule]):
            part.base_lrs = [lr * f for lr, f in zip(part.base_lrs, factors, strict=True)]
    fixed = keys.section(config).get("mode") == keys.MODE_FIXED
    if not fixed or "momentum" not in config or not has_momentum(optimizer):
        return
    if any(group_momentum(group) != config["momentum"] for group in optimizer.param_groups):
        apply_momentum(optimizer, config["momentum"])
