"""Plan: which searches a study is made of, and how many trials its budget pays each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

from gap_tune.errors import InvalidValueError
from gap_tune.study.arms import Arm
from gap_tune.study.budget import ArmBudget
from gap_tune.study.compared import Compared
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

    conditions: Compared
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

    @property
    def budget_text(self) -> str:
        """In words, what arms may spend per seed."""
        swept, lrs = len(self.swept_lrs()), self.conditions.lrs
        if not swept:
            return self.budget.text
        if swept == len(self.arms):
            return f"every arm at {lrs} learning rates per seed"
        others = self.budget.text_of("every other arm")
        return f"each arm that searches none at {lrs} learning rates per seed, {others}"

    def sweeps(self, arm: Arm) -> bool:
        """Whether the arm is trained at all of several learning rates, having no search of them."""
        plan = arm.plan()
        return self.conditions.lrs > 1 and bool(plan) and not any("lr" in each for each in plan)

    def swept_lrs(self) -> dict[str, tuple[float, ...]]:
        """Return the learning rates of each arm that is trained at all of several."""
        return {arm.name: self.conditions.lrs_of(arm) for arm in self.arms if self.sweeps(arm)}

    def trials_per_seed(self, arm: Arm) -> int | None:
        """Return how many trials an arm starts per seed; None where that depends on their course.

        Raises:
            InvalidValueError: When the budget is less than a full trial.
        """
        if self.sweeps(arm):
            return len(arm.plan()) * self.conditions.lrs
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
            InvalidValueError: When one cannot, or the budget is less than a full trial or less than
                a sweep of learning rates takes.
        """
        for arm in self.arms:
            trials = self.trials_per_seed(arm)
            if self.sweeps(arm):
                self._check_sweep(arm)
            elif arm.search is not None and trials is not None:
                arm.search.check_trials(arm.name, trials)

    def _check_sweep(self, arm: Arm) -> None:
        needed = len(arm.plan()) * self.conditions.lrs
        paid = self.budget.amount if self._full_trials is None else self._full_trials
        if self.budget.kind != "own" and paid + 1e-9 < needed:
            raise InvalidValueError(
                f"a budget must pay what the arm {arm.name} takes at {self.conditions.lrs} "
                f"learning rates, {needed} trials per seed, but got {self.budget}."
            )

    def shares(self, arm: Arm) -> bool:
        """Whether the arm's trials are planned ones of the shared run."""
        if self.sweeps(arm):
            return True
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
        # Seed by seed, and learning rate by learning rate, so that pairs run close in time.
        trials = [
            trial
            for seed in range(self.seeds)
            for place in range(self.conditions.lrs)
            for arm in arms
            for trial in self._trials(arm, seed, place)
        ]
        conditions = self.conditions
        planned = PlannedTrials(trials, conditions.metric, conditions.mode)
        searcher = GapSearch(planned, momentum=conditions.momentum)
        return Search(conditions.settings, len(trials), searcher, GapScheduler())

    def _trials(self, arm: Arm, seed: int, place: int) -> list[dict[str, Any]]:
        """Return an arm's trials of a seed at one of its learning rates, counted from 0."""
        if self.sweeps(arm):
            return self.conditions.planned(arm, seed, self.conditions.lrs_of(arm)[place])
        return self.conditions.planned(arm, seed, None) if place == 0 else []
