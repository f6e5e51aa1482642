"""Delivery of directives from the scheduler to a running trial, and what else Ray keeps private.

With ``watching``, ``fifo`` and ``naming`` the only module that touches Ray's unstable surface.
They rely on these facts of Ray Tune, which ``tests/contracts`` checks against the installed
version:

1. ``trial.temporary_state.ray_actor`` is the running trial's actor handle, None otherwise;
2. that actor has ``execute(fn)``, which calls ``fn(trainable)`` in the trial's process;
3. an actor runs one caller's tasks in order, so a directive sent before the controller's next
   ``train()`` arrives before it;
4. a function trainable's ``tune.report`` returns only at that next ``train()``;
5. the scheduler's ``on_trial_result`` runs between the two;
6. ``ray.experimental.internal_kv`` keeps bytes that every process of the cluster can read;
7. the controller that a scheduler is handed wraps the real one as ``_tune_controller``, whose
   ``_callbacks`` is a ``CallbackList`` with a list ``_callbacks``, and calls their
   ``on_trial_start`` when the trial's actor is known and before it restores or trains;
8. ``trial.latest_checkpoint_result.metrics`` is the result that came with the last checkpoint,
   after a restart of the trial too; a ``TorchTrainer``'s checkpoints are not the trial's, but
   its callback names them in results as ``checkpoint_path``;
9. ``trial.storage`` names the experiment folder, and everything in the driver's staging folder
   is uploaded there with the experiment's state;
10. ``ResourceChangingScheduler`` keeps the scheduler that it wraps as ``_base_scheduler``;
11. when a trial starts from a checkpoint, Ray's loggers replace the driver's ``result.json`` and
    ``progress.csv`` of it, which lie in ``trial.local_path``, by the storage's copy;
12. callbacks get a result after the scheduler and in their order, and what the first one changes in
    it is what loggers write and ``trial.last_result`` keeps;
13. that is ``trial.run_metadata.last_result``, which holds no more than ``trial_id`` before;
14. what a trial starts from is its checkpoint manager's ``_latest_checkpoint_result``, looked at
    after ``on_trial_start``; where it is None the trial starts anew;
15. every trial that waits to run is among the ``get_live_trials()`` of the controller that a
    scheduler is handed, and ended ones are not;
16. what ``save`` of a class trainable returns may hold no checkpoint; the controller then goes on;
17. a worker's ``ray.train.report`` stores its checkpoint after all ranks have agreed on a name and
    before it sends its result, and counts reports in ``report_call_index``;
18. a searcher's trial is named after what ``_resolve_nested_dict`` finds in its configuration, by
    ``items()`` of every dict in it, when ``SearchGenerator.create_trial_if_possible`` makes it, and
    shown with what ``flatten_dict`` finds so in the suggestion;
19. the ``param_space`` that a searcher is told is the one that suggestions are merged into;
20. ``CallbackList.get_state`` returns what callbacks save by their places in the list, and a study
    that is restored gives it back by those before its scheduler is handed any trial;
21. each start of a trial's function has a thread of its own (``training_thread`` of
    ``get_session``), and each start of a worker's in Ray Train's second generation a context of its
    own (``get_train_context``); their latest checkpoint is the one that was last reported there,
    whoever did.
"""

from __future__ import annotations

import logging
import pickle
import threading
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import ray.train
from ray.experimental import internal_kv
from ray.tune.result import TRIAL_ID
from ray.tune.utils import flatten_dict

from gap_tune.rules import Decision

logger = logging.getLogger(__name__)

_NAMESPACE = "gap_tune"
_CHECKPOINT_PATH = "checkpoint_path"
_FIRST_POLL_S = 0.001
_LAST_POLL_S = 0.02


@dataclass(frozen=True)
class Directive:
    """What the scheduler tells a trial while it waits in ``report()``.

    Attributes:
        seq: Number of this decision within the trial, from 1; the trial applies each once.
        decision: The decision to apply, or None when there is none or the trial must fail.
        failure: Why the trial must fail, or None.
    """

    seq: int
    decision: Decision | None = None
    failure: str | None = None


# One mailbox per process; an actor that is reused runs one trial after another.
_lock = threading.Lock()
_mailbox: dict[str, Directive] = {}


def send(trial: Any, directive: Directive, *, mailbox: str | None = None) -> bool:
    """Send a directive to a trial; return whether the trial has a running process.

    Does not wait: the trial finds the directive when its ``report()`` returns, or by ``wait``.

    Args:
        trial: The Ray trial.
        directive: What to tell it.
        mailbox: Where processes that the trial started themselves wait for it; None when the
            trial's own process does.
    """
    actor = trial.temporary_state.ray_actor
    if actor is None:
        return False
    if mailbox is None:
        # A partial, because an execute() that raises for a wrong arity would end the whole study.
        actor.execute.remote(partial(_receive, trial.trial_id, directive))
    else:
        internal_kv._internal_kv_put(mailbox, pickle.dumps(directive), namespace=_NAMESPACE)
    return True


