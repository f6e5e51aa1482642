"""Uploading an experiment's folder so that a driver killed in the middle of it loses nothing.

Ray copies files in any order, a file that is copied over is empty at first, and the experiment's
state may be written anew while it is read. A driver that dies then leaves a state that cannot be
read, or one that goes on from reports which ``result.json`` lacks (fact 31).
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from copy import copy
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any
from weakref import WeakValueDictionary

import pyarrow.fs
from ray.tune.result import EXPR_PROGRESS_FILE, EXPR_RESULT_FILE

from gap_tune.files import Claim, remove_abandoned

logger = logging.getLogger(__name__)

# Begins the names of copies of experiments' states, in the folder for temporary files.
_STATE = "gap_tune_state-"
# Ends the name of a file that is not whole yet.
_PART = ".part"
# Trials whose files are uploaded at a time. Object stores take as many as one; where files are
# this machine's, more threads only wait for each other, and twice the driver's time is gone.
_AT_ONCE = {True: 2, False: 8}
# What Ray asks for in each turn of its loop and makes anew from parts of paths each time, which
# takes a twentieth of the driver's time. An experiment's stay as they are.
_CONSTANT = ("experiment_driver_staging_path", "experiment_fs_path")
# Ray's loggers append rows to these.
_LOGS = (EXPR_RESULT_FILE, EXPR_PROGRESS_FILE)


def upload_whole(controller: Any) -> bool:
    """Have a controller upload its experiment in order; return whether it is one that can.

    Args:
        controller: Ray's ``TuneController``. Calling again changes nothing.
    """
    manager = getattr(controller, "_checkpoint_manager", None)
    storage = getattr(manager, "_storage", None)
    if manager is None or storage is None:
        return False
    if not isinstance(storage, _Storage):
        manager._storage = _Storage(storage)
        # Where there is no folder for temporary files, none of them is there.
        with suppress(OSError):
            remove_abandoned(Path(tempfile.gettempdir()), f"{_STATE}*")
    return True


class _Storage:
    """Ray's ``StorageContext`` with another syncer, for the driver's own uploads only.

    The context itself stays as it is: it is pickled into every trial.
    """

    def __init__(self, storage: Any) -> None:
        self._context = storage
        self.syncer = copy(storage.syncer)
        self.syncer._sync_up_command = partial(_command, storage.syncer, Uploaded())

    def __getattr__(self, name: str) -> Any:
        # A copy is asked for names before it has any of its own.
        if name == "_context":
            raise AttributeError(name)
        value = getattr(self._context, name)
        if name in _CONSTANT:
            vars(self)[name] = value
        return value


def _command(
    syncer: Any, uploaded: Uploaded, local_path: str, uri: str, exclude: list[str] | None = None
) -> tuple[Callable[..., None], dict[str, Any]]:
    """Return what to do in another thread; the experiment's state is read in this one."""
    # Ray's own upload, begun before, may be at work still. Why it failed is no reason for this one
    # to, and an error would end the study here.
    try:
        syncer.wait()
    except Exception as error:
        logger.warning("An upload of the experiment failed; all of it is uploaded anew: %r", error)
    try:
        if exclude:
            raise OSError(f"{exclude} are to be left out")
        state = _copy_of_state(Path(local_path))
    except OSError as error:
        logger.warning("The experiment is uploaded in any order: %r", error)
        command: tuple[Callable[..., None], dict[str, Any]] = syncer._sync_up_command(
            local_path=local_path, uri=uri, exclude=exclude
        )
        return command
    arguments = {"local_path": local_path, "fs": syncer.storage_filesystem, "fs_path": uri}
    return _upload_claimed, {**arguments, "state": state, "uploaded": uploaded}


def _upload_claimed(*, state: Claim, **arguments: Any) -> None:
    with state as folder:
        upload_experiment(**arguments, state=folder)


@dataclass
class Uploaded:
    """What has been uploaded before, by path within the experiment's folder.

    Attributes:
        files: Time (ns) and size (bytes) of files as they were then.
        folders: Folders that are there.
    """

    files: dict[str, tuple[int, int]] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)


