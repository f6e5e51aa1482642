"""Prepared data, once per node: the first trial that needs them prepares, the others wait.

A folder, not Ray's object store: it works without Ray, outlives the study, and the trials of a node
map the file into memory, so that all of them together hold it once.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from torch import Tensor

from gap_tune.errors import InvalidValueError
from gap_tune.files import replacing

FOLDER_VARIABLE = "GAP_TUNE_CACHE"


def prepared(
    name: str, key: Mapping[str, Any], make: Callable[[], dict[str, Tensor]]
) -> dict[str, Tensor]:
    """Return the tensors that ``make`` makes, or made for the same key before.

    They lie in the folder of the environment variable GAP_TUNE_CACHE, by default
    ~/.cache/gap_tune, and stay there until somebody deletes them.

    Args:
        name: What it is, for the file's name.
        key: Everything that the tensors depend on, as JSON values.
        make: Makes them; whatever it raises is passed on, and nothing is kept.

    Raises:
        InvalidValueError: When the folder cannot be written.
    """
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    path = _folder() / f"{name}-{digest}.pt"
    with FileLock(f"{path}.lock"):
        if not path.exists():
            _write(make(), path)
    tensors: dict[str, Tensor] = torch.load(path, weights_only=True, mmap=True)
    return tensors


def locked(name: str) -> FileLock:
    """Return the node's lock of that name, for downloads by libraries that take none."""
    return FileLock(str(_folder() / f"{name}.lock"))


def version_of(files: Sequence[Path]) -> list[list[Any]]:
    """Return what changes when one of the files does: path, size and time, for a key."""
    stats = [(file.resolve(), file.stat()) for file in files]
    return [[str(path), stat.st_size, stat.st_mtime_ns] for path, stat in stats]


def _folder() -> Path:
    folder = Path(os.environ.get(FOLDER_VARIABLE) or Path.home() / ".cache" / "gap_tune")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidValueError(
            f"prepared data must go to a folder that can be written, named by {FOLDER_VARIABLE}, "
            f"but got {folder}: {error.strerror}."
        ) from None
    return folder


def _write(tensors: dict[str, Tensor], path: Path) -> None:
    # A kill while writing leaves a file that nobody takes for the data.
    with replacing(path) as draft:
        torch.save(tensors, draft)
