"""Records: what a study's trials reported, read from Ray Tune's experiment folder."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from gap_tune.errors import StateError

STUDY_FILE = "study.json"
# In a study's folder: the run that arms share, and the folder of those that have one each.
EXPERIMENT, RUNS = "experiment", "runs"
# In the folder of a run that has ended.
RUN_FILE = "run.json"


@dataclass(frozen=True)
class Records:
    """A study's results as tables.

    Attributes:
        study: What ``study.json`` says: workload, arms, seeds, metric, mode, budget, settings,
            command, versions; and as ``open_runs`` how many runs of single arms have not ended.
        results: One row per report, in order: ``arm, seed, trial_id, iteration, epoch``, every
            metric, and the columns ``gap/...``.
        trials: One row per trial: ``arm, seed, trial_id, status`` ("finished", "stopped" before
            its last epoch by its arm, "failed" or "unfinished"), ``error``, ``reports``, ``steps``,
            ``seconds``, and the metrics of its last report. A run that failed before it had any
            trial has one row, with an empty ``trial_id``.
    """

    study: Mapping[str, Any]
    results: pd.DataFrame
    trials: pd.DataFrame

    @property
    def metric(self) -> str:
        """The metric that arms are compared by."""
        return str(self.study["metric"])

    @property
    def mode(self) -> str:
        """Whether the metric is better low ("min") or high ("max")."""
        return str(self.study["mode"])


def read_records(folder: Path | str) -> Records:
    """Return the records of an experiment folder, also of a study still running or killed.

    Raises:
        StateError: When the folder holds no ``study.json`` or one that is not a study's.
    """
    folder = Path(folder)
    try:
        study = json.loads((folder / STUDY_FILE).read_text())
        study["metric"], study["mode"], study["arms"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StateError(
            f"{folder} must be the folder of a gap_tune study with a {STUDY_FILE}, but {error}."
        ) from None
    own = study.get("runs", [])
    searched = {run["arm"] for run in own}
    together = [name for name in study["arms"] if name not in searched]
    pairs = [(name, seed) for seed in range(study.get("seeds", 0)) for name in together]
    runs = [(folder, pairs)] + [
        (folder.parent / RUNS / run["folder"], [(run["arm"], run["seed"])]) for run in own
    ]
    epochs = study.get("settings", {}).get("epochs", 0)
    loaded = [trial for path, pairs in runs for trial in _read_run(path, pairs, epochs)]
    study["open_runs"] = sum(not run_state(path) for path, _ in runs[1:])
    order = {name: place for place, name in enumerate(study["arms"])}
    loaded.sort(key=lambda pair: (order.get(pair[0]["arm"], len(order)), pair[0]["seed"]))
    rows = [row for _, rows in loaded for row in rows]
    return Records(study, pd.DataFrame(rows), pd.DataFrame([trial for trial, _ in loaded]))


def run_state(folder: Path) -> str:
    """Return the state of a run: "finished", "failed", or "" when it has not ended."""
    return str(_run_end(folder).get("state", ""))


def _run_end(folder: Path) -> dict[str, Any]:
    try:
        end = json.loads((folder / RUN_FILE).read_text())
    except (OSError, ValueError):
        return {}
    return end if isinstance(end, dict) else {}


Trial = tuple[dict[str, Any], list[dict[str, Any]]]


def _read_run(folder: Path, pairs: list[tuple[str, int]], epochs: float) -> list[Trial]:
    """Return a run's trials, or of one that failed before it had any what stands for them.

    Args:
        folder: Of the run.
        pairs: The arms and seeds that it is for.
        epochs: Of a full trial.
    """
    states = trial_states(folder)
    paths = sorted(folder.glob("*/params.json"))
    trials = [read_trial(path.parent, states, epochs) for path in paths]
    end = _run_end(folder)
    if trials or end.get("state") != "failed":
        return trials
    nothing = {"status": "failed", "error": end["error"], "reports": 0, "steps": 0, "seconds": 0.0}
    return [({"arm": arm, "seed": seed, "trial_id": "", **nothing}, []) for arm, seed in pairs]


def trial_states(folder: Path) -> dict[str, str]:
    """Return the status of every trial, by id, in Ray Tune's newest saved state."""
    states = {}
    for path in sorted(folder.glob("experiment_state-*.json"))[-1:]:
        # A study that runs may be writing it now.
        try:
            for trial, _ in json.loads(path.read_text())["trial_data"]:
                state = json.loads(trial)
                states[state["trial_id"]] = state["status"]
        except (ValueError, KeyError, TypeError):
            continue
    return states


def read_trial(folder: Path, states: Mapping[str, str], epochs: float) -> Trial:
    """Return a trial's row and those of its reports.

    Args:
        folder: Of the trial.
        states: Status by trial, from ``trial_states``.
        epochs: Of a full trial; one that ended before was stopped.
    """
    config = json.loads((folder / "params.json").read_text())
    names = {"arm": config.get("arm", folder.name), "seed": config.get("seed", 0)}
    reports = _reports(folder / "result.json")
    rows = [
        {
            **names,
            "trial_id": row["trial_id"],
            "iteration": iteration,
            **{k: v for k, v in _flat(row) if not k.startswith("config/") and k not in _RAY_KEYS},
        }
        for iteration, row in reports
    ]
    last = reports[-1][1] if reports else {}
    log = folder / "error.txt"
    error = log.read_text().strip() if log.exists() else ""
    trial_id = last.get("trial_id", folder.name.rpartition("_")[2])
    # A trial that died, recovered and finished has an error log too: Ray's state decides.
    status = states.get(trial_id, "ERROR" if error else "RUNNING")
    early = status == "TERMINATED" and last.get("epoch", epochs) < epochs
    trial = {
        **(rows[-1] if rows else names),
        "trial_id": trial_id,
        "status": "stopped" if early else _STATUS.get(status, "unfinished"),
        "error": error.splitlines()[-1] if error and status == "ERROR" else "",
        "reports": len(rows),
        "steps": last.get("gap/steps", 0),
        "seconds": last.get("time_total_s", 0.0),
    }
    return trial, rows


_STATUS = {"TERMINATED": "finished", "ERROR": "failed"}
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


def _reports(path: Path) -> list[tuple[int, dict[str, Any]]]:
    """Return what a trial reported, each with its number, without what it took back.

    A trial that starts again, from a checkpoint, reports some of it anew: the later one counts.
    """
    kept: list[tuple[int, dict[str, Any]]] = []
    for row in _read_lines(path):
        while kept and _is_void(*kept[-1], row):
            kept.pop()
        before = kept[-1][0] if kept else 0
        kept.append((max(row["training_iteration"], before + 1), row))
    return kept


def _is_void(number: int, before: dict[str, Any], row: dict[str, Any]) -> bool:
    """Tell whether a trial has gone back behind an earlier report, the one of that number."""
    if row["training_iteration"] > before["training_iteration"]:
        return False
    # A trial of several workers counts its reports from 1 when it starts again; steps go on.
    if "gap/steps" in before and "gap/steps" in row:
        return bool(before["gap/steps"] >= row["gap/steps"])
    return bool(number >= row["training_iteration"])


def _read_lines(path: Path) -> Iterator[dict[str, Any]]:
    if path.exists():
        for line in path.read_text().splitlines():
            # A killed driver may leave half a line at the end.
            try:
                yield json.loads(line)
            except ValueError:
                continue


def _flat(row: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in row.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}/")
        else:
            yield f"{prefix}{key}", value