def upload_experiment(
    local_path: Path | str,
    fs: pyarrow.fs.FileSystem,
    fs_path: str,
    *,
    state: Path | str,
    uploaded: Uploaded,
) -> None:
    """Upload what changed of an experiment: what trials reported first, its state last.

    Args:
        local_path: The driver's folder of the experiment.
        fs: Where to.
        fs_path: The experiment's folder there.
        state: A folder with a copy of the files directly in ``local_path``; is removed.
        uploaded: What earlier calls have uploaded; is kept up to date.
    """
    upload = partial(_upload_changed, fs=fs, fs_path=fs_path, uploaded=uploaded)
    try:
        with ThreadPoolExecutor(_AT_ONCE[_is_local(fs)]) as pool, os.scandir(local_path) as entries:
            # A thread has a trial at a time: it has a handful of files, most of them as they were.
            trials = [each for each in entries if each.is_dir(follow_symlinks=False)]
            # The first error is raised, before anything says that these files are there.
            list(pool.map(lambda each: upload(each.path, f"{each.name}/"), trials))
        upload(str(state), "")
    finally:
        shutil.rmtree(state, ignore_errors=True)


def upload_file(path: Path | str, fs: pyarrow.fs.FileSystem, target: str) -> None:
    """Upload a file so that the target is the old or the new one at any time, never a part of it.

    Object stores write objects so themselves. Of a log, whole rows only: another thread may be
    writing the next, and a driver that starts again appends to what is there.

    Args:
        path: The local file.
        fs: Where to.
        target: Its path there, in a folder that exists.
    """
    # Ray's thread uploads an experiment, and the driver's a trial that starts again.
    with _lock_of(target):
        if not _is_local(fs):
            _write(Path(path), fs, target)
            return
        _write(Path(path), fs, target + _PART)
        fs.move(target + _PART, target)


def _is_local(fs: pyarrow.fs.FileSystem) -> bool:
    return bool(fs.type_name == "local")


def _write(path: Path, fs: pyarrow.fs.FileSystem, target: str) -> None:
    if path.name in _LOGS:
        rows = path.read_bytes()
        with fs.open_output_stream(target) as stream:
            stream.write(rows[: rows.rfind(b"\n") + 1])
        return
    local = pyarrow.fs.LocalFileSystem()
    pyarrow.fs.copy_files(
        str(path), target, source_filesystem=local, destination_filesystem=fs, use_threads=False
    )


_locks: WeakValueDictionary[str, Lock] = WeakValueDictionary()
_locks_lock = Lock()


def _lock_of(target: str) -> Lock:
    """Return the lock of a file in the storage, the same one as long as anybody has it."""
    with _locks_lock:
        return _locks.setdefault(target, Lock())


def _upload_changed(
    local: str, begins: str, fs: pyarrow.fs.FileSystem, fs_path: str, uploaded: Uploaded
) -> None:
    """Upload the files of a folder, but those that are as they were when they were uploaded last.

    Args:
        local: The folder.
        begins: What the names of its files begin with in ``uploaded`` and in the storage.
        fs: Where to.
        fs_path: The experiment's folder there.
        uploaded: As of ``upload_experiment``.
    """
    for parent, _, files in os.walk(local):
        for file in sorted(files):
            path = os.path.join(parent, file)
            name = begins + (file if parent == local else Path(path).relative_to(local).as_posix())
            try:
                found = os.stat(path)
            except FileNotFoundError:
                continue
            # What is written during the upload makes the file newer than this.
            known = (found.st_mtime_ns, found.st_size)
            if uploaded.files.get(name) == known:
                continue
            target = f"{fs_path}/{name}"
            folder = target.rpartition("/")[0]
            if folder not in uploaded.folders:
                fs.create_dir(folder, recursive=True)
                uploaded.folders.add(folder)
            upload_file(path, fs, target)
            uploaded.files[name] = known


def _copy_of_state(folder: Path) -> Claim:
    """Return a new folder with a copy of the files directly in this one."""
    made = Claim(lambda: Path(tempfile.mkdtemp(prefix=_STATE)))
    try:
        for path in folder.iterdir():
            if path.is_file():
                shutil.copy2(path, made.path / path.name)
    except OSError:
        shutil.rmtree(made.path, ignore_errors=True)
        made.end()
        raise
    return made
