"""opened: whatever a user has of a study, as a comparison."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gap_tune.errors import UnsupportedError
from gap_tune.records.experiments import read_experiment
from gap_tune.records.records import Records
from gap_tune.records.studies import EXPERIMENT, STUDY_FILE, read_records
from gap_tune.report.comparison import Comparison
from gap_tune.study.remote_store import open_store
from gap_tune.study.study import Study


def opened(results: Any, metric: str | None = None, mode: str | None = None) -> Comparison:
    """Return the comparison of a study.

    Args:
        results: As of ``gap_tune.best``.
        metric: Metric of an experiment; default what the study asked Ray Tune for.
        mode: "min" or "max", likewise.

    Raises:
        InvalidValueError: When metric or mode are needed and missing.
        StateError: When the folder holds no results of gap_tune.
        UnsupportedError: When it is something else.
    """
    if isinstance(results, Comparison | Records):
        return Comparison.of(results)
    if isinstance(results, Study):
        return Comparison.of(results.records())
    if hasattr(results, "experiment_path") and hasattr(results, "filesystem"):
        results = _address(results)
    if not isinstance(results, str | Path):
        raise UnsupportedError(
            "results must be what Tuner.fit returned, a Study, Records, or the folder of a study "
            f"or experiment, but got {type(results).__name__}."
        )
    store = open_store(results)
    store.pull()
    with store.named_in_errors():
        return Comparison.of(_read(store.folder, str(results), metric, mode))


def _address(grid: Any) -> str:
    """Return where the experiment of a result grid lies: only Ray's knows both."""
    kind, path = grid.filesystem.type_name, str(grid.experiment_path)
    return path if kind == "local" else f"{kind}://{path}"


def _read(folder: Path, called: str, metric: str | None, mode: str | None) -> Records:
    for place in (folder, folder / EXPERIMENT):
        if (place / STUDY_FILE).exists():
            return read_records(place)
    return read_experiment(folder, metric=metric, mode=mode, called=called)
