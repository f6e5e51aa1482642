"""Studies: what many simulated studies gave, by setting, method and repeat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gap_tune.simulation.answers.hindsight import Hindsight
from gap_tune.simulation.answers.outcome import Floats, Outcome
from gap_tune.simulation.answers.stopping import Judged


@dataclass(frozen=True, eq=False)
class Studies:
    """Simulated studies of several methods on several settings.

    Attributes:
        settings: Names of the settings.
        methods: Names of the methods.
        hindsight: By setting, what fixed momenta end with.
        outcomes: By setting and method, those of the repeats; repeat r has the setting's seed
            number r modulo ``seeds``.
        judged: The same of early stopping, for methods that stop trials.
        momenta: By setting, the momenta that a sweep tries.
        reports: By setting, how many reports a whole trial makes.
        seeds: How many seeds all settings have in common.
        trials: How many trials a study starts.
    """

    settings: tuple[str, ...]
    methods: tuple[str, ...]
    hindsight: Mapping[str, Hindsight]
    outcomes: Mapping[tuple[str, str], Sequence[Outcome]]
    judged: Mapping[tuple[str, str], Sequence[Judged]]
    momenta: Mapping[str, tuple[float, ...]]
    reports: Mapping[str, int]
    seeds: int
    trials: int

    @property
    def repeats(self) -> int:
        """How often each method ran on each setting."""
        return min(map(len, self.outcomes.values()))

    def by_seed(self, setting: str, values: Sequence[Floats]) -> list[Floats]:
        """Return what a setting's repeats gave, as an array of repeats for each seed.

        What is worse than the setting's ceiling, or not there, counts as the ceiling.
        """
        ceiling = self.hindsight[setting].ceiling
        return [
            np.fmin(np.stack(values[seed :: self.seeds]), ceiling[seed])
            for seed in range(self.seeds)
        ]

    def cost(self, method: str) -> float:
        """Return what a study of a method costs, in whole trials: mean over settings."""
        return float(
            np.mean(
                [
                    np.mean([each.reports.sum() for each in self.outcomes[name, method]])
                    / self.reports[name]
                    for name in self.settings
                ]
            )
        )

    def seconds(self, method: str) -> float:
        """Return how long a study of a method takes: mean over settings."""
        every = [self.outcomes[name, method] for name in self.settings]
        return float(np.mean([np.mean([each.seconds for each in own]) for own in every]))
