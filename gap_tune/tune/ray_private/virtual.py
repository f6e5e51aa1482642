"""Virtual studies: Ray's own controller over processes that are simulated (facts 32 to 35)."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, MutableSet
from contextlib import contextmanager, nullcontext
from typing import Any

from ray.train._internal.session import _FutureTrainingResult, _TrainingResult
from ray.train._internal.storage import StorageContext
from ray.tune import Checkpoint
from ray.tune.execution.experiment_state import _find_newest_experiment_checkpoint
from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Experiment, Trial
from ray.tune.search import BasicVariantGenerator
from ray.tune.tune_config import ResumeConfig

_MOST_PENDING = "TUNE_MAX_PENDING_TRIALS_PG"


class OrderedSet(MutableSet[Any]):
    """A set that is gone through, and emptied, in the order in which things were put in.

    Ray keeps trials in sets, whose order depends on where in memory they lie.

    >>> each = OrderedSet([3, 1, 2]); each.discard(1); each.pop(), list(each)
    (3, [2])
    """

    def __init__(self, items: Iterable[Any] = ()) -> None:
        self._items = dict.fromkeys(items)

    def __contains__(self, item: object) -> bool:
        return item in self._items

    def __iter__(self) -> Iterator[Any]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def add(self, value: Any) -> None:
        """Put something in, at the end, unless it is there."""
        self._items[value] = None

    def discard(self, value: Any) -> None:
        """Take something out, if it is there."""
        self._items.pop(value, None)


class _Storage(StorageContext):
    """Storage whose driver keeps its files beside it, where there is no Ray to have a folder."""

    @property
    def experiment_driver_staging_path(self) -> str:
        """The experiment's own folder: nothing is uploaded, and nothing can be lost on the way."""
        return str(self.experiment_fs_path)

    @property
    def trial_driver_staging_path(self) -> str:
        """The trial's own folder."""
        return str(self.trial_fs_path)


class VirtualExperiment(Experiment):
    """An experiment of a driver that has no Ray."""

    _storage_context_cls = _Storage


class VirtualActor:
    """What the controller knows of a process that it asked for.

    Args:
        number: Tells it from others.
        on_start: Called when it runs.
        on_stop: Called when it has stopped.
        on_error: Called when it has died.
    """

    def __init__(self, number: int, on_start: Any, on_stop: Any, on_error: Any) -> None:
        self.actor_id = number
        self.on_start, self.on_stop, self.on_error = on_start, on_stop, on_error

    def set_on_start(self, call: Any) -> None:
        """Have something else called when it runs."""
        self.on_start = call

    def set_on_stop(self, call: Any) -> None:
        """Have something else called when it has stopped."""
        self.on_stop = call

    def set_on_error(self, call: Any) -> None:
        """Have something else called when it has died."""
        self.on_error = call


class VirtualActors(ABC):
    """What the controller asks of its manager of actors (fact 32)."""

    @property
    def _live_actors_to_ray_actors_resources(self) -> VirtualActors:
        return self

    def __getitem__(self, actor: Any) -> tuple[Any, None]:
        return self.handle(actor), None

    @property
    @abstractmethod
    def num_live_actors(self) -> int:
        """How many have a place to run."""

    @property
    @abstractmethod
    def num_pending_actors(self) -> int:
        """How many wait for one."""

    @property
    @abstractmethod
    def num_actor_tasks(self) -> int:
        """How many tasks have not been answered."""

    @property
    def num_total_actors(self) -> int:
        """How many there are."""
        return self.num_live_actors + self.num_pending_actors

    @abstractmethod
    def handle(self, actor: Any) -> Any:
        """Return what trials have as their actor's handle."""

    @abstractmethod
    def add_actor(
        self, cls: Any, kwargs: dict[str, Any], resource_request: Any, **calls: Any
    ) -> Any:
        """Ask for an actor."""

    @abstractmethod
    def remove_actor(self, tracked_actor: Any, kill: bool = False, stop_future: Any = None) -> bool:
        """Have an actor stop; return whether ``on_stop`` will be called."""

    @abstractmethod
    def is_actor_started(self, tracked_actor: Any) -> bool:
        """Tell whether an actor has a place to run and is not known to be dead."""

    @abstractmethod
    def is_actor_failed(self, tracked_actor: Any) -> bool:
        """Tell whether an actor is known to be dead."""

    @abstractmethod
    def schedule_actor_task(
        self,
        tracked_actor: Any,
        method_name: str,
        args: tuple[Any, ...] = (),
        kwargs: Any = None,
        on_result: Any = None,
        on_error: Any = None,
        _return_future: bool = False,
    ) -> Any:
        """Have an actor do something."""

    @abstractmethod
    def clear_actor_task_futures(self, tracked_actor: Any) -> None:
        """Wait for none of an actor's tasks any more."""

    @abstractmethod
    def next(self, timeout: float | None = None) -> bool:
        """Handle the next event; return whether there was one."""

    @abstractmethod
    def cleanup(self) -> None:
        """Stop all actors."""


