"""What the tests of GapSearch report to it, without a trial."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial
from ray.tune.search import Searcher

from gap_tune import DEFAULT_CANDIDATES, AlignmentStatistics
from gap_tune.testing import make_statistics


def leaning(
    best: float,
    *,
    scale: float = 1.0,
    weight: float = 5.0,
    steps: int = 5,
    whitening: float | None = None,
    candidates: Sequence[float] = DEFAULT_CANDIDATES,
    dimension: int = 10,
) -> AlignmentStatistics:
    """Return statistics whose largest gain by far is that of ``best``: 100 times the power."""
    power = scale * weight
    most = 100.0 * power / (best * math.sqrt(1 - best**2))
    return make_statistics(
        candidates,
        alignment=tuple(most if c == best else 0.1 * power for c in candidates),
        autocorrelation=(power, 0.5 * power),
        whitening=whitening,
        weight=weight,
        steps=steps,
        dimension=dimension,
    )


def random_statistics(generator: np.random.Generator) -> AlignmentStatistics:
    """Return statistics with any gains, of gradients of any size."""
    scale, weight = 10.0 ** generator.uniform(-6, 6), generator.uniform(1, 5)
    sums = scale * weight * generator.normal(1.0, 3.0, 4)
    return make_statistics(
        alignment=tuple(sums.tolist()),
        autocorrelation=(scale * weight, 0.0),
        weight=weight,
        steps=9,
    )


def optuna_trials(storage: BaseStorage) -> list[FrozenTrial]:
    """Return all that Optuna was told and asked, by the storage that ``OptunaSearch`` was given."""
    names = optuna.get_all_study_names(storage)
    return [t for name in names for t in optuna.load_study(study_name=name, storage=storage).trials]


def report(statistics: AlignmentStatistics, loss: float = 1.0, **rest: Any) -> dict[str, Any]:
    """Return a trial's flattened result."""
    text = json.dumps(statistics.to_dict())
    return {"loss": loss, "training_iteration": 1, "gap/statistics": text, **rest}


class Listed(Searcher):
    """Suggests given configurations, and keeps what it is told."""

    def __init__(self, *configurations: dict[str, Any]) -> None:
        super().__init__(metric="loss", mode="min")
        self.left = list(configurations)
        self.told: list[tuple[Any, ...]] = []

    def suggest(self, trial_id: str) -> Any:
        return dict(self.left.pop(0)) if self.left else {}

    def set_search_properties(self, *_: Any, **spec: Any) -> bool:
        return True

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        self.told.append((trial_id, result["loss"]))

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        self.told.append((trial_id, result and result["loss"], error))
