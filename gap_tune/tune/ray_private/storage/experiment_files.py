"""Experiment files: ours in the folder that Ray keeps of an experiment (fact 9)."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def experiment_name(trial: Any) -> str:
    """Return the name of the experiment's folder; empty without a folder."""
    return "" if trial.storage is None else str(trial.storage.experiment_dir_name)


def experiment_file(trial: Any, name: str) -> Path | None:
    """Return where the driver keeps a file of the experiment folder; None without a folder.

    It is the file itself where storage is a local folder, so that a driver that is killed loses
    nothing; elsewhere it is a file that Ray uploads now and then.
    """
    storage = trial.storage
    if storage is None:
        return None
    if storage.storage_filesystem.type_name == "local":
        return Path(storage.experiment_fs_path, name)
    return Path(storage.experiment_driver_staging_path, name)


def trial_file(trial: Any, name: str) -> Path | None:
    """Return where the driver keeps a file of a trial's folder, as ``experiment_file`` does."""
    if trial.storage is None:
        return None
    return experiment_file(trial, f"{Path(trial.storage.trial_fs_path).name}/{name}")


def fetch_experiment_file(trial: Any, name: str) -> None:
    """Bring a file that an earlier session uploaded to where ``experiment_file`` says.

    Ray restores its own files only; without this, the next upload would overwrite the old one.
    """
    path = experiment_file(trial, name)
    if path is None or path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    remote = f"{trial.storage.experiment_fs_path}/{name}"
    try:
        with trial.storage.storage_filesystem.open_input_stream(remote) as stream:
            path.write_bytes(stream.read())
    except FileNotFoundError:
        return
