"""read_records: the records of a study, from its file and the folders of its runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gap_tune.errors import StateError
from gap_tune.files import leads_out, parsed_json
from gap_tune.records.records import Records
from gap_tune.records.reported import shown_metrics
from gap_tune.records.saved_state import SavedState
from gap_tune.records.trials import Trial, check_own_files, read_trial, trial_folders

STUDY_FILE = "study.json"
# In a study's folder: the run that arms share, and the folder of those that have one each.
EXPERIMENT, RUNS = "experiment", "runs"
# In the folder of a run that has ended.
RUN_FILE = "run.json"


def read_records(folder: Path | str) -> Records:
    """Return the records of an experiment folder, also of a study still running or killed.

    Raises:
        StateError: When the folder holds no ``study.json`` or one that is not a study's, or what
            is to be read leads out of it by links.
    """
    folder = Path(folder)
    check_own_files(folder)
    try:
        study = parsed_json((folder / STUDY_FILE).read_text())
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
    for path, _ in runs[1:]:
        if leads_out(path, folder.parent / RUNS):
            raise StateError(
                f"{folder / STUDY_FILE} must name runs that lie in {RUNS}, but got {path.name!r}."
            )
    settings = study.get("settings", {})
    epochs = settings.get("epochs", 0)
    trials = [trial for path, pairs in runs for trial in _read_run(path, pairs, epochs)]
    if settings.get("reports"):
        trials = [trial.stopped_before(settings["reports"]) for trial in trials]
    if study.get("swept"):
        trials = [trial.with_lr() for trial in trials]
    study["open_runs"] = sum(not run_state(path) for path, _ in runs[1:])
    order = {name: place for place, name in enumerate(study["arms"])}
    trials.sort(key=lambda trial: (order.get(trial.row["arm"], len(order)), trial.row["seed"]))
    records = Records.of(study, trials)
    # A function of the user's reports what it likes, a workload what its name says.
    if "function" in settings:
        study["metrics"] = shown_metrics(records.results, records.metric)
    return records


def no_study(called: str, folder: Path, *, experiments: bool = False) -> StateError:
    """Return the error of a place that holds no study.

    Args:
        called: The place as the user wrote it.
        folder: The folder, or the local copy of it.
        experiments: Whether an experiment of Ray Tune would have done, too.
    """
    other = (
        ", or of a Ray Tune experiment, which holds a folder with result.json for each trial"
        if experiments
        else ""
    )
    found = "there is no such folder"
    if folder.is_dir():
        found = "it holds neither" if experiments else "it does not"
    elif folder.exists():
        found = "it is a file"
    return StateError(
        f"{called} must be the folder of a gap_tune study, which holds {EXPERIMENT}/{STUDY_FILE}"
        f"{other}, but {found}."
    )


def run_state(folder: Path) -> str:
    """Return the state of a run: "finished", "failed", or "" when it has not ended."""
    return str(_run_end(folder).get("state", ""))


def _run_end(folder: Path) -> dict[str, Any]:
    try:
        end = parsed_json((folder / RUN_FILE).read_text())
    except (OSError, ValueError):
        return {}
    return end if isinstance(end, dict) else {}


def _read_run(folder: Path, pairs: list[tuple[str, int]], epochs: float) -> list[Trial]:
    """Return a run's trials, or of one that failed before it had any what stands for them.

    Args:
        folder: The run's folder.
        pairs: The arms and seeds that it is for.
        epochs: Those of a full trial.
    """
    check_own_files(folder)
    saved = SavedState.read(folder)
    trials = [read_trial(path, saved, epochs) for path in trial_folders(folder)]
    end = _run_end(folder)
    if trials or end.get("state") != "failed":
        return trials
    nothing = {"status": "failed", "error": end["error"], "reports": 0, "steps": 0, "seconds": 0.0}
    return [
        Trial({}, {"arm": arm, "seed": seed, "trial_id": "", **nothing}, []) for arm, seed in pairs
    ]
