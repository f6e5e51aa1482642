"""pack: from the journal of a recording to a table that simulations read."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

from gap_tune.errors import StateError
from gap_tune.files import json_lines, unwritable
from gap_tune.records.suites import RUNS_FILE, RunKey, key_of, read_note
from gap_tune.simulation.recorded.files import write_tables
from gap_tune.simulation.recorded.recordings import gathered
from gap_tune.simulation.recorded.rounding import BITS, rounded_recordings
from gap_tune.simulation.recording.recorded_suite import KIND, TIMING_FILE


def pack(folder: Path, out: Path, *, kind: str = KIND) -> dict[str, Any]:
    """Pack the runs that a recording left in a folder, and return the note of the table.

    Losses and sums keep five significant digits, and all of them wherever the default rule would
    decide otherwise on fewer. Of the autocorrelation lag 0 is kept, which is all that rules of
    gap_tune read.

    Args:
        folder: Where ``runs.jsonl``, ``timing.jsonl`` and the suite's note are.
        out: Where ``runs.parquet`` and ``tables.json`` go; made when absent.
        kind: What the suite's owner calls it, as of ``read_note``.

    Raises:
        InvalidValueError: When ``out`` cannot be written.
        StateError: When a run or a time is missing, or the folder holds something else.
    """
    suite = read_note(folder, kind)
    runs, timing = _runs(folder), _timing(folder)
    settings, unrounded = [], 0
    for setting in suite["settings"]:
        name = setting["name"]
        own = [run for run in runs.values() if run["setting"] == name]
        if not own:
            raise StateError(f"{folder / RUNS_FILE} must hold runs of {name!r}, but got none.")
        rounded, count = rounded_recordings(gathered(setting, own, timing.get(name, {})))
        settings.append(rounded)
        unrounded += count
    about = {
        "packed_by": version("gap-tune"),
        "binary_digits": BITS,
        "unrounded_statistics": unrounded,
        "suite": suite,
    }
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(out, error) from None
    return write_tables(out, settings, about)


def _runs(folder: Path) -> dict[RunKey, dict[str, Any]]:
    """Return the runs, of one that was done twice the later, without what is not kept."""
    found: dict[RunKey, dict[str, Any]] = {}
    for run in json_lines(folder / RUNS_FILE):
        with suppress(KeyError, TypeError):
            found[key_of(run)] = {**run, "moments": [_kept(moment) for moment in run["moments"]]}
    return found


def _kept(moment: Mapping[str, Any]) -> dict[str, Any]:
    """Return a moment without the lags, which are most of it."""
    statistics = moment["statistics"]
    return {
        **moment,
        "statistics": {**statistics, "autocorrelation": statistics["autocorrelation"][:1]},
    }


def _timing(folder: Path) -> dict[str, dict[str, dict[str, float]]]:
    """Return times by setting and arm, of several those of the quickest, which least disturbed."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for line in json_lines(folder / TIMING_FILE):
        with suppress(KeyError, TypeError):
            times = {name: float(line[name]) for name in ("seconds_per_step", "evaluation_seconds")}
            arms = found.setdefault(line["setting"], {})
            known = arms.setdefault(line["arm"], times)
            arms[line["arm"]] = {name: min(times[name], known[name]) for name in times}
    return found
