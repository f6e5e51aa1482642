"""Setting: a task with what a study on it searches."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ray import tune

from gap_tune.errors import InvalidValueError, check_range
from gap_tune.simulation.recorded import RecordedTask
from gap_tune.simulation.task import Task
from gap_tune.study.grammar import DEMO_MOMENTA

LR, MOMENTUM, SEED = "lr", "momentum", "seed"
TEST = "test_loss"
# Enough to find the best learning rate of each momentum, and what a recorded table has.
_RATES = 15


@dataclass(frozen=True)
class Setting:
    """A task, and the space in which studies on it search.

    Args:
        task: What to train. Its metric is a loss, and its reports hold ``test_loss``.
        lrs: The smallest and the largest learning rate, meant for momentum 0.9.
        momenta: The momenta that a sweep tries.
        seeds: Seeds that a task can be trained with, as ``config["seed"]``: those that were
            recorded, where it is a recorded one.
        family: The optimizer's, "sgd" or "adamw". As ``gap_tune`` itself by default, GAP couples
            the learning rate of the first to momentum, and not that of the second.
        rates: Learning rates to find the best fixed momentum by, in hindsight.
        untrained: Test losses of the untrained models, by seed; None where nobody knows them.

    Raises:
        InvalidValueError: When the task's mode is "max", the range is none, or there is nothing to
            choose from.
    """

    task: Task
    lrs: tuple[float, float]
    momenta: tuple[float, ...] = DEMO_MOMENTA
    seeds: tuple[int, ...] = (0, 1, 2, 3)
    family: str = "sgd"
    rates: int = _RATES
    untrained: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if self.task.mode != "min":
            raise InvalidValueError(
                "mode of a task must be 'min' for studies on it to be compared by ratios of "
                f"losses, but got {self.task.mode!r} of {self.task.name}."
            )
        low, high = self.lrs
        check_range("lrs", low, 0, math.inf, low_open=True)
        if not low < high < math.inf:
            raise InvalidValueError(f"lrs must be a range of two numbers, but got {self.lrs}.")
        for name in ("momenta", "seeds"):
            if not getattr(self, name):
                raise InvalidValueError(f"{name} must hold one value at least, but got none.")

    @classmethod
    def recorded(cls, task: RecordedTask) -> Setting:
        """Return the setting of recorded runs: all that they cover."""
        rates = task.learning_rates
        return cls(
            task,
            (rates[0], rates[-1]),
            task.momenta,
            tuple(range(task.seeds)),
            "sgd" if task.sums_gradients else "adamw",
            len(rates),
            task.untrained,
        )

    @property
    def name(self) -> str:
        """What tables call it: the task's name."""
        return self.task.name

    def of_seeds(self, count: int) -> Setting:
        """Return the setting with the first of its seeds only."""
        untrained = None if self.untrained is None else self.untrained[:count]
        return replace(self, seeds=self.seeds[:count], untrained=untrained)

    def seed_of(self, repeat: int) -> int:
        """Return the seed of all trials of a repeat: one after the other."""
        return self.seeds[repeat % len(self.seeds)]

    def random_seed(self, repeat: int) -> int:
        """Return what seeds the searcher and the clock of a repeat.

        It is the setting's own: were all settings searched by the same draws, the luck of these
        would be that of all settings, and a bootstrap of settings would not see it.
        """
        return zlib.crc32(f"{self.name} {repeat}".encode())

    def grid(self, count: int) -> list[float]:
        """Return so many learning rates, evenly spaced in their logarithm; one is the middle."""
        low, high = map(math.log, self.lrs)
        if count == 1:
            return [math.exp((low + high) / 2)]
        return [math.exp(low + (high - low) * place / (count - 1)) for place in range(count)]

    def space(self, repeat: int, *, momentum: bool) -> Mapping[str, Any]:
        """Return Ray Tune's ``param_space`` of a repeat.

        Args:
            repeat: Which one.
            momentum: Whether momentum is searched.
        """
        space = {LR: tune.loguniform(*self.lrs), SEED: self.seed_of(repeat)}
        return {**space, MOMENTUM: tune.choice(list(self.momenta))} if momentum else space
