"""Runs a study and loses a node in the middle of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray import tune

from tests.faults.studies import courses_to_json, tuner


class LoseNode(tune.Callback):  # type: ignore[misc]
    """Loses a node once a trial on it has reported often enough."""

    def __init__(self, lose: Callable[[], None], lost: Callable[[], set[str]]) -> None:
        self._lose, self._lost = lose, lost
        self.moved: str | None = None

    def __getstate__(self) -> dict[str, Any]:
        # Ray saves callbacks with the study; a cluster cannot be saved.
        return {"moved": self.moved}

    def on_trial_result(
        self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        if self.moved is None and result["node"] in self._lost() and iteration_of(result) >= 4:
            self.moved = trial.trial_id
            self._lose()


def iteration_of(result: dict[str, Any]) -> int:
    """Return how many times the trial has reported."""
    return int(result["training_iteration"])


def run_and_lose(
    folder: Path,
    resources: dict[str, float],
    lose: Callable[[], None],
    *,
    lost: Callable[[], set[str]],
) -> None:
    """Run two trials, lose the node of one of them, and write what came of it."""
    plan = [{"seed": seed, "pause_s": 0.3} for seed in (0, 1)]
    losing = LoseNode(lose, lost)
    study = tuner(folder / "disturbed", plan, resources=resources, callbacks=[losing])
    grid = study.fit()
    assert not grid.errors, grid.errors
    assert losing.moved is not None, "no trial ran on the node to lose"
    (moved,) = (result for result in grid if losing.moved in result.path)
    nodes = moved.metrics_dataframe["node"].nunique()  # type: ignore[index]
    outcome = {"nodes_of_the_moved_trial": nodes, "courses": courses_to_json(grid)}
    (folder / "outcome.json").write_text(json.dumps(outcome))
