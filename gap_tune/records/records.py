"""Records: what the trials of a study or experiment reported, as tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from gap_tune.records.trials import Trial
from gap_tune.tune.spelling import is_fixed_name

# The margin of studies and panels that state none: who saves most of the steps hardly minds three
# per cent of the loss.
DEFAULT_MARGIN = 0.03


@dataclass(frozen=True)
class Records:
    """A study's results as tables.

    Attributes:
        study: What ``study.json`` says: workload, arms, seeds, metric, mode, budget, settings,
            command, versions; and as ``open_runs`` how many runs of single arms have not ended.
        results: One row per report, in order: ``arm, seed, trial_id, iteration, epoch``, every
            metric, and the columns ``gap/...``.
        trials: One row per trial: ``arm, seed, trial_id, status`` ("finished", "stopped" before
            its last epoch, "failed" or "unfinished"), ``error``, ``reports``, ``steps``,
            ``seconds``, and the metrics of its last report. A run that failed before it had any
            trial has one row, with an empty ``trial_id``.

        configs: The configuration of each trial, by its ``trial_id``.
        folders: The folder that it was read from, likewise.

    Both tables of an experiment in which ``GapSearch`` compared configurations have the columns
    ``configuration``, its number, and ``own_seed``; NaN and None where nothing is compared with a
    trial. ``seed`` then numbers the pairs of both, where there are several of both.

    Both tables have a column ``lr`` where the study sweeps learning rates: the trial's own. Of such
    a study ``study["lrs"]`` says at how many an arm was trained that searches none, and
    ``study["swept"]`` at which.
    """

    study: Mapping[str, Any]
    results: pd.DataFrame
    trials: pd.DataFrame
    configs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    folders: Mapping[str, Path] = field(default_factory=dict)

    @classmethod
    def of(cls, study: Mapping[str, Any], trials: Iterable[Trial]) -> Records:
        """Return the records of trials, in this order."""
        trials = list(trials)
        rows = [report for trial in trials for report in trial.reports]
        configs = {trial.row["trial_id"]: trial.config for trial in trials}
        folders = {
            trial.row["trial_id"]: trial.folder for trial in trials if trial.folder is not None
        }
        return cls(
            study,
            pd.DataFrame(rows),
            pd.DataFrame([trial.row for trial in trials]),
            configs,
            folders,
        )

    @property
    def metric(self) -> str:
        """The metric that arms are compared by."""
        return str(self.study["metric"])

    @property
    def mode(self) -> str:
        """Whether the metric is better low ("min") or high ("max")."""
        return str(self.study["mode"])

    @property
    def margin(self) -> float:
        """What an arm may differ by and still be as good, a share; stated before the study ran."""
        return float(self.study.get("margin", DEFAULT_MARGIN))

    @property
    def arms(self) -> list[str]:
        """The arms in study order; those that only trials name come last."""
        seen = self.trials.get("arm", ())
        return list(dict.fromkeys(str(arm) for arm in (*self.study["arms"], *seen)))

    @property
    def fixed_arms(self) -> list[str]:
        """The arms of fixed momenta, one or a grid of them, in study order."""
        return [arm for arm in self.arms if is_fixed_name(arm)]

    @property
    def unit(self) -> str:
        """What an arm has several of: "seed", "configuration", or "trial" where none is paired."""
        paired = self.study.get("paired", True)
        return str(self.study.get("unit", "seed" if paired else "trial"))

    def where(self, chosen: Callable[[pd.DataFrame], Any]) -> Records:
        """Return the records of some trials.

        Args:
            chosen: Tells of the rows of a table, ``results`` or ``trials``, which are meant.
        """
        results, trials = (
            table if table.empty else table[chosen(table)] for table in (self.results, self.trials)
        )
        return Records(self.study, results, trials, self.configs, self.folders)

    def trials_with(self, status: str, arms: Sequence[str] | None = None) -> pd.DataFrame:
        """Return the trials of a status, of these arms or of all.

        Args:
            status: As in ``trials``.
            arms: Names of arms; None takes all.
        """
        if self.trials.empty:
            return self.trials
        chosen = self.trials["status"] == status
        return self.trials[chosen if arms is None else chosen & self.trials["arm"].isin(list(arms))]
