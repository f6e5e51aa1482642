"""Files that are read while they are written, and survive whoever is killed while writing them."""

from __future__ import annotations

import glob
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from gap_tune.errors import InvalidValueError

# What errors and callers give as a path.
AnyPath = str | os.PathLike[str]
# Of a whole number: seeds of 64 bits have 20.
_MOST_DIGITS = 20


@contextmanager
def replacing(path: AnyPath) -> Iterator[Path]:
    """Give a path to write to, which takes the file's place when the block has ended well.

    Whoever reads the file meanwhile sees all of the old content or all of the new. A block that
    raises leaves the file as it was.

    Args:
        path: The file.

    Raises:
        OSError: When the file cannot be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with replacing(Path(folder, "a")) as draft:
    ...         _ = draft.write_text("new")
    ...     Path(folder, "a").read_text(), len(list(Path(folder).iterdir()))
    ('new', 1)
    """
    target = Path(path)

    def make() -> Path:
        # It is in the same folder: renaming is atomic within one file system only.
        draft = target.with_name(f".{target.name}.{uuid4().hex[:12]}")
        draft.touch(exist_ok=False)
        return draft

    with Claim(make) as draft:
        try:
            yield draft
            os.replace(draft, target)
        finally:
            # It is gone when all went well.
            with suppress(OSError):
                draft.unlink()


def remove_drafts(path: AnyPath) -> None:
    """Remove what writers of a file that were killed have left beside it.

    Args:
        path: The file, as of ``replacing``.
    """
    target = Path(path)
    remove_abandoned(target.parent, f".{glob.escape(target.name)}.*")


class Claim:
    """A temporary file or folder of a living process, which ``remove_abandoned`` leaves alone.

    The system ends the claim with the process, however that dies. Where files cannot be locked
    there are no claims, and nothing passes for abandoned.

    Args:
        make: Makes the file or folder, another one at every call.

    Attributes:
        path: Where it is.

    Raises:
        OSError: When it cannot be made.

    >>> from tempfile import mkdtemp
    >>> parent = Path(mkdtemp())
    >>> with Claim(lambda: Path(mkdtemp(dir=parent))) as made:
    ...     remove_abandoned(parent, "*")
    ...     made.exists()
    True
    >>> remove_abandoned(parent, "*")
    >>> made.exists()
    False
    """

    def __init__(self, make: Callable[[], Path]) -> None:
        while True:
            self.path = make()
            try:
                self._lock: int | None = _locked(self.path)
            except BlockingIOError:
                # Another process took it for abandoned before it was claimed.
                continue
            except OSError:
                self._lock = None
                return
            if self.path.exists():
                return
            self.end()

    def end(self) -> None:
        """Give it up; once is enough."""
        if self._lock is not None:
            os.close(self._lock)
        self._lock = None

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, *error: object) -> None:
        self.end()


def remove_abandoned(folder: Path, pattern: str) -> None:
    """Remove temporary files and folders whose ``Claim`` has ended with its process.

    Args:
        folder: Where they are.
        pattern: What their names match, as of ``Path.glob``.
    """
    for path in folder.glob(pattern):
        # It may be in use, another user's, or gone by now.
        with suppress(OSError):
            lock = _locked(path)
            try:
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink()
            finally:
                os.close(lock)


def _locked(path: Path) -> int:
    """Return a handle of the file or folder, which is locked until it is closed.

    Raises:
        BlockingIOError: When another handle has the lock.
        OSError: When it cannot be locked.
    """
    if sys.platform == "win32":
        raise OSError("files that are in use cannot be replaced there, so none is locked")
    import fcntl

    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise
    return handle


def write_whole(path: AnyPath, content: bytes) -> Path:
    """Write a file such that whoever reads it sees all of the old content or all of the new.

    Raises:
        InvalidValueError: When the file cannot be written.
    """
    try:
        with replacing(path) as draft:
            draft.write_bytes(content)
    except OSError as error:
        raise unwritable(path, error) from None
    return Path(path)


def write_text(path: AnyPath, text: str) -> Path:
    """Write a text as ``write_whole`` does, in a folder that is made when absent.

    Raises:
        InvalidValueError: When the file cannot be written.
    """
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(path, error) from None
    # A name with a lone surrogate is valid JSON but not UTF-8.
    return write_whole(path, text.encode("utf-8", "replace"))


def unwritable(path: AnyPath, error: OSError) -> InvalidValueError:
    """Return the error for a file that cannot be written."""
    return InvalidValueError(
        f"path must lie in a folder that can be written, but got {os.fspath(path)}: "
        f"{error.strerror or error}."
    )


def parsed_json(text: str) -> Any:
    """Return what a JSON text holds, with whole numbers that everything can work with.

    Files may be anybody's: what nests too deeply is no JSON here, and whole numbers of more than 20
    digits, which nobody counts, are floats.

    Raises:
        ValueError: When the text is no JSON.

    >>> parsed_json('[18446744073709551615, 1e3]'), parsed_json("9" * 5000)
    ([18446744073709551615, 1000.0], inf)
    """
    try:
        return json.loads(text, parse_int=_whole_number)
    except RecursionError:
        raise ValueError("it nests too deeply") from None


def _whole_number(digits: str) -> float:
    return int(digits) if len(digits) <= _MOST_DIGITS else float(digits)


def leads_out(path: Path, folder: Path) -> bool:
    """Tell whether a file is a symbolic link, or lies behind one, that leads out of a folder.

    Results may be somebody else's, who can place links to files that only the reader may read.

    Args:
        path: The file.
        folder: Where it must lie. That it is a link itself does not matter.
    """
    try:
        return not path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):
        # Links that go round in circles lead nowhere.
        return True


def json_lines(path: AnyPath) -> Iterator[Any]:
    """Yield what the lines of a file hold; a file that is not there has none.

    Lines that are no JSON are passed over: a writer that was killed may leave half a line.
    """
    if not Path(path).is_file():
        return
    # Half a line may end within a character.
    with Path(path).open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                value = parsed_json(line)
            except ValueError:
                continue
            yield value


def end_line(path: AnyPath) -> None:
    """Close the half line that a killed writer may have left, lest the next one is lost too."""
    with Path(path).open("ab+") as file:
        if file.tell() > 0:
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                file.write(b"\n")
