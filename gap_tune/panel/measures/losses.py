"""Losses: a panel's runs as arrays, settings by arms by learning rates by seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gap_tune.errors import StateError
from gap_tune.tune.spelling import is_fixed_name

Floats = NDArray[np.float64]
_AXES = ["setting", "arm", "rate", "seed"]


@dataclass(frozen=True, eq=False)
class Losses:
    """The losses that count, and which runs diverged.

    An arm of another family has learning rates of its own: the first of one arm is paired with the
    first of another, and so on.

    Attributes:
        settings: Names along the first axis.
        arms: Names along the second axis.
        validation: Settings by arms by places of the learning rate by seeds.
        test: The same of test losses.
        diverged: The same, whether the run diverged.
        lrs: The learning rates, settings by arms by places.
    """

    settings: tuple[str, ...]
    arms: tuple[str, ...]
    validation: Floats
    test: Floats
    diverged: NDArray[np.bool_]
    lrs: Floats

    @classmethod
    def of(cls, runs: pd.DataFrame, settings: Sequence[str]) -> Losses:
        """Return the arrays of runs with the columns ``validation`` and ``test``.

        Args:
            runs: A row per run.
            settings: The settings in their order.

        Raises:
            StateError: When runs are missing.
        """
        arms = list(dict.fromkeys(runs["arm"]))
        levels = [list(settings), arms, *(sorted(runs[axis].unique()) for axis in _AXES[2:])]
        whole = pd.MultiIndex.from_product(levels, names=_AXES)
        known = runs.set_index(_AXES)
        missing = len(whole.difference(known.index))
        if missing or len(known) != len(whole):
            raise StateError(
                "a panel must hold the same runs of every arm and setting to be judged, but got "
                f"{len(known)} runs for {len(whole)} places, {missing} of which have none."
            )
        known = known.reindex(whole)
        shape = tuple(map(len, levels))
        return cls(
            tuple(settings),
            tuple(arms),
            known["validation"].to_numpy(float).reshape(shape),
            known["test"].to_numpy(float).reshape(shape),
            (known["status"] == "diverged").to_numpy().reshape(shape),
            known["lr"].to_numpy(float).reshape(shape)[..., 0],
        )

    @property
    def seeds(self) -> int:
        """How many seeds there are."""
        return int(self.test.shape[-1])

    @property
    def fixed(self) -> list[int]:
        """Places of the arms of fixed momenta."""
        return [place for place, arm in enumerate(self.arms) if is_fixed_name(arm)]

    def of_settings(self, names: Sequence[str]) -> Losses:
        """Return the losses of some of the settings."""
        at = [self.settings.index(name) for name in names]
        return replace(
            self,
            settings=tuple(names),
            validation=self.validation[at],
            test=self.test[at],
            diverged=self.diverged[at],
            lrs=self.lrs[at],
        )

    def tuned_rates(self) -> NDArray[np.intp]:
        """Return the places of tuned rates, settings by arms: lowest mean validation loss."""
        found: NDArray[np.intp] = self.validation.mean(axis=-1).argmin(axis=-1)
        return found
