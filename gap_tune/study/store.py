"""Store: where a study is kept, a local folder or one in object storage."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.fs

from gap_tune.errors import GapTuneError, InvalidValueError

# Copies at a time: a small object takes a round trip, not bandwidth.
_COPIES = 16
# What checkpoints and workers keep is for trials to read, not for records.
_NOT_READ = ("checkpoint_", "ranks-")


class Store:
    """A study's place: a folder, or a URI of what ``pyarrow.fs`` knows, such as ``s3://``.

    Records and reports read files, so of a store elsewhere there is a local copy of what they
    read: ``pull`` brings it up to date, ``push`` uploads what was written into it. Ray itself
    writes results and checkpoints to the store. Both do nothing where the store is a folder.

    Args:
        place: A folder, created when absent, or a URI, whose query may hold options such as
            ``endpoint_override``. Credentials are those of the environment.

    Attributes:
        place: The same as text; a folder's absolute path.
        folder: The folder, or the local copy.

    Raises:
        InvalidValueError: When no file system of ``pyarrow.fs`` knows the URI.

    >>> Store("results/mine").is_local
    True
    """

    def __init__(self, place: Path | str) -> None:
        self.is_local = not is_uri(place)
        if self.is_local:
            self.folder = Path(place).expanduser().resolve()
            self.place = str(self.folder)
            return
        self.place = str(place)
        try:
            self._filesystem, root = pyarrow.fs.FileSystem.from_uri(self.place)
            if not root.strip("/"):
                raise OSError("it names no bucket")
        except (OSError, pa.ArrowException) as error:
            raise InvalidValueError(
                f"storage must be a folder or a URI such as s3://bucket/folder, but got "
                f"{without_secrets(f'{self.place}: {_first_line(error)}')}."
            ) from None
        self._root = root.rstrip("/")
        # Kept as long as the store is.
        self._copied: dict[str, tuple[int, int]] = {}
        self._copy = tempfile.TemporaryDirectory(prefix="gap_tune-")
        self.folder = Path(self._copy.name).resolve() / self.name

    @property
    def name(self) -> str:
        """The last part of the place, as dashboards call a study."""
        return self.folder.name if self.is_local else self._root.rpartition("/")[2]

    @cached_property
    def filesystem(self) -> Any:
        """The file system for Ray; None, its default, for a folder."""
        return None if self.is_local else self._filesystem

    def path(self, folder: Path) -> str:
        """Return what Ray calls a folder below ``folder``, on that file system."""
        if self.is_local:
            return str(folder)
        below = folder.relative_to(self.folder).as_posix()
        return self._root if below == "." else f"{self._root}/{below}"

    def shown(self, path: Path) -> str:
        """Return what to call a path below ``folder`` to a user: without options and secrets."""
        if self.is_local:
            return str(path)
        parts, below = urlsplit(self.place), path.relative_to(self.folder).as_posix()
        bucket, own = parts.netloc.rpartition("@")[2], parts.path.rstrip("/")
        return f"{parts.scheme}://{bucket}{own}" + ("" if below == "." else f"/{below}")

    def check_writable(self) -> None:
        """Check that files can be written, by writing one.

        Raises:
            InvalidValueError: When they cannot.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=self.folder) as file:
                self.push(Path(file.name))
                if not self.is_local:
                    self._filesystem.delete_file(self.path(Path(file.name)))
        except (OSError, pa.ArrowException) as error:
            reason = getattr(error, "strerror", None) or _first_line(error)
            raise InvalidValueError(
                f"storage must be a folder that can be written, but got "
                f"{self.shown(self.folder)}: {reason}."
            ) from None

    def pull(self, folder: Path | None = None) -> None:
        """Bring the local copy of a folder, or of the whole store, up to date."""
        if self.is_local:
            return
        start = self.path(folder or self.folder)
        wanted = pyarrow.fs.FileSelector(start, recursive=True, allow_not_found=True)
        found = filter(self._is_read, self._filesystem.get_file_info(wanted))
        newer = [each for each in found if self._copied.get(each.path) != _version(each)]
        with ThreadPoolExecutor(_COPIES) as pool:
            list(pool.map(self._download, newer))

    def push(self, path: Path) -> None:
        """Upload a file of the local copy, or the files of a folder."""
        if self.is_local:
            return
        pyarrow.fs.copy_files(
            str(path),
            self.path(path),
            source_filesystem=pyarrow.fs.LocalFileSystem(),
            destination_filesystem=self._filesystem,
        )

    def move(self, folder: Path, target: Path) -> None:
        """Rename a folder and, elsewhere, copy its files and delete them: objects stay as named."""
        folder.rename(target)
        if self.is_local:
            return
        old, new = self.path(folder), self.path(target)
        pyarrow.fs.copy_files(
            old, new, source_filesystem=self._filesystem, destination_filesystem=self._filesystem
        )
        self._filesystem.delete_dir(old)

    @contextmanager
    def named_in_errors(self) -> Iterator[None]:
        """Name the place, not the local copy, in errors that are raised meanwhile."""
        try:
            yield
        except GapTuneError as error:
            raise type(error)(
                str(error).replace(str(self.folder), self.shown(self.folder))
            ) from None

    def _is_read(self, info: Any) -> bool:
        parts = info.path.removeprefix(self._root).split("/")
        return info.is_file and not any(part.startswith(_NOT_READ) for part in parts)

    def _download(self, info: Any) -> None:
        target = self.folder / info.path.removeprefix(f"{self._root}/")
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with self._filesystem.open_input_stream(info.path) as stream:
                target.write_bytes(stream.read())
            self._copied[info.path] = _version(info)
        except FileNotFoundError:
            # Of a study that still runs: what Ray replaces is there under another name.
            target.unlink(missing_ok=True)


def is_uri(place: Path | str) -> bool:
    """Tell whether a place is a URI rather than a path."""
    return isinstance(place, str) and "://" in place


def without_secrets(text: str) -> str:
    """Return a text without the keys that a URI in it may hold.

    >>> without_secrets("--out s3://key:secret@bucket/study")
    '--out s3://bucket/study'
    """
    return re.sub(r"(\w://)[^/@\s]*@", r"\1", text)


def _version(info: Any) -> tuple[int, int]:
    return info.size, info.mtime_ns


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0].rstrip(".")
