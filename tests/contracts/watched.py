"""A small real study that looks at what Ray does for ``ray_private``."""

from __future__ import annotations

import builtins
import json
import os
import signal
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.fs
import ray
from ray import tune
from ray.experimental import internal_kv
from ray.tune.schedulers import FIFOScheduler

# gap_tune is imported where it is needed: trials import this module, and torch takes seconds.

ROUNDS = 5
DIES_AT = 3
PAUSE_S = 0.05
NAMESPACE = "gap_tune"


def note(text: str, trainable: Any) -> None:
    """Write into the process that runs it, in order."""
    from ray.tune.trainable import FunctionTrainable

    notes().append((text, str(isinstance(trainable, FunctionTrainable))))


def notes() -> list[tuple[str, str]]:
    if not hasattr(builtins, "gap_tune_notes"):
        builtins.gap_tune_notes = []  # type: ignore[attr-defined]
    kept: list[tuple[str, str]] = builtins.gap_tune_notes  # type: ignore[attr-defined]
    return kept


def function(config: dict[str, Any]) -> None:
    """Report what has arrived in this process; one trial dies once, and goes on."""
    waited, start = PAUSE_S, 0
    arrived = notes()[:]
    checkpoint = tune.get_checkpoint()
    if checkpoint is not None:
        with checkpoint.as_directory() as kept:
            start = json.loads(Path(kept, "i").read_text()) + 1
    for i in range(start, ROUNDS):
        if config["marker"] and i == DIES_AT and checkpoint is None:
            os.kill(os.getpid(), signal.SIGKILL)
        folder = Path(f"state_{i}")
        folder.mkdir()
        (folder / "i").write_text(json.dumps(i))
        letter = internal_kv._internal_kv_get(str(config["marker"]), namespace=NAMESPACE)
        before = time.monotonic()
        tune.report(
            {
                "i": i,
                "waited": waited,
                "notes": [text for text, _ in notes()],
                "called_with_it": [yes for _, yes in notes()],
                "before_training": [text for text, _ in arrived],
                "letter": letter.decode() if letter else "",
                "nested": {"i": i},
            },
            checkpoint=tune.Checkpoint.from_directory(str(folder.absolute())),
        )
        waited = time.monotonic() - before


class Sender(FIFOScheduler):  # type: ignore[misc]
    """Sends a note at every start and result, after a pause that a trial must wait for."""

    supports_buffered_results = False

    def __init__(self) -> None:
        super().__init__()
        self.actors: list[bool] = []
        self.installed: list[bool] = []
        self.starts: list[tuple[bool, dict[str, Any] | None]] = []
        self.decided: list[int] = []
        # Of results with which a trial goes on, and of calls that had one train: whose and which.
        self.went_on: list[tuple[bool, int]] = []
        self.trained: list[tuple[bool, int]] = []
        self.kept: list[int | None] = []
        # By status: how many trials there were, and how many of them among the live ones.
        self.there: Counter[str] = Counter()
        self.live: Counter[str] = Counter()

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        from gap_tune.tune.ray_private import watching

        self.installed.append(
            watching.watch_trials(tune_controller, started=self.on_start, reported=self.on_report)
        )
        super().on_trial_add(tune_controller, trial)

    def on_start(self, trial: Any) -> None:
        from gap_tune.tune.ray_private import results
        from gap_tune.tune.ray_private.storage import experiment_files

        self.starts.append((trial.config["marker"], results.checkpoint_metrics(trial)))
        trial.temporary_state.ray_actor.execute.remote(partial(note, "start"))
        key = str(trial.config["marker"])
        internal_kv._internal_kv_put(key, b"from the driver", namespace=NAMESPACE)
        file = experiment_files.experiment_file(trial, "extra.jsonl")
        assert file is not None
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("kept\n")

    def on_report(self, trial: Any, result: dict[str, Any]) -> None:
        result["added"] = self.decided.pop()

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        self.decided.append(result["i"])
        self.kept.append((trial.last_result or {}).get("added"))
        actor = trial.temporary_state.ray_actor
        self.actors.append(isinstance(actor, ray.actor.ActorHandle))
        time.sleep(PAUSE_S)
        if actor is not None:
            actor.execute.remote(partial(note, f"after {result['i']}"))
            if not result["done"]:
                self.went_on.append((trial.config["marker"], result["i"]))
                actor.train = Seen(actor, self.trained, self.went_on[-1])
        return str(super().on_trial_result(tune_controller, trial, result))

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        self.there.update(trial.status for trial in tune_controller.get_trials())
        self.live.update(trial.status for trial in tune_controller.get_live_trials())
        return super().choose_trial_to_run(tune_controller)


class Seen:
    """``train`` of a handle, which notes that it was called, once."""

    def __init__(self, actor: Any, calls: list[tuple[bool, int]], result: tuple[bool, int]) -> None:
        self._actor, self._calls, self._result = actor, calls, result

    def remote(self, *args: Any, **kwargs: Any) -> Any:
        del self._actor.train
        self._calls.append(self._result)
        return self._actor.train.remote(*args, **kwargs)


class Outcome:
    """What a study of an undisturbed trial and one that dies has left."""

    def __init__(self, folder: Path, scheduler: Sender, grid: tune.ResultGrid) -> None:
        self.folder, self.scheduler = folder / "bucket" / "run", scheduler
        self.undisturbed, self.died = (self.reported(result) for result in grid)

    def reported(self, result: tune.Result) -> list[dict[str, Any]]:
        path = self.folder / Path(result.path).name / "result.json"
        return [json.loads(line) for line in path.read_text().splitlines()]


def run(folder: Path) -> Outcome:
    """Run the study of both trials and return what it has left in a folder."""
    scheduler = Sender()
    local = pyarrow.fs.LocalFileSystem()
    grid = tune.Tuner(
        function,
        param_space={"marker": tune.grid_search([False, True])},
        tune_config=tune.TuneConfig(metric="i", mode="max", scheduler=scheduler),
        run_config=tune.RunConfig(
            name="run",
            # Any file system but the local one is remote to Ray.
            storage_path="bucket",
            storage_filesystem=pyarrow.fs.SubTreeFileSystem(str(folder), local),
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=1),
        ),
    ).fit()
    assert not grid.errors, grid.errors
    return Outcome(folder, scheduler, grid)
