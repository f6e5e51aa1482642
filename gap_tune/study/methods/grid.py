"""Grid: tries all of some momenta."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ray import tune

from gap_tune.study.methods.base import USUAL_MOMENTUM, SearchTask
from gap_tune.study.methods.optuna import Optuna


@dataclass(frozen=True)
class Grid(Optuna):
    """All of some momenta at the recipe's learning rate.

    At another budget than its own, optuna's TPE chooses among the momenta and searches the
    learning rate.

    Attributes:
        momenta: The momenta, at least one.

    >>> Grid(momenta=(0.5, 0.9)).trials
    2
    """

    name = "grid"

    trials: int = field(init=False)
    momenta: tuple[float, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "trials", len(self.momenta))
        super().__post_init__()

    def plan(self) -> tuple[Mapping[str, Any], ...]:
        """Return a trial per momentum."""
        return tuple({"momentum": momentum} for momentum in self.momenta)

    def momentum(self, task: SearchTask) -> tuple[Any, float]:
        """Return the momenta, and the one next to 0.9."""
        nearest = min(self.momenta, key=lambda momentum: abs(momentum - USUAL_MOMENTUM))
        return tune.choice(list(self.momenta)), nearest
