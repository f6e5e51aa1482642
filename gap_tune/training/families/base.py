"""OptimizerFamily: an optimizer with its hyperparameters, as the loop and its arms see it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

from gap_tune.errors import UnsupportedError

if TYPE_CHECKING:
    import torch

    from gap_tune.workloads.base import Workload


@dataclass(frozen=True)
class Range:
    """Where a hyperparameter is searched.

    Attributes:
        low: Lower end.
        high: Upper end.
        logarithmic: Whether each order of magnitude is as likely as another.
    """

    low: float
    high: float
    logarithmic: bool = False

    def domain(self) -> Any:
        """Return Ray Tune's domain."""
        from ray import tune

        sample = tune.loguniform if self.logarithmic else tune.uniform
        return sample(self.low, self.high)


MOMENTUM = Range(0.0, 0.99)
BETA2 = Range(0.9, 0.999)


@dataclass(frozen=True)
class OptimizerFamily:
    """An optimizer class with its hyperparameters.

    Attributes:
        name: What users call it: ``config["family"]``, or an arm of a study.
        path: Import path of the class, such as "torch.optim.SGD".
        ranges: Where each hyperparameter besides ``lr`` and ``weight_decay`` is searched, by
            constructor argument.
        defaults: The point of that space to use where nothing is searched.
        arguments: Constructor arguments that stay as they are.
        betas: The two hyperparameters that the class takes together, as ``betas``.
        has_momentum: Whether its groups hold ``momentum`` or ``betas`` for gap_tune to tune; false
            for methods that tune themselves, even where they show a momentum there.
        like: The family whose learning rate and weight decay a workload's recipe takes for this
            one; None is the family itself.
        lr: Learning rate to start with at any workload, for optimizers that scale it themselves.
        lr_factor: What to multiply the recipe's learning rate by otherwise.
        schedule: Learning-rate schedule that the method is meant for; None is the workload's.
        source: Where the method is published, of those that are compared with gap_tune.
    """

    name: str
    path: str
    ranges: Mapping[str, Range] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    arguments: Mapping[str, Any] = field(default_factory=dict)
    betas: tuple[str, str] | None = None
    has_momentum: bool = False
    like: str | None = None
    lr: float | None = None
    lr_factor: float = 1.0
    schedule: str | None = None
    source: str = ""

    @property
    def space(self) -> dict[str, Any]:
        """Ray Tune's domain of each hyperparameter that ``ranges`` names."""
        return {name: searched.domain() for name, searched in self.ranges.items()}

    @property
    def optimizer(self) -> Callable[..., torch.optim.Optimizer]:
        """The class.

        Raises:
            UnsupportedError: When the package that it is from cannot be imported.
        """
        module, _, name = self.path.rpartition(".")
        try:
            found: Callable[..., torch.optim.Optimizer] = getattr(import_module(module), name)
        except ImportError as error:
            raise UnsupportedError(
                f"{name} must find {module}: pip install 'gap-tune[baselines]', but got: {error}."
            ) from None
        return found

    def make(self, parameters: Any, config: Mapping[str, Any]) -> torch.optim.Optimizer:
        """Return the optimizer for a trial's configuration.

        Args:
            parameters: What to train.
            config: Holds ``lr`` and ``weight_decay``, and any hyperparameter of the space; those
                that it lacks take their defaults.

        Raises:
            UnsupportedError: When the package that the class is from cannot be imported.
        """
        chosen = {name: config.get(name, value) for name, value in self.defaults.items()}
        if self.betas is not None:
            first, second = self.betas
            chosen["betas"] = (chosen.pop(first), chosen.pop(second))
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
