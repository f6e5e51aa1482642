"""Study: runs arms with paired seeds in one Ray Tune run."""

from __future__ import annotations

import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import ray
from ray import tune

from gap_tune.errors import InvalidValueError, check_count, check_range
from gap_tune.study.arms import Arm, check_arms, parse_arm
from gap_tune.study.plan import PlannedTrials
from gap_tune.study.records import STUDY_FILE, Records, read_records
from gap_tune.tune import GapScheduler, GapSearch
from gap_tune.workloads import get_workload
from gap_tune.workloads.loop import train

EXPERIMENT = "experiment"


@dataclass(frozen=True)
class Resources:
    """What a study may use.

    Attributes:
        cpus: CPU cores for all trials together.
        cpus_per_trial: Cores of one trial.
    """

    cpus: int = field(default_factory=lambda: os.cpu_count() or 1)
    cpus_per_trial: int = 1

    def __post_init__(self) -> None:
        check_count("cpus", self.cpus)
        check_count("cpus_per_trial", self.cpus_per_trial)
        if self.cpus_per_trial > self.cpus:
            raise InvalidValueError(
                f"cpus must be at least cpus_per_trial, but got {self.cpus} and "
                f"{self.cpus_per_trial}: no trial could ever start."
            )


class Study:
    """Compares arms on a workload: same data, learning rate, epochs and seeds for every arm.

    All arms run in one Ray Tune run; only the trials of arms that ask for it are tuned.

    Args:
        workload: Name of the workload (``gap-tune workloads``).
        arms: Methods to compare, as names ("gap", "fixed:0.9") or ``Arm``.
        seeds: Number of paired seeds: seed i is the same weights and data order in every arm.
        metric: Reported metric to compare by.
        mode: "min" or "max".
        epochs: Epochs per trial; None takes the workload's default.
        lr: Learning rate, meant for momentum 0.9; None takes the workload's default.
        reports_per_epoch: How often a trial reports, and so may change momentum, per epoch.
        resources: CPU cores; default all.
        storage: Folder for the experiment and all results; created when absent.

    Raises:
        InvalidValueError: When an argument is unknown, out of range, or storage is not writable.
    """

    def __init__(
        self,
        workload: str,
        arms: Sequence[Arm | str],
        *,
        seeds: int = 3,
        metric: str = "validation_loss",
        mode: str = "min",
        epochs: int | None = None,
        lr: float | None = None,
        reports_per_epoch: int = 4,
        resources: Resources | None = None,
        storage: Path | str,
    ) -> None:
        task = get_workload(workload)
        self.arms = check_arms(
            tuple(arm if isinstance(arm, Arm) else parse_arm(arm) for arm in arms)
        )
        self.seeds = check_count("seeds", seeds)
        if mode not in ("min", "max"):
            raise InvalidValueError(f"mode must be 'min' or 'max', but got {mode!r}.")
        if metric != "train_loss" and not metric.startswith("validation_"):
            raise InvalidValueError(
                "metric must be one that every report holds, 'train_loss' or 'validation_...', "
                f"but got {metric!r}."
            )
        self.metric, self.mode = metric, mode
        self.settings = {
            "workload": workload,
            "lr": check_range("lr", task.lr if lr is None else lr, 0, float("inf"), low_open=True),
            "weight_decay": task.weight_decay,
            "batch_size": task.batch_size,
            "epochs": check_count("epochs", task.epochs if epochs is None else epochs),
            "reports_per_epoch": check_count("reports_per_epoch", reports_per_epoch),
        }
        self.resources = resources or Resources()
        self.storage = Path(storage).expanduser().resolve()

    @property
    def folder(self) -> Path:
        """Ray Tune's experiment folder."""
        return self.storage / EXPERIMENT

    def run(self, callbacks: Sequence[tune.Callback] = ()) -> Records:
        """Run all trials and return their records.

        Raises:
            InvalidValueError: When the storage folder cannot be written or holds a study already.
        """
        _check_writable(self.storage)
        if self.folder.exists():
            raise InvalidValueError(
                f"storage must not hold a study yet, but {self.folder} exists: choose another "
                "folder, or continue that one with Study.restore."
            )
        self.folder.mkdir(parents=True)
        _write_json(self.folder / STUDY_FILE, self.describe())
        _start_ray(self.resources.cpus)
        tuner = tune.Tuner(
            self._trainable(),
            param_space=dict(self.settings),
            tune_config=tune.TuneConfig(
                metric=self.metric,
                mode=self.mode,
                num_samples=len(self.arms) * self.seeds,
                search_alg=GapSearch(PlannedTrials(self._plan())),
                scheduler=GapScheduler(),
                reuse_actors=True,
                trial_name_creator=_trial_name,
                trial_dirname_creator=_trial_name,
            ),
            run_config=tune.RunConfig(
                name=EXPERIMENT,
                storage_path=str(self.storage),
                callbacks=list(callbacks),
                failure_config=tune.FailureConfig(max_failures=2),
                checkpoint_config=tune.CheckpointConfig(num_to_keep=1),
                verbose=0,
            ),
        )
        tuner.fit()
        return self.records()

    @classmethod
    def restore(cls, storage: Path | str) -> Study:
        """Return the study whose driver was killed; ``resume`` continues it.

        Raises:
            StateError: When the folder holds no study.
        """
        storage = Path(storage)
        study = read_records(storage / EXPERIMENT).study
        settings = study["settings"]
        return cls(
            settings["workload"],
            study["arms"],
            seeds=study["seeds"],
            metric=study["metric"],
            mode=study["mode"],
            epochs=settings["epochs"],
            lr=settings["lr"],
            reports_per_epoch=settings["reports_per_epoch"],
            resources=Resources(**study["resources"]),
            storage=storage,
        )

    def resume(self) -> Records:
        """Continue a study whose driver was killed: trials go on from their checkpoints.

        A driver that was killed in its first seconds, before Ray Tune had saved trials and
        searcher both, leaves nothing to continue; then the study starts over.
        """
        # Ray saves the searcher after the trials. Restored without it, a study would start every
        # planned trial a second time, and without its settings.
        saved = any(self.folder.glob("search_gen_state-*.json"))
        if not saved or not tune.Tuner.can_restore(str(self.folder)):
            # Aside, not away: whatever it holds, nobody but the user may delete it.
            self.folder.rename(self.storage / f"{EXPERIMENT}-not-saved-{time.time_ns()}")
            return self.run()
        _start_ray(self.resources.cpus)
        tune.Tuner.restore(
            str(self.folder),
            self._trainable(),
            resume_unfinished=True,
            restart_errored=False,
        ).fit()
        return self.records()

    def records(self) -> Records:
        """Return what the trials reported so far."""
        return read_records(self.folder)

    def _trainable(self) -> Any:
        return tune.with_resources(train, {"cpu": self.resources.cpus_per_trial})

    def _plan(self) -> list[dict[str, Any]]:
        """Return one configuration per trial, seed by seed, so that pairs run close in time."""
        return [
            {**arm.configuration(), "seed": seed} for seed in range(self.seeds) for arm in self.arms
        ]

    def describe(self) -> dict[str, Any]:
        """Return how the study is made, as ``study.json`` records it."""
        packages = ("gap-tune", "ray", "torch", "numpy", "optuna")
        return {
            "arms": [arm.name for arm in self.arms],
            "seeds": self.seeds,
            "metric": self.metric,
            "mode": self.mode,
            "settings": self.settings,
            "resources": asdict(self.resources),
            "command": " ".join(["gap-tune", *sys.argv[1:]]),
            "versions": {"python": platform.python_version()}
            | {name: version(name) for name in packages},
        }


def _trial_name(trial: tune.experiment.Trial) -> str:
    """Name a trial and its folder after arm and seed, which stay apart on every file system."""
    arm = trial.config["arm"].replace(":", "-")
    return f"{arm}_seed{trial.config['seed']}_{trial.trial_id}"


def _start_ray(cpus: int) -> None:
    # Tune's newer output prints a banner even at verbose=0; the caller shows its own progress.
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    if ray.is_initialized():
        return
    if os.environ.get("RAY_ADDRESS"):
        ray.init(log_to_driver=False, logging_level="error")
    else:
        # "local": without it Ray may join a cluster that happens to run on this machine.
        ray.init(address="local", num_cpus=cpus, log_to_driver=False, logging_level="error")


def _check_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InvalidValueError(
            f"storage must be a folder that can be written, but got {folder}: {error.strerror}."
        ) from None


def _write_json(path: Path, data: dict[str, Any]) -> None:
    path.write_text(json.dumps(data, indent=2) + "\n")
