"""RayRun: one Ray Tune run of a study, that starts, ends, fails or continues by itself."""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray import tune

from gap_tune.errors import StorageError
from gap_tune.files import write_text
from gap_tune.records.saved_state import SavedState
from gap_tune.records.studies import RUN_FILE, STUDY_FILE, run_state
from gap_tune.study.planning import PlannedSearch
from gap_tune.study.resources import Resources
from gap_tune.study.store import Store
from gap_tune.training.distributed import train_on_ranks
from gap_tune.training.loop import train
from gap_tune.tune.monitoring.ray_dashboard import recognisable

logger = logging.getLogger(__name__)

# Where the workers of trials that have several keep their checkpoints.
_RANKS = "ranks"
# A trial whose worker dies goes back to its last checkpoint, so often at most.
_MAX_FAILURES = 2
# Were one checkpoint kept per trial, what Ray saved last might name the one that it deletes next.
_KEPT = 2


@dataclass(frozen=True)
class RayRun:
    """A Ray Tune run, in a folder of its own.

    Attributes:
        folder: Ray Tune's experiment folder, or the local copy of it.
        search: Makes what chooses, starts and stops the trials, and tells whose they are.
        metric: Reported metric to compare by; None where Ray is not to know one.
        mode: "min" or "max"; None without a metric.
        resources: Of its trials.
        store: The study's storage, which the folder is in.
        function: What a trial does, where one worker does it.
    """

    folder: Path
    search: PlannedSearch
    metric: str | None
    mode: str | None
    resources: Resources
    store: Store
    function: Callable[[dict[str, Any]], None] = train

    def go(self, callbacks: Sequence[tune.Callback] = ()) -> bool:
        """Start the run, or continue it where it was killed; nothing where it has finished.

        A run that fails as a whole leaves its reason in its folder for the records: the others of
        the study go on.

        Returns:
            Whether it ended; False when it was interrupted.

        Raises:
            StorageError: When storage elsewhere cannot be reached; the run can be continued.
        """
        self.store.pull(self.folder)
        if run_state(self.folder) == "finished":
            return True
        error = ""
        try:
            (self._restored() or self._started(callbacks)).fit()
        except StorageError:
            raise
        except Exception as exception:
            logger.warning("The run in %s failed", self.folder, exc_info=True)
            error = " ".join(str(exception).split()) or repr(exception)
        self.store.pull(self.folder)
        # An interrupted run returns, too: before it started any trial, or while some ran.
        states = set(SavedState.read(self.folder).statuses.values())
        if not error and (not states or states - {"TERMINATED", "ERROR"}):
            return False
        self.folder.mkdir(parents=True, exist_ok=True)
        state = {"state": "failed" if error else "finished", "error": error}
        write_text(self.folder / RUN_FILE, json.dumps(state) + "\n")
        self.store.push(self.folder / RUN_FILE)
        return True

    def _started(self, callbacks: Sequence[tune.Callback]) -> tune.Tuner:
        search = self.search.make()
        return tune.Tuner(
            self._trainable(),
            param_space=dict(search.space),
            tune_config=tune.TuneConfig(
                metric=self.metric,
                mode=self.mode,
                num_samples=-1 if search.trials is None else search.trials,
                max_concurrent_trials=self.resources.most_trials(),
                search_alg=search.searcher,
                scheduler=search.scheduler,
                reuse_actors=True,
                trial_name_creator=_trial_name,
                trial_dirname_creator=_trial_name,
            ),
            run_config=tune.RunConfig(
                name=self.folder.name,
                storage_path=self.store.path(self.folder.parent),
                storage_filesystem=self.store.filesystem,
                callbacks=list(callbacks),
                failure_config=tune.FailureConfig(max_failures=_MAX_FAILURES),
                verbose=0,
                **{"checkpoint_config": tune.CheckpointConfig(num_to_keep=_KEPT), **search.options},
            ),
        )

    def _restored(self) -> tune.Tuner | None:
        """Return the run as it was killed; None where there is nothing to continue."""
        # Ray saves the searcher after the trials (fact 30). Restored without it, a run would start
        # every trial a second time, and without its settings.
        states = ("search_gen_state-*.json", "basic-variant-state-*.json")
        saved = any(any(self.folder.glob(state)) for state in states)
        # What is uploaded arrives in any order, and Ray restores no run without trials.
        saved = saved and bool(SavedState.read(self.folder).trials)
        stored = self.store.path(self.folder)
        if saved and tune.Tuner.can_restore(stored, storage_filesystem=self.store.filesystem):
            return tune.Tuner.restore(
                stored,
                self._trainable(),
                resume_unfinished=True,
                restart_errored=False,
                storage_filesystem=self.store.filesystem,
            )
        if {path.name for path in self.folder.glob("*")} - {STUDY_FILE}:
            # Aside, not away: whatever it holds, nobody but the user may delete it.
            aside = self.folder.with_name(f"{self.folder.name}-not-saved-{time.time_ns()}")
            self.store.set_aside(self.folder, aside, keep=STUDY_FILE)
        return None

    def _trainable(self) -> Any:
        resources = self.resources
        function = self.function
        if resources.ranks > 1:
            function = train_on_ranks(
                resources.ranks,
                self.store.path(self.folder / _RANKS),
                filesystem=self.store.filesystem,
                cpus_per_rank=resources.cpus_per_trial,
                use_gpu=True,
            )
        return recognisable(
            tune.with_resources(function, resources.of_trial()), study=self.store.name, reused=True
        )


def file_name(arm: str) -> str:
    """Return an arm's name as it can stand in names of files on every system.

    >>> file_name("fixed:0.5|0.9")
    'fixed-0.5-0.9'
    """
    return re.sub(r"[^\w.-]", "-", arm)


def _trial_name(trial: tune.experiment.Trial) -> str:
    """Name a trial and its folder after arm and seed, which stay apart on every file system."""
    return f"{file_name(trial.config['arm'])}_seed{trial.config['seed']}_{trial.trial_id}"
