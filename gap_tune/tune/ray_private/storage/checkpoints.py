"""Checkpoints to go on from: which are left, where a driver was killed (fact 14).

Ray deletes a checkpoint when there are ``num_to_keep`` newer ones, and saves only then that they
are there. A driver that is killed in between comes back to one that is gone; where it was killed
while it deleted, to a folder without some of its files, or without any.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

import pyarrow.fs
from ray.train._internal.checkpoint_manager import _TrainingResult
from ray.train.constants import CHECKPOINT_DIR_NAME
from ray.tune import Checkpoint
from ray.tune.result import EXPR_RESULT_FILE

from gap_tune.files import parsed_json

logger = logging.getLogger(__name__)

# What Ray calls their folders.
_NAME = re.compile(r"checkpoint_\d+")


def replace_lost_checkpoint(trial: Any) -> None:
    """Have a trial whose latest checkpoint is lost go on from another; it would fail.

    The other is the newest that is left with its result in the storage, so that no report is
    missing; without one the trial starts anew.

    Args:
        trial: Ray's ``Trial``, before it is told where to start from.
    """
    latest = trial.latest_checkpoint_result
    if latest is None or latest.checkpoint is None:
        return
    fs, place = latest.checkpoint.filesystem, PurePosixPath(latest.checkpoint.path)
    if not _is_lost(fs, place):
        return
    logger.warning("Trial %s cannot go on from %s, which is lost", trial.trial_id, place)
    manager = trial.run_metadata.checkpoint_manager
    # So it stays where the storage does not answer now.
    manager._latest_checkpoint_result = None
    for result in _results(fs, place.parent):
        other = place.parent / result[CHECKPOINT_DIR_NAME]
        if not _is_lost(fs, other):
            checkpoint = Checkpoint(path=str(other), filesystem=fs)
            manager._latest_checkpoint_result = _TrainingResult(checkpoint, result)
            logger.warning("Trial %s goes on from %s", trial.trial_id, other.name)
            return
    logger.warning("Trial %s starts anew", trial.trial_id)


def _is_lost(fs: pyarrow.fs.FileSystem, place: PurePosixPath) -> bool:
    """Tell whether a checkpoint is gone, or lacks a file that the next one has.

    Ray deletes old ones only, and what a trial saves it saves each time.
    """
    names = _below(fs, place.parent, recursive=False)
    newer = (name for name in names if _NAME.fullmatch(name) and name > place.name)
    following = place.with_name(min(newer, default=place.name))
    return place.name not in names or not _files(fs, following) <= _files(fs, place)


def _files(fs: pyarrow.fs.FileSystem, folder: PurePosixPath) -> set[str]:
    return {name for name, info in _below(fs, folder, recursive=True).items() if info.is_file}


def _below(fs: pyarrow.fs.FileSystem, folder: PurePosixPath, *, recursive: bool) -> dict[str, Any]:
    """Return what is in a folder, by its path within it; nothing where there is no folder."""
    wanted = pyarrow.fs.FileSelector(str(folder), recursive=recursive, allow_not_found=True)
    return {
        str(PurePosixPath(info.path).relative_to(folder)): info for info in fs.get_file_info(wanted)
    }


def _results(fs: pyarrow.fs.FileSystem, folder: PurePosixPath) -> Iterator[dict[str, Any]]:
    """Yield the results that came with a checkpoint, the last one first."""
    try:
        with fs.open_input_stream(str(folder / EXPR_RESULT_FILE)) as stream:
            lines = stream.read().decode(errors="replace").splitlines()
    except FileNotFoundError:
        return
    for line in reversed(lines):
        try:
            row = parsed_json(line)
        except ValueError:
            continue
        # A trial's own metrics may have such a name, and a name lead anywhere.
        if isinstance(row, dict) and _NAME.fullmatch(str(row.get(CHECKPOINT_DIR_NAME))):
            yield {name: value for name, value in row.items() if name != "config"}
