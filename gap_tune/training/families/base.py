"""OptimizerFamily: an optimizer with its hyperparameters, as the loop and its arms see it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from gap_tune.workloads.base import Workload


@dataclass(frozen=True)
class OptimizerFamily:
    """An optimizer class with its hyperparameters.

    Attributes:
        name: What users call it: ``config["family"]``, or an arm of a study.
        optimizer: The class.
        space: Ray Tune domains by constructor argument, besides ``lr`` and ``weight_decay``.
        defaults: The point of that space to use where nothing is searched.
        arguments: Constructor arguments that stay as they are.
        has_momentum: Whether its groups hold ``momentum`` or ``betas`` for gap_tune to tune; false
            for methods that tune themselves, even where they show a momentum there.
        like: The family whose learning rate and weight decay a workload's recipe takes for this
            one; None is the family itself.
        lr: Learning rate to start with at any workload, for optimizers that scale it themselves.
        lr_factor: What to multiply the recipe's learning rate by otherwise.
        schedule: Learning-rate schedule that the method is meant for; None is the workload's.
    """

    name: str
    optimizer: Callable[..., torch.optim.Optimizer]
    space: Mapping[str, Any]
    defaults: Mapping[str, Any]
    arguments: Mapping[str, Any] = field(default_factory=dict)
    has_momentum: bool = False
    like: str | None = None
    lr: float | None = None
    lr_factor: float = 1.0
    schedule: str | None = None

    def make(self, parameters: Any, config: Mapping[str, Any]) -> torch.optim.Optimizer:
        """Return the optimizer for a trial's configuration.

        Args:
            parameters: What to train.
            config: Holds ``lr`` and ``weight_decay``, and any hyperparameter of the space; those
                that it lacks take their defaults.
        """
        chosen = {name: config.get(name, value) for name, value in self.defaults.items()}
        return self.optimizer(
            parameters,
            lr=config["lr"],
            weight_decay=config["weight_decay"],
            **chosen,
            **self.arguments,
        )

    def recipe(self, workload: Workload) -> dict[str, float]:
        """Return the learning rate and weight decay to start with at a workload.

        A workload's own entry for this family goes before everything said here.
        """
        recipe = workload.recipe(self.like or self.name)
        lr = recipe["lr"] * self.lr_factor if self.lr is None else self.lr
        return {**recipe, "lr": lr, **workload.recipes.get(self.name, {})}
