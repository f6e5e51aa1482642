"""Suite: arms over settings, learning rates and paired seeds, as a list of runs to do."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from gap_tune.errors import InvalidValueError, check_count, check_range
from gap_tune.records.suites import RunKey, key_of
from gap_tune.study.arms import Arm, check_arms
from gap_tune.study.conditions import Conditions
from gap_tune.study.methods.plan import PlannedTrials
from gap_tune.tune import GapSearch, keys

# Of a learning rate: runs are told apart by it, those of earlier sessions too.
_DIGITS = 4


@dataclass(frozen=True)
class Job:
    """One run to do.

    Attributes:
        config: The configuration, as a trial of Ray Tune gets it: what the loop trains by, the name
            of the ``setting``, and the place of the learning rate among the arm's, ``rate``.
    """

    config: Mapping[str, Any]

    @property
    def key(self) -> RunKey:
        """What tells it apart from the suite's other runs, as of ``records.suites.key_of``."""
        return key_of(self.config)


@dataclass(frozen=True)
class Suite:
    """What is to be compared: every arm, in every setting, at all learning rates, on all seeds.

    Attributes:
        settings: What all arms have in common in each setting, by name.
        arms: The arms; each is one run, without a search.
        seeds: Number of paired seeds.
        lr_span: Largest over smallest learning rate; an arm's recipe is in their middle.
        lr_count: How many learning rates, equally spaced in their logarithm.

    Raises:
        InvalidValueError: When a number is out of range, or an arm searches or stands twice.

    >>> from gap_tune.study import parse_arm
    >>> from gap_tune.study.conditions import Conditions
    >>> task = {"workload": "logistic", "family": "sgd", "batch_size": 16, "epochs": 2}
    >>> tables = {"tables": Conditions(task, 0.1, (0.1, 0.1), "validation_loss", "min")}
    >>> arms = (parse_arm("gap"), parse_arm("fixed:0.5"))
    >>> jobs = Suite(tables, arms, seeds=2, lr_span=100.0, lr_count=3).jobs()
    >>> len(jobs), jobs[0].key, jobs[1].config["momentum"]
    (12, ('tables', 'gap', 0.01, 0), 0.5)
    """

    settings: Mapping[str, Conditions]
    arms: tuple[Arm, ...]
    seeds: int
    lr_span: float
    lr_count: int

    def __post_init__(self) -> None:
        check_count("seeds", self.seeds)
        check_count("lr_count", self.lr_count)
        check_range("lr_span", self.lr_span, 1.0, float("inf"))
        for arm in check_arms(self.arms):
            if arm.search is not None:
                raise InvalidValueError(
                    f"an arm of a suite must be one run without a search, but got {arm.name!r}."
                )

    def learning_rates(self, setting: str, arm: Arm) -> list[float]:
        """Return the learning rates of an arm in a setting, increasing, to four digits.

        They are those of ``Conditions.lrs_of`` over the suite's range.
        """
        conditions, half = self.settings[setting], math.sqrt(self.lr_span)
        bounds = (conditions.lr / half, conditions.lr * half)
        swept = replace(conditions, lr_range=bounds, lrs=self.lr_count)
        return [float(f"{lr:.{_DIGITS}g}") for lr in swept.lrs_of(arm)]

    def describe(self) -> dict[str, Any]:
        """Return what results depend on besides the code, as JSON values, arms left out."""
        return {
            "settings": [
                {"name": name, **conditions.settings, "lr": conditions.lr}
                for name, conditions in self.settings.items()
            ],
            "seeds": self.seeds,
            "lr_span": self.lr_span,
            "lr_count": self.lr_count,
        }

    def jobs(self) -> list[Job]:
        """Return all runs, seed by seed, so that pairs run close in time and the end can be told.

        Raises:
            InvalidValueError: When a setting's family or workload is unknown.
        """
        pairs = list(itertools.product(self.settings, self.arms))
        common = {(name, arm.name): self._common(name, arm) for name, arm in pairs}
        rates = {(name, arm.name): self.learning_rates(name, arm) for name, arm in pairs}
        return [
            Job(
                {
                    **common[name, arm.name],
                    "lr": rates[name, arm.name][rate],
                    "rate": rate,
                    "seed": seed,
                }
            )
            for seed in range(self.seeds)
            for rate in range(self.lr_count)
            for name, arm in pairs
        ]

    def _common(self, setting: str, arm: Arm) -> dict[str, Any]:
        """Return what the configurations of an arm in a setting have in common."""
        conditions = self.settings[setting]
        recipe = conditions.recipe_of(arm)
        own = _completed(arm.configuration(conditions.family), conditions)
        return {"setting": setting, **conditions.settings_of(arm), **recipe, **own}


def _completed(own: dict[str, Any], conditions: Conditions) -> dict[str, Any]:
    """Return what sets an arm's runs apart: momentum, mode and reference as in a study.

    ``GapSearch`` supplies them as it does for a study's first trial.
    """
    search = GapSearch(PlannedTrials([own]))
    search.set_search_properties(conditions.metric, conditions.mode, {})
    completed: dict[str, Any] = search.suggest("run")
    # Runs without Ray decide as a scheduler would.
    completed.get(keys.SECTION, {}).pop(keys.SCHEDULED, None)
    return completed
