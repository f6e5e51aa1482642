"""A scheduler with trials that report when they are told to; Ray's own, without processes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from ray.tune.callback import CallbackList
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler

from gap_tune import (
    AlignmentStatistics,
    Decision,
    FixedMomentum,
    GapScheduler,
    MomentumRule,
)
from gap_tune.rules.recorded import RecordedDecision
from gap_tune.testing import make_statistics
from gap_tune.tune import read_decisions
from gap_tune.tune.ray_private import delivery
from tests.contracts.insides import StorageContext

STATISTICS = make_statistics(
    (0.8, 0.9, 0.95, 0.99),
    alignment=(4.0, 6.0, 12.0, 2.0),
    autocorrelation=(1.0, 0.9, 0.8),
    weight=4.0,
    steps=40,
)
# The same problem with another seed: by itself it asks for 0.99.
OTHER = replace(STATISTICS, alignment=(1.0, 2.0, 30.0, 99.0), steps=50)
NOT_A_NUMBER = STATISTICS.to_dict() | {"weight": float("nan")}


class Process:
    """Stands for the trial's process: what is sent to it is called in this one."""

    class execute:  # noqa: N801
        @staticmethod
        def remote(function: Callable[[Any], None]) -> None:
            function(None)


class Controller:
    """What a scheduler and delivery ask of Ray's controller."""

    def __init__(self) -> None:
        self.trials: list[Trial] = []
        self._callbacks = CallbackList([])

    def get_trials(self) -> list[Trial]:
        return self.trials

    @property
    def callbacks(self) -> CallbackList:
        return self._callbacks

    def start(self, trial: Trial) -> None:
        self._callbacks.on_trial_start(iteration=0, trials=self.trials, trial=trial)

    def reported(self, trial: Trial, result: dict[str, Any]) -> None:
        self._callbacks.on_trial_result(iteration=0, trials=self.trials, trial=trial, result=result)


class Always(FIFOScheduler):  # type: ignore[misc]
    """Says the same to every result."""

    def __init__(self, action: str) -> None:
        super().__init__()
        self._action = action

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        return self._action


class Returns(MomentumRule):
    """A user's rule that returns anything at all."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def decide(self, statistics: AlignmentStatistics, momentum: float) -> Any:
        return self._value


class Keeps(FixedMomentum):
    """Keeps the momentum, and what it was asked."""

    def __init__(self) -> None:
        self.asked: list[AlignmentStatistics] = []

    def decide(self, statistics: AlignmentStatistics, momentum: float) -> Decision:
        self.asked.append(statistics)
        return super().decide(statistics, momentum)


class Study:
    """A scheduler with trials that report when they are told to."""

    def __init__(self, folder: Path, **arguments: Any) -> None:
        self.folder = folder / "run"
        self.storage = StorageContext(storage_path=str(folder), experiment_dir_name="run")
        self.controller = Controller()
        self.scheduler = GapScheduler(**arguments)
        self.scheduler.set_search_properties("loss", "min")

    def add(self, mode: str | None = "scheduler", **config: Any) -> Trial:
        section = {} if mode is None else {"gap": {"mode": mode}}
        trial_id = f"t{len(self.controller.trials)}"
        config = {"lr": 0.1, "momentum": 0.9, **section, **config}
        trial = Trial("__fake", stub=True, trial_id=trial_id, config=config, storage=self.storage)
        trial.temporary_state.ray_actor = Process()
        self.controller.trials.append(trial)
        self.scheduler.on_trial_add(self.controller, trial)
        trial.status = Trial.RUNNING
        return trial

    def report(self, trial: Trial, **changes: Any) -> delivery.Directive | None:
        """Process a result as Ray does; return what arrived in the trial's process."""
        result = reported(**changes)
        self.scheduler.on_trial_result(self.controller, trial, dict(result))
        self.controller.reported(trial, result)
        trial.update_last_result(result)
        return delivery.take(trial.trial_id)

    def log(self) -> list[RecordedDecision]:
        return read_decisions(self.folder)


def reported(**changes: Any) -> dict[str, Any]:
    result = {
        "loss": 1.0,
        "momentum": 0.9,
        "seq": 4,
        "steps": 40,
        "steps_since_change": 10,
        "statistics": json.dumps(STATISTICS.to_dict()),
        **changes,
    }
    ours = {"momentum", "seq", "steps", "steps_since_change", "statistics", "mailbox", "reason"}
    flat = {f"gap/{k}" if k in ours | {"decision"} else k: v for k, v in result.items()}
    return {k: v for k, v in flat.items() if v is not MISSING}


MISSING = object()
