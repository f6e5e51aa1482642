"""What the callbacks for Lightning and Hugging Face share: which moments to report, and faults."""

from __future__ import annotations

import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ray.tune.result import AUTO_RESULT_KEYS
from ray.tune.utils import flatten_dict

from gap_tune.tune import keys


def lacks_study_metric(config: Mapping[str, Any] | None, metrics: Mapping[str, Any]) -> bool:
    """Tell whether a report would lack what Ray's strict check asks for, which ends the study.

    Args:
        config: The trial's configuration, where ``GapSearch`` has noted the study's metric.
        metrics: What would be reported.
    """
    asked = keys.section(config).get("metric") or ()
    asked = (asked,) if isinstance(asked, str) else asked
    known = {*flatten_dict(dict(metrics)), *AUTO_RESULT_KEYS}
    return any(name not in known and not name.startswith(keys.PREFIX) for name in asked)


def is_storage_fault(error: BaseException) -> bool:
    """Tell whether an error says that a folder cannot be written: it is full, or read-only.

    torch says so in a ``RuntimeError`` of its file writer, safetensors in an error of its own.
    """
    told = ("PytorchStreamWriter", "inline_container", "os error", "I/O error", "IoError")
    return isinstance(error, OSError) or any(words in str(error) for words in told)


@contextmanager
def temporary_folder() -> Iterator[Path | None]:
    """Make a folder for as long as the context lasts; None, with a warning, where none can be."""
    path: Path | None = None
    try:
        path = Path(tempfile.mkdtemp())
    except OSError as error:
        warn_of_lost_checkpoint(error)
    try:
        yield path
    finally:
        if path is not None:
            shutil.rmtree(path, ignore_errors=True)


def warn_of_lost_checkpoint(error: BaseException) -> None:
    """Say that a report goes without its checkpoint, and why."""
    warnings.warn(
        f"The trial goes on without this checkpoint, whose folder cannot be written: {error!r}",
        stacklevel=2,
    )
