"""How the trials of a run are chosen and stopped: searcher, scheduler and space for Ray Tune."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import optuna
from ray import tune
from ray.tune.schedulers import ASHAScheduler, MedianStoppingRule, TrialScheduler
from ray.tune.search import BasicVariantGenerator, Searcher
from ray.tune.search.optuna import OptunaSearch

from gap_tune.errors import InvalidValueError
from gap_tune.study.arms import ASHA, GRID, MEDIAN, PBT, Arm
from gap_tune.study.conditions import Conditions
from gap_tune.study.methods.plan import PlannedTrials
from gap_tune.study.methods.population import Population
from gap_tune.study.methods.spending import WithinSteps
from gap_tune.training.families.table import get_family
from gap_tune.tune import GapScheduler, GapSearch, keys

# The momentum that recipes are meant for: where a search begins.
_USUAL_MOMENTUM = 0.9
# Of optuna's TPE, which would otherwise spend ten trials at random.
_MOST_RANDOM_TRIALS = 10
_REDUCTION = 3
_GENERATIONS = 5


@dataclass(frozen=True)
class Search:
    """What a Ray Tune run needs to choose, start and stop trials.

    Attributes:
        space: Ray Tune's ``param_space``.
        trials: How many trials to start; None leaves it to ``searcher``.
        searcher: Suggests configurations.
        scheduler: Stops, or changes, running trials.
        options: Further arguments of ``tune.RunConfig``.
    """

    space: Mapping[str, Any]
    trials: int | None
    searcher: Any
    scheduler: TrialScheduler
    options: Mapping[str, Any] = field(default_factory=dict)


def planned(conditions: Conditions, arms: tuple[Arm, ...], seeds: int) -> Search:
    """Return the search of arms that share a run: each trial as it is planned."""
    # Seed by seed, so that pairs run close in time.
    plan = [
        configuration
        for seed in range(seeds)
        for arm in arms
        for configuration in _trials_of(conditions, arm, seed)
    ]
    search = GapSearch(PlannedTrials(plan))
    return Search(conditions.settings, len(plan), search, GapScheduler())


def _trials_of(conditions: Conditions, arm: Arm, seed: int) -> list[dict[str, Any]]:
    own = {
        **arm.configuration(conditions.family),
        **conditions.recipe_of(arm),
        "seed": seed,
    }
    return [{**own, "momentum": m} for m in arm.momenta] if arm.search == GRID else [own]


def searched(
    conditions: Conditions, arm: Arm, seed: int, *, trials: int, full_trials: float | None = None
) -> Search:
    """Return the search of an arm that has a run of its own for a seed.

    Learning rates are searched between ``conditions.lr_range_of(arm)`` on a logarithmic scale,
    starting with the recipe's, and momentum over the family's space, starting with 0.9: by
    optuna's TPE, which begins with half of its trials, at most ten, at random; by ASHA and by the
    median rule at random; and by population based training in five generations.

    Args:
        conditions: Of the study.
        arm: The arm.
        seed: Seeds the search, and is the seed of all its trials. Of population based training
            it seeds where trials begin; what Ray perturbs is drawn from Python's global generator.
        trials: How many trials to start.
        full_trials: Instead of that many, start what this many full trials pay; None does not.

    Raises:
        InvalidValueError: When the arm's family has no momentum to search.
    """
    space, first = _space(conditions, arm, seed)
    if arm.search == PBT:
        return _population(conditions, space, first, seed, trials)
    searcher: Searcher = OptunaSearch(
        sampler=_sampler(arm, seed, trials), points_to_evaluate=[first] if first else None
    )
    if arm.is_tuned(conditions.family):
        searcher = GapSearch(searcher)
    if full_trials is not None:
        searcher = WithinSteps(searcher, full_trials, conditions.epochs)
    scheduler = GapScheduler(_stopping(conditions, arm))
    return Search(space, None if full_trials is not None else trials, searcher, scheduler)


def _space(conditions: Conditions, arm: Arm, seed: int) -> tuple[dict[str, Any], dict[str, float]]:
    """Return the space of an arm's trials, and the point to start with where it is inside."""
    family = arm.family_in(conditions.family)
    recipe, (low, high) = conditions.recipe_of(arm), conditions.lr_range_of(arm)
    domains: dict[str, Any] = {"lr": tune.loguniform(low, high)}
    first = {"lr": recipe["lr"]}
    if arm.search == GRID:
        domains["momentum"] = tune.choice(list(arm.momenta))
        first["momentum"] = min(arm.momenta, key=lambda m: abs(m - _USUAL_MOMENTUM))
    elif arm.search is not None:
        space = get_family(family).space
        if "momentum" not in space:
            raise InvalidValueError(
                f"the arm {arm.name} must have a family with momentum to search, but got {family}."
            )
        domains["momentum"] = space["momentum"]
        first["momentum"] = _USUAL_MOMENTUM
    own = arm.configuration(conditions.family)
    if not arm.is_tuned(conditions.family):
        # The metric, so that a trial fails itself when it is not finite.
        own[keys.SECTION] = {"mode": keys.MODE_FIXED, "metric": conditions.metric}
    whole = {**conditions.settings, **own, **recipe, "seed": seed, **domains}
    return whole, first if low <= first["lr"] <= high else {}


