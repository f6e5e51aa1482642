"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from gap_tune.errors import InvalidValueError
from gap_tune.records.records import Records
from gap_tune.report.tables import summarise


def write_csv(records: Records, folder: Path | str) -> list[Path]:
    """Write ``results.csv``, ``trials.csv`` and ``summary.csv`` and return their paths.

    Args:
        records: What to write: a row per report, a row per trial, a row per arm.
        folder: Where to; made when absent.

    Raises:
        InvalidValueError: When the folder cannot be written.
    """
    tables = {
        "results.csv": records.results,
        "trials.csv": records.trials,
        "summary.csv": summarise(records),
    }
    return [
        write_whole(Path(folder) / name, table.to_csv(index=False))
        for name, table in tables.items()
    ]


def write_whole(path: Path, text: str) -> Path:
    """Write a file under another name and rename it, so that nobody sees half of it.

    Raises:
        InvalidValueError: When the file cannot be written.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # A name with a lone surrogate is valid JSON but not UTF-8.
        draft.write_bytes(text.encode("utf-8", "replace"))
        draft.replace(path)
    except OSError as error:
        raise InvalidValueError(
            f"a report must go where files can be written, but got {path}: {error.strerror}."
        ) from None
    finally:
        # Gone when all went well; where nothing could be written there is nothing to remove.
        with contextlib.suppress(OSError):
            draft.unlink()
    return path
