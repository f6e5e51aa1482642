"""What may be given to ``report`` as a checkpoint, as ``tune.report`` takes it and more."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from ray.train import Checkpoint

from gap_tune.errors import InvalidValueError, UnsupportedError
from gap_tune.tune.trial.checkpointing import FILE, holds_all
from gap_tune.tune.trial.storage import go_on_without, is_storage_fault

# True asks gap_tune to make one; a folder or a Ray checkpoint is one that the user has made.
Wanted: TypeAlias = bool | Path | Checkpoint


def wanted(checkpoint: Any) -> Wanted:
    """Return what a report is to come with; False where with nothing.

    A Ray checkpoint in a local folder is as good as the folder.

    Raises:
        UnsupportedError: When it is neither a truth value nor a folder nor a checkpoint of Ray.

    >>> wanted(None), wanted(np.bool_(True)), wanted("folder")
    (False, True, PosixPath('folder'))
    """
    if checkpoint is None or isinstance(checkpoint, (bool, np.bool_)):
        return bool(checkpoint)
    if isinstance(checkpoint, torch.Tensor) and checkpoint.dtype == torch.bool:
        return bool(checkpoint)
    if isinstance(checkpoint, Checkpoint):
        local = checkpoint.filesystem.type_name == "local"
        return Path(checkpoint.path) if local else checkpoint
    if isinstance(checkpoint, (str, os.PathLike)):
        return Path(os.fsdecode(checkpoint))
    raise UnsupportedError(
        "checkpoint must be True, False, None, a folder or a tune.Checkpoint, but got "
        f"{type(checkpoint).__name__}."
    )


def check_folder(folder: Path) -> None:
    """Check that a folder with files of the user's is there.

    Raises:
        InvalidValueError: When it is not.
    """
    if not folder.is_dir() or folder == Path():
        raise InvalidValueError(
            "checkpoint must be a folder that exists (one elsewhere as a tune.Checkpoint), but got "
            f"{str(folder)!r}."
        )


def prepared(
    what: Literal[True] | Path | Checkpoint, save: Callable[..., None], stack: ExitStack
) -> Path | Checkpoint | None:
    """Return a checkpoint with gap_tune's file in it; None where the storage cannot take it.

    Args:
        what: What is wanted; True makes a folder. A checkpoint of gap_tune's own that is reported
            once more, as by ``checkpoint=tune.get_checkpoint()``, stays as whole as it is.
        save: Writes gap_tune's file into a folder, ``whole`` or not.
        stack: What holds temporary folders until the report is made.
    """
    try:
        if isinstance(what, Path):
            save(what, whole=holds_all(what))
            return what
        # What cannot be removed either is no reason to fail.
        temporary = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        folder = Path(stack.enter_context(temporary))
        if isinstance(what, Checkpoint):
            _download(what, folder / FILE)
            save(folder, whole=holds_all(folder))
            _upload(folder / FILE, what)
            return what
        save(folder, whole=True)
    except Exception as error:
        if not is_storage_fault(error):
            raise
        go_on_without(error)
        return None
    return folder


def _download(checkpoint: Checkpoint, file: Path) -> None:
    """Fetch a file of a checkpoint that lies elsewhere, if it is there."""
    with (
        suppress(FileNotFoundError),
        checkpoint.filesystem.open_input_stream(_place(checkpoint, file)) as stream,
    ):
        file.write_bytes(stream.read())


def _upload(file: Path, checkpoint: Checkpoint) -> None:
    """Add a file to a checkpoint that lies elsewhere."""
    with checkpoint.filesystem.open_output_stream(_place(checkpoint, file)) as stream:
        stream.write(file.read_bytes())


def _place(checkpoint: Checkpoint, file: Path) -> str:
    return f"{checkpoint.path.rstrip('/')}/{file.name}"
