"""What the callbacks for Lightning and Hugging Face share: when to report, where to save."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ray.tune.result import AUTO_RESULT_KEYS
from ray.tune.utils import flatten_dict

from gap_tune.tune import keys
from gap_tune.tune.trial.storage import go_on_without


def lacks_study_metric(config: Mapping[str, Any] | None, metrics: Mapping[str, Any]) -> bool:
    """Tell whether a report would lack what Ray's strict check asks for, which ends the study.

    Args:
        config: The trial's configuration, where ``GapSearch`` has noted the study's metric.
        metrics: What would be reported.
    """
    asked = keys.metric_names(keys.section(config).get("metric"))
    known = {*flatten_dict(dict(metrics)), *AUTO_RESULT_KEYS}
    return any(name not in known and not name.startswith(keys.PREFIX) for name in asked)


@contextmanager
def temporary_folder() -> Iterator[Path | None]:
    """Make a folder for as long as the context lasts; None where none can be, which is said."""
    path: Path | None = None
    try:
        path = Path(tempfile.mkdtemp())
    except OSError as error:
        go_on_without(error)
    try:
        yield path
    finally:
        if path is not None:
            shutil.rmtree(path, ignore_errors=True)