def _sampler(arm: Arm, seed: int, trials: int) -> optuna.samplers.BaseSampler:
    if arm.search in (ASHA, MEDIAN):
        return optuna.samplers.RandomSampler(seed=seed)
    random_trials = min(_MOST_RANDOM_TRIALS, max(1, trials // 2))
    return optuna.samplers.TPESampler(seed=seed, n_startup_trials=random_trials)


def _stopping(conditions: Conditions, arm: Arm) -> TrialScheduler | None:
    epochs = float(conditions.epochs)
    # By epochs, which are alike whatever the number of reports.
    if arm.search == ASHA:
        return ASHAScheduler(
            time_attr="epoch",
            max_t=epochs,
            grace_period=epochs / _REDUCTION**2,
            reduction_factor=_REDUCTION,
        )
    if arm.search == MEDIAN:
        return MedianStoppingRule(time_attr="epoch", grace_period=epochs / _REDUCTION**2)
    return None


class _Within:
    """Keeps what population based training perturbs within the space."""

    def __init__(self, bounds: Mapping[str, tuple[float, float]]) -> None:
        self._bounds = bounds

    def __call__(self, config: dict[str, Any]) -> dict[str, Any]:
        for name, (low, high) in self._bounds.items():
            config[name] = min(max(config[name], low), high)
        return config


def _population(
    conditions: Conditions, space: dict[str, Any], first: dict[str, float], seed: int, trials: int
) -> Search:
    epochs, reports = conditions.epochs, conditions.settings["reports_per_epoch"]
    # Trials learn from each other's checkpoints: at ends of epochs, or at reports where those are
    # too few. Whole numbers of reports: PBT waits for ever when its clock and theirs drift apart.
    few = epochs < _GENERATIONS
    interval = epochs * reports // _GENERATIONS if few else epochs // _GENERATIONS * reports
    mutated = {name: space[name] for name in ("lr", "momentum")}
    scheduler = Population(
        time_attr="training_iteration",
        perturbation_interval=max(interval, 1),
        hyperparam_mutations=mutated,
        custom_explore_fn=_Within({n: (d.lower, d.upper) for n, d in mutated.items()}),
        # All trials wait for each other, so that each spends the steps of a full trial.
        synch=True,
    )
    return Search(
        {**space, "checkpoints_per_epoch": reports if few else 1},
        trials,
        BasicVariantGenerator(points_to_evaluate=[first] if first else None, random_state=seed),
        scheduler,
        # The last report ends a trial, or it would wait once more to be perturbed. Checkpoints
        # of others are read, so more than the latest must stay.
        options={
            "stop": {"epoch": epochs},
            "checkpoint_config": tune.CheckpointConfig(num_to_keep=4),
        },
    )
