"""Driver: runs a study of Ray Tune on simulated processes, is killed, and goes on."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from ray import cloudpickle, tune
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import BasicVariantGenerator, Searcher, SearchGenerator

from gap_tune.errors import StateError, UnsupportedError
from gap_tune.simulation.actors import Actors
from gap_tune.simulation.clock import Clock
from gap_tune.simulation.cluster import Cluster
from gap_tune.simulation.faults import Machines
from gap_tune.simulation.history import History
from gap_tune.simulation.process import Process
from gap_tune.simulation.simulated import Simulated
from gap_tune.simulation.task import Task
from gap_tune.simulation.trial_storage import TrialStorage
from gap_tune.tune.ray_private.virtual import VirtualController, VirtualExperiment, begin_names

_TRAINABLE = "simulated"
Search: TypeAlias = Searcher | BasicVariantGenerator


class _Stub(tune.Trainable):
    """What trials are of, by name; simulated processes run instead."""


class Driver:
    """Runs a study.

    Args:
        task: What to train.
        search: Ray's searcher.
        scheduler: Ray's scheduler.
        trials: How many to make.
        cluster: The machines.
        space: Ray's ``param_space``.
        seed: Of all that is drawn.
        stop: When a trial ends, as of ``ray.tune.RunConfig``.
        keep: Keys of metrics to keep of every report.
        folder: Where the study's files lie.
    """

    def __init__(
        self,
        task: Task,
        search: Search,
        scheduler: TrialScheduler,
        trials: int,
        cluster: Cluster,
        *,
        space: Mapping[str, Any],
        seed: int,
        stop: Mapping[str, float] | None,
        keep: Collection[str],
        folder: Path,
    ) -> None:
        self._task, self._cluster, self._seed = task, cluster, seed
        self._clock = Clock(seed)
        names = dict.fromkeys((task.metric, *keep))
        self._history = History(task, self._clock, names)
        machines = Machines(cluster, self._clock, seed, self._history.note)
        storage = TrialStorage(folder / "checkpoints")
        every = cluster.restart.checkpoint_every
        self._actors = Actors(
            cluster,
            self._clock,
            machines,
            lambda node: Process(task, storage, every, self._history.sent, node),
            seed,
        )
        machines.returned = self._actors.wake
        self._search, self._scheduler = search, scheduler
        tune.register_trainable(_TRAINABLE, _Stub)
        self._experiment = VirtualExperiment(
            "study",
            _TRAINABLE,
            stop=None if stop is None else dict(stop),
            config=copy.deepcopy(dict(space)),
            num_samples=trials,
            storage_path=str(folder),
            checkpoint_config=tune.CheckpointConfig(num_to_keep=cluster.restart.num_to_keep),
            max_failures=cluster.restart.max_failures,
        )
        self._saved_at: float | None = None

    def run(self) -> Simulated:
        """Return what became of the study.

        Raises:
            StateError: When it would wait for ever.
        """
        kills = self._cluster.driver_kills
        turns, left = 0, sorted(kills.after_turns)
        # What Ray keeps of searcher and scheduler when a study begins is all that a driver that is
        # killed leaves of the scheduler.
        begun = cloudpickle.dumps((self._search, self._scheduler)) if left else b""
        controller = self._controller(self._search, self._scheduler)
        while not controller.is_finished():
            controller.step()
            turns += 1
            if left and turns >= left[0]:
                left.pop(0)
                self._history.note(self._clock.now, "killed", "")
                self._actors.cleanup()
                self._clock.rest(kills.restored_after_seconds)
                self._history.note(self._clock.now, "restored", "")
                self._saved_at = None
                parts = pickle.loads(begun)  # nosec B301
                controller = self._controller(*parts, restore=True)
            elif self._actors.stuck:
                raise StateError(
                    "a study must come to its end, but got one that waits for ever: "
                    f"{controller.scheduler_alg.debug_string()}"
                )
        self._actors.cleanup()
        return Simulated(
            self._task.name,
            self._task.metric,
            self._task.mode,
            self._history.trials(controller.get_trials()),
            tuple(self._history.events),
            {**self._history.counts, "turns": turns},
            self._clock.now,
            self._actors.busy_seconds,
            self._clock.busy,
            self._actors.longest_wait,
        )

    def _controller(
        self, search: Search, scheduler: TrialScheduler, *, restore: bool = False
    ) -> VirtualController:
        """Return a controller, as ``tune.run`` makes it."""
        task, experiment = self._task, self._experiment
        algorithm, spec = self._algorithm(search), experiment.public_spec
        space = experiment.spec["config"]
        algorithm.set_search_properties(task.metric, task.mode, space, **spec)
        if not scheduler.set_search_properties(task.metric, task.mode, **spec):
            raise UnsupportedError(
                "scheduler must be one that its study tells metric and mode, but got "
                f"{type(scheduler).__name__} with its own."
            )
        controller = VirtualController(
            self._actors,
            algorithm,
            trial_made=self._made,
            save_due=self._save_due if self._cluster.driver_kills.after_turns else None,
            slots=self._cluster.slots,
            restore=restore,
            scheduler=scheduler,
            callbacks=[self._history],
            metric=task.metric,
            trial_checkpoint_config=experiment.checkpoint_config,
            storage=experiment.storage,
            reuse_actors=self._cluster.reuse_actors,
        )
        if not controller.resumed:
            algorithm.add_configurations([experiment])
        controller.setup_experiments([experiment], algorithm.total_samples)
        return controller

    def _algorithm(self, search: Search) -> Any:
        if isinstance(search, BasicVariantGenerator):
            begin_names(search, f"{self._seed % 2**20:05x}")
            return search
        return SearchGenerator(search)

    def _made(self, trial: Any) -> None:
        self._clock.work(self._cluster.seconds_per_suggestion)
        self._history.added(trial)

    def _save_due(self) -> bool:
        now, every = self._clock.now, self._cluster.driver_kills.save_every_seconds
        if self._saved_at is not None and now - self._saved_at < every:
            return False
        self._saved_at = now
        return True
