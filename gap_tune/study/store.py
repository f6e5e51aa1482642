"""Store: the folder where a study is kept."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gap_tune.errors import GapTuneError, InvalidValueError, StorageError


class Store:
    """A folder where a study is kept.

    Also what the study and its runs ask of a store elsewhere (``RemoteStore``), of which records
    and reports read a local copy.

    Args:
        place: The folder, created when absent.

    Attributes:
        place: The folder's absolute path, or a URI.
        folder: The folder, or the local copy.
        name: What dashboards call the study.
        filesystem: The file system for Ray; None, its default, for a folder.

    >>> Store("results/mine").name
    'mine'
    """

    filesystem: Any = None

    def __init__(self, place: Path | str) -> None:
        self.folder = Path(place).expanduser().resolve()
        self.place, self.name = str(self.folder), self.folder.name

    def path(self, folder: Path) -> str:
        """Return what Ray calls a folder below ``folder``, on ``filesystem``."""
        return str(folder)

    def shown(self, path: Path) -> str:
        """Return what to call a path below ``folder`` to a user."""
        return str(path)

    def check_writable(self) -> None:
        """Check that files can be written, by writing one.

        Raises:
            InvalidValueError: When they cannot.
            StorageError: When a store elsewhere cannot be reached.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=self.folder) as file:
                self._try_out(Path(file.name))
        except StorageError:
            raise
        except OSError as error:
            raise InvalidValueError(
                f"storage must be a folder that can be written, but got "
                f"{self.shown(self.folder)}: {error.strerror or error}."
            ) from None

    def _try_out(self, file: Path) -> None:
        """Do with a file what a study will do with others."""

    def pull(self, folder: Path | None = None) -> None:
        """Bring the local copy of a folder, or of all folders, up to date.

        Raises:
            StorageError: When the store cannot be read.
        """

    def push(self, path: Path) -> None:
        """Upload a file of the local copy, or the files of a folder.

        Raises:
            StorageError: When the store cannot be written.
        """

    def set_aside(self, folder: Path, target: Path, *, keep: str) -> None:
        """Move all of a folder but one file: at no time is that file anywhere else."""
        target.mkdir(parents=True)
        for path in folder.iterdir():
            if path.name != keep:
                path.rename(target / path.name)

    @contextmanager
    def named_in_errors(self) -> Iterator[None]:
        """Name the place, not the local copy, in errors that are raised meanwhile."""
        try:
            yield
        except GapTuneError as error:
            text = str(error).replace(str(self.folder), self.shown(self.folder))
            raise type(error)(text) from None