def take(trial_id: str) -> Directive | None:
    """Return and remove the directive that waits for a trial in this process, if any."""
    with _lock:
        return _mailbox.pop(trial_id, None)


def _receive(trial_id: str, directive: Directive, trainable: Any) -> None:
    """Put a directive into the mailbox; runs in the trial's process."""
    with _lock:
        _mailbox[trial_id] = directive


def wait(mailbox: str, seq: int, timeout_s: float) -> Directive | None:
    """Wait for the directive number ``seq``, or a failure, that was sent to a mailbox.

    Asks every millisecond at first, later every 20: decisions come soon or not at all. The
    directive stays there until ``clear``: a process that dies with it, and goes back to the
    checkpoint that it answers, must find it again.

    Returns:
        The directive; None when none of that number has come in time.
    """
    deadline, pause = time.monotonic() + timeout_s, _FIRST_POLL_S
    while True:
        found = internal_kv._internal_kv_get(mailbox, namespace=_NAMESPACE)
        if found is not None:
            directive: Directive = pickle.loads(found)
            if directive.seq == seq or directive.failure is not None:
                return directive
        left = deadline - time.monotonic()
        if left <= 0:
            return None
        time.sleep(min(pause, left))
        pause = min(2 * pause, _LAST_POLL_S)


def clear(mailbox: str) -> None:
    """Remove what is left in a mailbox."""
    internal_kv._internal_kv_del(mailbox, namespace=_NAMESPACE)


def last_result(trial: Any) -> dict[str, Any]:
    """Return what a trial reported last; nothing before its first report.

    Not ``trial.last_result``: before that it asks the trial's process, waits for the answer, and
    notes the trial's id as if it had been reported (fact 13).
    """
    result: dict[str, Any] = trial.run_metadata.last_result
    return result if result and result.keys() - {TRIAL_ID} else {}


def checkpoint_metrics(trial: Any) -> dict[str, Any] | None:
    """Return the flattened result that came with a trial's latest checkpoint, if it has one."""
    latest, last = trial.latest_checkpoint_result, last_result(trial)
    metrics = last if latest is None and last.get(_CHECKPOINT_PATH) else None
    if latest is not None:
        metrics = latest.metrics
    flat: dict[str, Any] | None = flatten_dict(metrics) if metrics else None
    return flat


def experiment_file(trial: Any, name: str) -> Path | None:
    """Return where the driver keeps a file of the experiment folder; None without a folder.

    It is the file itself where storage is a local folder, so that a driver that is killed loses
    nothing; elsewhere it is a file that Ray uploads now and then.
    """
    storage = trial.storage
    if storage is None:
        return None
    if storage.storage_filesystem.type_name == "local":
        return Path(storage.experiment_fs_path, name)
    return Path(storage.experiment_driver_staging_path, name)


def fetch_experiment_file(trial: Any, name: str) -> None:
    """Bring a file that an earlier session uploaded to where ``experiment_file`` says.

    Ray restores its own files only; without this, the next upload would overwrite the old one.
    """
    path = experiment_file(trial, name)
    if path is None or path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    remote = f"{trial.storage.experiment_fs_path}/{name}"
    try:
        with trial.storage.storage_filesystem.open_input_stream(remote) as stream:
            path.write_bytes(stream.read())
    except FileNotFoundError:
        return


def no_checkpoint(metrics: dict[str, Any] | None) -> Any:
    """Return what a class trainable's ``save`` answers where there is no checkpoint (fact 16)."""
    from ray.train._internal.checkpoint_manager import _TrainingResult

    return _TrainingResult(checkpoint=None, metrics=dict(metrics or {}))


def finish_report(result: dict[str, Any]) -> bool:
    """Send a worker's result whose checkpoint could not be stored (fact 17).

    Reporting once more would be one report more than the other ranks make, unless Ray is one
    that stores the checkpoint before the ranks agree.

    Returns:
        Whether this Ray can do so.
    """
    try:
        from ray.train.v2._internal.execution.context import get_train_context

        context = get_train_context()
    except (ImportError, RuntimeError):
        ray.train.report(result)
        return True
    try:
        report = context._upload_checkpoint("", result, None)
        context._wait_then_report(report, context.report_call_index)
    except (AttributeError, TypeError):
        return False
    return True


def start_of_function() -> Any:
    """Return what tells this start of a function from all others (fact 21); None if unknown."""
    try:
        from ray.train._internal.session import get_session

        session = get_session()
        if session is not None:
            # An actor that is reused, or whose trial goes on after a pause, keeps its session.
            return session.training_thread
        from ray.train.v2._internal.execution.context import get_train_context

        return get_train_context()
    except (AttributeError, ImportError, RuntimeError):
        return None


def base_scheduler(scheduler: Any) -> Any:
    """Return the scheduler that a ``ResourceChangingScheduler`` wraps; None for others."""
    return getattr(scheduler, "_base_scheduler", None)
