"""read_trial: what a trial left in its folder."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gap_tune.errors import StateError
from gap_tune.files import json_lines, leads_out, parsed_json
from gap_tune.records.saved_state import SavedState
from gap_tune.tune import keys
from gap_tune.tune.nested import leaves

PARAMETERS_FILE = "params.json"
_RESULTS_FILE = "result.json"
_ERROR_FILE = "error.txt"
_STATUS = {"TERMINATED": "finished", "ERROR": "failed"}
# What Ray adds to every report, and nobody compares.
_RAY_KEYS = {
    "checkpoint_dir_name",
    "date",
    "done",
    "experiment_tag",
    "hostname",
    "iterations_since_restore",
    "node_ip",
    "pid",
    "should_checkpoint",
    "time_since_restore",
    "training_iteration",
}


@dataclass(frozen=True)
class Trial:
    """A trial as it was read.

    Attributes:
        config: Its configuration.
        row: Its row in ``Records.trials``.
        reports: Its rows in ``Records.results``.
        folder: Where it was read; None of one that stands for trials that never were.
        done: Whether its last report says that something ended it: a scheduler, a stopping rule, or
            a class trainable itself. A training function that returns says so in no report.
    """

    config: dict[str, Any]
    row: dict[str, Any]
    reports: list[dict[str, Any]]
    folder: Path | None = None
    done: bool = False

    def named(self, arm: str, seed: Any) -> Trial:
        """Return the trial as one of another arm and seed."""
        names = {"arm": arm, "seed": seed}
        reports = [report | names for report in self.reports]
        return replace(self, row=self.row | names, reports=reports)

    def placed(self, place: tuple[int, Any] | None) -> Trial:
        """Return the trial with the number of its configuration, and its own seed beside it.

        Args:
            place: Both; None where nothing is compared with it.
        """
        configuration, seed = (math.nan, None) if place is None else place
        names = {"configuration": float(configuration), "own_seed": seed}
        reports = [report | names for report in self.reports]
        return replace(self, row=self.row | names, reports=reports)

    def stopped_before(self, longest: int) -> Trial:
        """Return the trial as one that was stopped, if something ended it before others.

        Args:
            longest: How many reports the longest of the others made.
        """
        early = self.row["status"] == "finished" and self.done and len(self.reports) < longest
        return replace(self, row=self.row | {"status": "stopped"}) if early else self

    def with_lr(self) -> Trial:
        """Return the trial with its configuration's learning rate as ``lr``; NaN without one."""
        lr = {"lr": float(self.config.get("lr", math.nan))}

        def named(row: dict[str, Any]) -> dict[str, Any]:
            # After arm and seed, and never a metric of that name.
            return {"arm": row["arm"], "seed": row["seed"], **lr, **row, **lr}

        return replace(self, row=named(self.row), reports=[named(row) for row in self.reports])


def trial_folders(folder: Path) -> list[Path]:
    """Return the folders of an experiment's trials, by name; none that lies outside of it."""
    found = folder.glob(f"*/{PARAMETERS_FILE}")
    return sorted(path.parent for path in found if not leads_out(path, folder))


def check_own_files(folder: Path) -> None:
    """Check that the files of an experiment's folder are its own.

    Raises:
        StateError: When one is a link that leads out of the folder.
    """
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.is_symlink() and not path.is_dir() and leads_out(path, folder):
            raise StateError(
                f"{folder} must hold its own files, but {path.name} is a link that leads out of it."
            )


def read_trial(folder: Path, saved: SavedState, epochs: float = 0) -> Trial:
    """Return what a trial left in its folder.

    Args:
        folder: The trial's folder.
        saved: What Ray saved of the experiment.
        epochs: Those of a full trial; one that ended before was stopped.

    Raises:
        OSError: When the trial's configuration cannot be read.
        ValueError: When it is not whole: a driver that runs may be writing it now.
    """
    config = parsed_json((folder / PARAMETERS_FILE).read_text())
    if not isinstance(config, dict):
        raise ValueError(f"a trial's configuration must be a mapping, but got {config!r:.100}.")
    names = {"arm": config.get("arm", folder.name), "seed": config.get("seed", 0)}
    reports = _reports(folder / _RESULTS_FILE)
    rows = [
        {**names, "trial_id": report["trial_id"], "iteration": iteration, **_metrics(report)}
        for iteration, report in reports
    ]
    last = reports[-1][1] if reports else {}
    error = _error(folder / _ERROR_FILE)
    trial_id = last.get("trial_id", saved.trial_in(folder.name))
    # A trial that died, recovered and finished has an error log too: Ray's state decides.
    status = saved.statuses.get(trial_id, "ERROR" if error else "RUNNING")
    early = status == "TERMINATED" and last.get("epoch", epochs) < epochs
    row = {
        **(rows[-1] if rows else names),
        "trial_id": trial_id,
        "status": "stopped" if early else _STATUS.get(status, "unfinished"),
        "error": error.splitlines()[-1] if error and status == "ERROR" else "",
        "reports": len(rows),
        "steps": _spent(last.get(keys.STEPS, 0)),
        "seconds": _spent(last.get("time_total_s", 0.0)),
    }
    return Trial(config, row, rows, folder, bool(last.get("done")))


def _spent(value: Any) -> float:
    """Return steps or seconds that can be added up; nothing for what cannot."""
    return value if isinstance(value, int | float) and math.isfinite(value) else 0


def _error(path: Path) -> str:
    """Return what a trial failed with; nothing of a link to what is not the experiment's."""
    if not path.exists() or leads_out(path, path.parents[1]):
        return ""
    return path.read_text(encoding="utf-8", errors="replace").strip()


def _metrics(report: dict[str, Any]) -> dict[str, Any]:
    """Return what a trial reported, and not its configuration or what Ray adds."""
    return {
        name: value
        for name, value in leaves(report)
        if not name.startswith("config/") and name not in _RAY_KEYS
    }


def _reports(path: Path) -> list[tuple[int, dict[str, Any]]]:
    """Return what a trial reported, each with its number, without what it took back.

    A trial that starts again, from a checkpoint, reports some of it anew: the later one counts.
    """
    kept: list[tuple[int, dict[str, Any]]] = []
    rows = () if leads_out(path, path.parents[1]) else json_lines(path)
    for row in filter(_is_report, rows):
        while kept and _is_void(*kept[-1], row):
            kept.pop()
        before = kept[-1][0] if kept else 0
        kept.append((max(row["training_iteration"], before + 1), row))
    return kept


def _is_report(row: Any) -> bool:
    """Tell whether a line is what Ray writes of a report, and not what somebody else put there."""
    if not isinstance(row, dict) or not isinstance(row.get("trial_id"), str):
        return False
    numbers = (row.get("training_iteration"), row.get(keys.STEPS, 0))
    return all(isinstance(number, int | float) for number in numbers)


def _is_void(number: int, before: dict[str, Any], row: dict[str, Any]) -> bool:
    """Tell whether a trial has gone back behind an earlier report, the one of that number."""
    if row["training_iteration"] > before["training_iteration"]:
        return False
    # A trial of several workers counts its reports from 1 when it starts again; steps go on.
    if keys.STEPS in before and keys.STEPS in row:
        return bool(before[keys.STEPS] >= row[keys.STEPS])
    return bool(number >= row["training_iteration"])
