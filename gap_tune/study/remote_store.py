"""RemoteStore: a study kept in object storage, such as S3."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.fs

from gap_tune.errors import InvalidValueError, StorageError
from gap_tune.formatting import without_secrets
from gap_tune.records.studies import RUN_FILE, STUDY_FILE
from gap_tune.rules.recorded import DECISIONS_FILE
from gap_tune.study.store import Store

# Copies at a time: a small object takes a round trip, not bandwidth.
_COPIES = 16
# What records and resumes look at; checkpoints and the like are for trials.
_READ = {STUDY_FILE, RUN_FILE, DECISIONS_FILE} | {
    "params.json",
    "result.json",
    "error.txt",
    "tuner.pkl",
}
_STATE = re.compile(r"\w+[-_]state-.*\.json")


def open_store(place: Path | str) -> Store:
    """Return the store that a folder or URI names.

    Raises:
        InvalidValueError: When no file system of ``pyarrow.fs`` knows the URI.
    """
    remote = isinstance(place, str) and "://" in place
    return RemoteStore(str(place)) if remote else Store(place)


class RemoteStore(Store):
    """A study's place that ``pyarrow.fs`` knows, with a local copy of what records read.

    ``pull`` brings the copy up to date, ``push`` uploads what was written into it. Ray itself
    writes results and checkpoints to the store. Credentials are those of the environment.

    Args:
        place: A URI such as ``s3://bucket/folder``, whose query may hold options such as
            ``endpoint_override``.

    Raises:
        InvalidValueError: When no file system of ``pyarrow.fs`` knows it.

    >>> RemoteStore("s3://bucket/studies/mine?region=us-east-1").name
    'mine'
    """

    def __init__(self, place: str) -> None:
        self.place = place
        try:
            self.filesystem, root = pyarrow.fs.FileSystem.from_uri(place)
            if not root.strip("/"):
                raise OSError("it names no bucket")
        except (OSError, pa.ArrowException) as error:
            raise InvalidValueError(
                "storage must be a folder or a URI such as s3://bucket/folder, but got "
                + without_secrets(f"{place}: {_first_line(error)}.")
            ) from None
        self._root = root.rstrip("/")
        self.name = self._root.rpartition("/")[2]
        self._copied: dict[str, tuple[int, int]] = {}
        # Kept as long as the store is.
        self._copy = tempfile.TemporaryDirectory(prefix="gap_tune-")
        self.folder = Path(self._copy.name).resolve() / self.name

    def path(self, folder: Path) -> str:
        """Return what Ray calls a folder below ``folder``, on ``filesystem``."""
        return f"{self._root}{self._below(folder)}"

    def shown(self, path: Path) -> str:
        """Return the URI of a path below ``folder``, without options and secrets."""
        own = without_secrets(self.place).partition("?")[0].rstrip("/")
        return f"{own}{self._below(path)}"

    def _below(self, path: Path) -> str:
        below = path.relative_to(self.folder).as_posix()
        return "" if below == "." else f"/{below}"

    def _try_out(self, file: Path) -> None:
        self.push(file)
        self.filesystem.delete_file(self.path(file))

    def pull(self, folder: Path | None = None) -> None:
        """Bring the local copy of a folder, or of all folders, up to date."""
        with self._named():
            newer = [
                info
                for info in self._files(folder or self.folder)
                if self._is_read(info) and self._copied.get(info.path) != _version(info)
            ]
            _at_once(self._download, newer)

    def push(self, path: Path) -> None:
        """Upload a file of the local copy, or the files of a folder."""
        with self._named():
            pyarrow.fs.copy_files(
                str(path),
                self.path(path),
                source_filesystem=pyarrow.fs.LocalFileSystem(),
                destination_filesystem=self.filesystem,
            )

    def set_aside(self, folder: Path, target: Path, *, keep: str) -> None:
        """Move all of a folder but one file: at no time is that file anywhere else."""
        start, end, kept = self.path(folder), self.path(target), self.path(folder / keep)
        with self._named():
            _at_once(
                lambda info: self.filesystem.move(info.path, end + info.path.removeprefix(start)),
                (info for info in self._files(folder) if info.path != kept),
            )
        super().set_aside(folder, target, keep=keep)

    def _files(self, folder: Path) -> list[Any]:
        wanted = pyarrow.fs.FileSelector(self.path(folder), recursive=True, allow_not_found=True)
        return [info for info in self.filesystem.get_file_info(wanted) if info.is_file]

    def _is_read(self, info: Any) -> bool:
        """Tell whether a file is copied: what is read, and has its place below the local folder.

        Keys of objects are any text: with dots, one names a place outside of it.
        """
        below = self._place_of(info)
        name = below.name
        inside = ".." not in below.parts and not below.is_absolute()
        return inside and (name in _READ or _STATE.fullmatch(name) is not None)

    def _place_of(self, info: Any) -> PurePosixPath:
        return PurePosixPath(info.path.removeprefix(f"{self._root}/"))

    def _download(self, info: Any) -> None:
        target = self.folder / self._place_of(info)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with self.filesystem.open_input_stream(info.path) as stream:
                target.write_bytes(stream.read())
            self._copied[info.path] = _version(info)
        except FileNotFoundError:
            # Of a study that still runs: what Ray replaces is there under another name.
            target.unlink(missing_ok=True)

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Say in one line what went wrong with the storage, and where."""
        try:
            yield
        except StorageError:
            raise
        except (OSError, pa.ArrowException) as error:
            raise StorageError(
                f"storage must be one that can be read and written, but got "
                f"{self.shown(self.folder)}: {without_secrets(_first_line(error))}."
            ) from None


def _at_once(function: Callable[[Any], None], items: Iterable[Any]) -> None:
    with ThreadPoolExecutor(_COPIES) as pool:
        list(pool.map(function, items))


def _version(info: Any) -> tuple[int, int]:
    return info.size, info.mtime_ns


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0].rstrip(".")
