"""Plan: which searches a study is made of, and how many trials its budget pays each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

from gap_tune.study.arms import Arm
from gap_tune.study.budget import ArmBudget
from gap_tune.study.conditions import Conditions
from gap_tune.study.methods.base import Search, SearchTask
from gap_tune.study.methods.optuna import LearningRates
from gap_tune.study.methods.plan import PlannedTrials
from gap_tune.tune import GapScheduler, GapSearch


@dataclass(frozen=True)
class PlannedSearch:
    """A search of a study, which becomes a run.

    Attributes:
        make: Returns the search, anew at every call.
        arm: The arm that it belongs to; None when several share it.
        seed: The seed; None when it has all.
    """

    make: Callable[[], Search]
    arm: str | None = None
    seed: int | None = None


@dataclass(frozen=True)
class Plan:
    """The searches of a study; knows neither how they are run nor where results are kept.

    Attributes:
        conditions: What all arms have in common.
        arms: The arms.
        seeds: Number of paired seeds.
        budget: What an arm may spend per seed.
    """

    conditions: Conditions
    arms: tuple[Arm, ...]
    seeds: int
    budget: ArmBudget

    @cached_property
    def _full_trials(self) -> float | None:
        """What a budget of steps pays per seed; loads the data to know."""
        if not self.budget.limits_steps:
            return None
        known = self.budget.kind == "full"
        return self.budget.full_trials(1 if known else self.conditions.steps_of_a_trial())

    def trials_per_seed(self, arm: Arm) -> int | None:
        """Return how many trials an arm starts per seed; None where that depends on their course.

        Raises:
            InvalidValueError: When the budget is less than a full trial.
        """
        if self._full_trials is not None:
            stops_early = arm.search is not None and arm.search.stops_early
            return None if stops_early else int(self._full_trials + 1e-9)
        return self.budget.amount if self.budget.kind == "trials" else arm.trials

    def total_trials(self) -> int | None:
        """Return how many trials the study starts; None where that depends on their course."""
        each = [self.trials_per_seed(arm) for arm in self.arms]
        return None if None in each else sum(n or 0 for n in each) * self.seeds

    def check_trials(self) -> None:
        """Check that every method can do with what the budget pays.

        Raises:
            InvalidValueError: When one cannot, or the budget is less than a full trial.
        """
        for arm in self.arms:
            trials = self.trials_per_seed(arm)
            if arm.search is not None and trials is not None:
                arm.search.check_trials(arm.name, trials)

    def shares(self, arm: Arm) -> bool:
        """Whether the arm's trials are planned ones of the shared run."""
        if arm.search is None:
            return self.trials_per_seed(arm) == 1
        return self.budget.kind == "own" and bool(arm.plan())

    def searches(self) -> list[PlannedSearch]:
        """Return the searches: the shared one, if any arm shares it, then seed by seed."""
        shared = [arm for arm in self.arms if self.shares(arm)]
        found = [PlannedSearch(partial(self._shared, shared))] if shared else []
        for seed in range(self.seeds):
            for arm in (arm for arm in self.arms if arm not in shared):
                found.append(PlannedSearch(partial(self._searched, arm, seed), arm.name, seed))
        return found

    def _searched(self, arm: Arm, seed: int) -> Search:
        """Return the search of an arm that has one of its own for a seed."""
        trials = self.trials_per_seed(arm)
        paid = self._full_trials if trials is None else None
        task = SearchTask(self.conditions, arm, seed, trials, paid)
        return (arm.search or LearningRates()).search(task)

    def _shared(self, arms: list[Arm]) -> Search:
        """Return the search of arms that share one: each trial as it is planned."""
        # Seed by seed, so that pairs run close in time.
        trials = [
            trial for seed in range(self.seeds) for arm in arms for trial in self._trials(arm, seed)
        ]
        searcher = GapSearch(PlannedTrials(trials))
        return Search(self.conditions.settings, len(trials), searcher, GapScheduler())

    def _trials(self, arm: Arm, seed: int) -> list[dict[str, Any]]:
        own: Mapping[str, Any] = {
            **arm.configuration(self.conditions.family),
            **self.conditions.recipe_of(arm),
            "seed": seed,
        }
        return [{**own, **trial} for trial in arm.plan()]
