"""Files that are read while they are written, and survive whoever is killed while writing them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from gap_tune.errors import InvalidValueError

# What errors and callers give as a path.
AnyPath = str | os.PathLike[str]


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
    # It is in the same folder: renaming is atomic within one file system only.
    draft = target.with_name(f".{target.name}.{uuid4().hex[:12]}")
    try:
        yield draft
        os.replace(draft, target)
    finally:
        # It is gone when all went well; where nothing could be written there is none.
        with suppress(OSError):
            draft.unlink()


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
                value = json.loads(line)
            except (ValueError, RecursionError):
                continue
            yield value


def end_line(path: AnyPath) -> None:
    """Close the half line that a killed writer may have left, lest the next one is lost too."""
    with Path(path).open("ab+") as file:
        if file.tell() > 0:
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                file.write(b"\n")
