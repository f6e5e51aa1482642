"""PBT: population based training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ray import tune
from ray.tune.search import BasicVariantGenerator

from gap_tune.study.methods.base import Search, SearchMethod, SearchTask
from gap_tune.study.methods.population import Population

_GENERATIONS = 5


@dataclass(frozen=True)
class PBT(SearchMethod):
    """Population based training in five generations.

    The seed is that of where trials begin; what Ray perturbs is drawn from Python's global
    generator.

    Args:
        trials: The population. It needs two to learn from each other, and costs a restart at every
            exploit.

    >>> PBT().trials
    4
    """

    name = "pbt"
    fewest = 2
    exchanges_checkpoints = True

    trials: int = 4

    def search(self, task: SearchTask) -> Search:
        """Return the search: all trials start at once, and change as they train."""
        space, first = task.space(task.family_momentum())
        epochs, reports = task.conditions.epochs, task.conditions.settings["reports_per_epoch"]
        # Trials learn from each other's checkpoints: at ends of epochs, or at reports where those
        # are too few. Whole numbers of reports: PBT waits for ever when its clock and theirs drift
        # apart.
        few = epochs < _GENERATIONS
        interval = epochs * reports // _GENERATIONS if few else epochs // _GENERATIONS * reports
        # While a trial starts anew from another's checkpoint, that one trains on to the next
        # perturbation: what it saves until then must not push the checkpoint out. One more is there
        # for what Ray saved last, which may name the one that it deletes next.
        kept = max(interval if few else interval // reports, 1) + 2
        mutated = {name: space[name] for name in ("lr", "momentum")}
        scheduler = Population(
            time_attr="training_iteration",
            perturbation_interval=max(interval, 1),
            hyperparam_mutations=mutated,
            custom_explore_fn=_Within({n: (d.lower, d.upper) for n, d in mutated.items()}),
            # All trials wait for each other, so that each spends the steps of a full trial.
            synch=True,
        )
        points = [first] if first else None
        return Search(
            {**space, "checkpoints_per_epoch": reports if few else 1},
            task.trials,
            BasicVariantGenerator(points_to_evaluate=points, random_state=task.seed),
            scheduler,
            # The last report ends a trial, or it would wait once more to be perturbed.
            options={
                "stop": {"epoch": epochs},
                "checkpoint_config": tune.CheckpointConfig(num_to_keep=kept),
            },
        )


class _Within:
    """Keeps what population based training perturbs within the space."""

    def __init__(self, bounds: Mapping[str, tuple[float, float]]) -> None:
        self._bounds = bounds

    def __call__(self, config: dict[str, Any]) -> dict[str, Any]:
        for name, (low, high) in self._bounds.items():
            config[name] = min(max(config[name], low), high)
        return config
