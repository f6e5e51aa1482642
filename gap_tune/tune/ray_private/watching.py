"""Watching: trials as they start and report, and what they would lose by starting again.

What is installed for it into Ray's controller is private to Ray (facts 7, 11, 12, 14 and 20).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from ray.tune import Callback
from ray.tune.callback import CallbackList
from ray.tune.result import EXPR_PROGRESS_FILE, EXPR_RESULT_FILE

from gap_tune.tune.ray_private.storage.checkpoints import replace_lost_checkpoint
from gap_tune.tune.ray_private.storage.uploading import upload_file, upload_whole

logger = logging.getLogger(__name__)


class _Watcher(Callback):
    """Keeps results of trials that start again; calls functions when one starts or has reported."""

    def __init__(self) -> None:
        self.started: Callable[[Any], None] | None = None
        self.reported: Callable[[Any, dict[str, Any]], None] | None = None
        # Trials that have reported to this driver: after a restore of the study the storage's
        # copy is the one to go on from.
        self._known: set[str] = set()

    def __reduce__(self) -> Any:
        # The calls belong to one controller, which cannot be saved and installs its own anew.
        return _Watcher, ()

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Save what the trial has reported; pass it on."""
        try:
            if trial.trial_id in self._known:
                upload_results(trial)
        except Exception as error:
            logger.warning("Results of trial %s may be missing: %r", trial.trial_id, error)
        try:
            replace_lost_checkpoint(trial)
        except Exception as error:
            logger.debug("cannot look for a checkpoint", exc_info=error)
        if self.started is not None:
            self.started(trial)

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Pass trial and result on."""
        self._known.add(trial.trial_id)
        if self.reported is not None:
            self.reported(trial, result)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Forget the trial."""
        self._known.discard(trial.trial_id)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Forget the trial, which has failed for good."""
        self._known.discard(trial.trial_id)


def watch_trials(
    tune_controller: Any,
    *,
    started: Callable[[Any], None] | None = None,
    reported: Callable[[Any, dict[str, Any]], None] | None = None,
) -> bool:
    """Keep what trials report before they start again, and have functions called as they go on.

    Ray alone loses results of such trials (fact 11, ``upload_results``). Calling again replaces
    the functions, which may not raise: that would end the study.

    Args:
        tune_controller: What Ray hands a scheduler.
        started: Is called with a trial when its actor starts, before it trains.
        reported: Is called with a trial and its result, which it may change, after the scheduler
            has seen it and before loggers write it.

    Returns:
        Whether the controller is one that can be asked.
    """
    controller = getattr(tune_controller, "_tune_controller", tune_controller)
    callbacks = getattr(controller, "_callbacks", None)
    if not isinstance(callbacks, CallbackList):
        return False
    try:
        upload_whole(controller)
    except Exception as error:
        logger.warning("A driver that is killed may lose reports: %r", error)
    watcher = next((each for each in callbacks._callbacks if isinstance(each, _Watcher)), None)
    if watcher is None:
        watcher = _Watcher()
        # A new list: the old one may be the user's, who may pass it to another study. The first
        # place: Ray's loggers open their files when a trial starts (fact 11), and write what the
        # first callback has left in a result (fact 12).
        callbacks._callbacks = [watcher, *callbacks._callbacks]
        # Otherwise each callback of a restored study would get its neighbour's state (fact 20).
        callbacks.get_state = partial(_states, callbacks)
    # One scheduler may wrap another that only wants results kept.
    watcher.started, watcher.reported = started or watcher.started, reported or watcher.reported
    return True


def _states(callbacks: CallbackList) -> dict[int, Any] | None:
    """Return the states of callbacks by their places in the list without the watcher."""
    others = [each for each in callbacks._callbacks if not isinstance(each, _Watcher)]
    states: dict[int, Any] | None = CallbackList(others).get_state()
    return states


def upload_results(trial: Any) -> None:
    """Bring the storage's copy of what a trial has reported up to date.

    Without it, what a trial reported since Ray's last upload, by default up to ten seconds ago, is
    lost from ``result.json`` and ``progress.csv`` when its process dies and it starts again.
    """
    storage = trial.storage
    if storage is None or not trial.checkpoint:
        return
    for name in (EXPR_RESULT_FILE, EXPR_PROGRESS_FILE):
        local = Path(trial.local_path, name)
        if local.exists():
            upload_file(local, storage.storage_filesystem, f"{storage.trial_fs_path}/{name}")