class VirtualController(TuneController):
    """Ray's controller, which asks simulated processes, and does nothing by the machine's clock.

    The order in which it asks searcher, scheduler and callbacks is Ray's own code, and so is what
    it saves of a study and how it restores it.

    Args:
        actors: The processes.
        search: Ray's search algorithm.
        trial_made: Called with each trial that was made.
        save_due: Tells whether the experiment's state is to be saved now; None for never.
        slots: How many trials run at once: Ray has a tenth more of a generator's pending, and 200
            at least.
        restore: Whether to go on from the state that was saved last, if there is one.
        **options: Those of Ray's controller.
    """

    _OWN = ("_trial_made", "_save_due")

    def __init__(
        self,
        actors: VirtualActors,
        search: Any,
        *,
        trial_made: Callable[[Any], None],
        save_due: Callable[[], bool] | None,
        slots: int,
        restore: bool = False,
        **options: Any,
    ) -> None:
        self._trial_made, self._save_due = trial_made, save_due
        with _most_pending(slots) if isinstance(search, BasicVariantGenerator) else nullcontext():
            super().__init__(search_alg=search, resource_manager_factory=_nothing, **options)
        self._actor_manager = actors
        for name in ("pending", "running", "paused", "stopped", "failed", "resetting"):
            setattr(self, f"_{name}_trials", OrderedSet())
        self._staged_trials, self._live_trials = OrderedSet(), OrderedSet()
        self._trials_to_cache = OrderedSet()
        self._resources_to_pending_trials: Any = defaultdict(OrderedSet)
        self._insufficient_resources_manager = _Patient()
        storage = self._storage
        if restore and _find_newest_experiment_checkpoint(storage.experiment_fs_path):
            self.resume(ResumeConfig())
            self._resumed = True

    def on_step_begin(self) -> None:
        """Ask no cluster for its resources."""

    def checkpoint(self, force: bool = False, wait: bool = False) -> None:
        """Save the experiment's state when the virtual clock says so, or Ray has reason to."""
        if self._save_due is None:
            return
        manager = self._checkpoint_manager
        if manager._should_force_sync_up or self._save_due() or force:
            self.save_to_dir()
            manager._trial_num_checkpoints_since_last_sync.clear()
            manager._should_force_sync_up = False

    def __getstate__(self) -> dict[str, Any]:
        return {
            name: each for name, each in super().__getstate__().items() if name not in self._OWN
        }

    def _create_checkpoint_manager(self) -> Any:
        manager = super()._create_checkpoint_manager()
        # What it would fetch is here.
        manager.sync_down_experiment_state = _nothing
        return manager

    def _update_trial_queue(self, blocking: bool = False, timeout: int = 600) -> bool:
        made = super()._update_trial_queue(blocking=False)
        if made:
            self._trial_made(self._trials[-1])
        return bool(made)

    def _schedule_trial_save(self, trial: Any, result: Any = None) -> Any:
        future = super()._schedule_trial_save(trial, result)
        if future is not None:
            trial.temporary_state.saving_to = future = _Known(future.future)
        return future


class _Known(_FutureTrainingResult):
    """A checkpoint that needs no waiting for."""

    def resolve(self, block: bool = True) -> Any:
        """Return it."""
        return self.future


class _Patient:
    """Says nothing of trials that wait: it would by the machine's clock."""

    def on_no_available_trials(self, trials: Any) -> None:
        """Say nothing."""


def _nothing() -> None:
    return None


def training_result(path: str | None, metrics: dict[str, Any]) -> Any:
    """Return what a trainable's ``save`` returns."""
    checkpoint = None if path is None else Checkpoint(path)
    return _TrainingResult(checkpoint=checkpoint, metrics=metrics)


@contextmanager
def named_by(draw: Callable[[], str]) -> Iterator[None]:
    """Have trials named by a function in this context, and not by the operating system."""
    own = vars(Trial)["generate_id"]
    Trial.generate_id = staticmethod(draw)
    try:
        yield
    finally:
        Trial.generate_id = own


@contextmanager
def _most_pending(slots: int) -> Iterator[None]:
    """Tell Ray how many trials may be pending; it would ask its cluster, and start one to ask."""
    if _MOST_PENDING in os.environ:
        yield
        return
    os.environ[_MOST_PENDING] = str(max(200, int(slots * 1.1)))
    try:
        yield
    finally:
        del os.environ[_MOST_PENDING]


def begin_names(search: BasicVariantGenerator, prefix: str) -> None:
    """Have a generator of variants begin its trials' ids so, and not by the machine's clock."""
    search._uuid_prefix = f"{prefix}_"
