"""Study: runs arms with paired seeds and reads what they reported."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from ray import tune

from gap_tune.errors import InvalidValueError, UnsupportedError, check_count
from gap_tune.records.records import Records
from gap_tune.records.studies import EXPERIMENT, RUNS, STUDY_FILE, read_records
from gap_tune.study.arms import ASHA, GRID, MEDIAN, PBT, Arm, check_arms, parse_arm
from gap_tune.study.budget import Budget
from gap_tune.study.conditions import make_conditions
from gap_tune.study.describe import arguments_of, describe, differences
from gap_tune.study.remote_store import open_store
from gap_tune.study.resources import Resources
from gap_tune.study.runs import Run, file_name
from gap_tune.study.searches import planned, searched
from gap_tune.study.store import Store
from gap_tune.tune.monitoring.histogram import MomentumHistogram
from gap_tune.tune.monitoring.metrics import RayMetrics


class Study:
    """Compares arms on a workload: same data, epochs, seeds and recipe for every arm.

    Arms of planned trials share one Ray Tune run, in which only the trials of arms that ask for it
    are tuned. Every arm that searches has a run of its own for each seed. A trial, or a whole run,
    that fails shows in the records; the others go on.

    Args:
        workload: Name of the workload (``gap-tune workloads``).
        arms: Methods to compare, as names (``parse_arm``) or ``Arm``.
        workload_options: Keyword arguments of the workload's constructor.
        family: Optimizer family of the study, "sgd" or "adamw"; None takes the workload's.
        seeds: Number of paired seeds: seed i is the same weights and data order in every arm.
        metric: Reported metric to compare by, and to choose trials by where an arm has several.
        mode: "min" or "max".
        epochs: Epochs per trial; None takes the workload's default.
        lr: Learning rate, meant for momentum 0.9; None takes the recipe of workload and family.
            Arms of another family have that family's recipe, times the same factor.
        lr_range: Where searches look for that learning rate; None from a tenth of ``lr`` to three
            times it.
        budget: What an arm may spend per seed, as of ``Budget``: "own", "trials:8", "steps:4000"
            or "steps:4x".
        reports_per_epoch: How often a trial reports, and so may change momentum, per epoch.
        resources: CPU cores and GPUs; default all cores and no GPU.
        storage: Folder for the experiment and all results, created when absent, or a URI of
            ``pyarrow.fs`` such as ``s3://bucket/folder``.

    Attributes:
        store: The storage, and the local copy of what can be read of one elsewhere.

    Raises:
        InvalidValueError: When an argument is unknown, out of range, or storage is not writable.
        UnsupportedError: When the arm "pbt" is asked for with several GPUs per trial.
    """

    def __init__(
        self,
        workload: str,
        arms: Sequence[Arm | str],
        *,
        workload_options: Mapping[str, Any] | None = None,
        family: str | None = None,
        seeds: int = 3,
        metric: str = "validation_loss",
        mode: str = "min",
        epochs: int | None = None,
        lr: float | None = None,
        lr_range: Sequence[float] | None = None,
        budget: Budget | str = "own",
        reports_per_epoch: int = 4,
        resources: Resources | None = None,
        storage: Path | str | Store,
    ) -> None:
        self.arms = check_arms(
            tuple(arm if isinstance(arm, Arm) else parse_arm(arm) for arm in arms)
        )
        self.conditions = make_conditions(
            workload,
            self.arms,
            workload_options=workload_options,
            family=family,
            metric=metric,
            mode=mode,
            epochs=epochs,
            lr=lr,
            lr_range=lr_range,
            reports_per_epoch=reports_per_epoch,
        )
        self.seeds = check_count("seeds", seeds)
        self.budget = budget if isinstance(budget, Budget) else Budget.parse(budget)
        self.resources = resources or Resources()
        self.store = storage if isinstance(storage, Store) else open_store(storage)
        if self.resources.ranks > 1 and any(arm.search == PBT for arm in self.arms):
            raise UnsupportedError(
                "the arm pbt must have trials of one GPU at most, whose checkpoints Ray Tune can "
                f"exchange, but got {self.resources.ranks}."
            )
        if not self.budget.limits_steps:
            self._check_populations()

    @property
    def storage(self) -> Path:
        """The folder of all results, or the local copy of them."""
        return self.store.folder

    @property
    def folder(self) -> Path:
        """The experiment folder of the run that arms share, which also describes the study."""
        return self.storage / EXPERIMENT

    @property
    def settings(self) -> dict[str, Any]:
        """What the study's trials are trained with, the learning rate included."""
        base = self.conditions.recipe_of(Arm("base"))
        return {**self.conditions.settings, **base, "lr_range": list(self.conditions.lr_range)}

    @cached_property
    def _full_trials(self) -> float | None:
        """What a budget of steps pays per seed; loads the data to know."""
        if not self.budget.limits_steps:
            return None
        known = self.budget.kind == "full"
        return self.budget.full_trials(1 if known else self.conditions.steps_of_a_trial())

    def trials_per_seed(self, arm: Arm) -> int | None:
        """Return how many trials an arm starts per seed; None where that depends on their course.

        Raises:
            InvalidValueError: When the budget is less than a full trial.
        """
        if self._full_trials is not None:
            ends_early = arm.search in (ASHA, MEDIAN)
            return None if ends_early else int(self._full_trials + 1e-9)
        return self.budget.amount if self.budget.kind == "trials" else arm.trials

    def shares(self, arm: Arm) -> bool:
        """Whether the arm's trials are planned ones of the shared run."""
        if arm.search == GRID:
            return self.budget.kind == "own"
        return arm.search is None and self.trials_per_seed(arm) == 1

    def _check_populations(self) -> None:
        for arm in self.arms:
            if arm.search == PBT:
                check_count(f"trials of the arm {arm.name}", self.trials_per_seed(arm) or 0, 2)

    def runs(self) -> list[Run]:
        """Return the Ray Tune runs: the shared one, if any arm shares it, then seed by seed.

        Raises:
            InvalidValueError: When the budget is less than an arm can do with.
        """
        self._check_populations()
        of_study = {
            "metric": self.conditions.metric,
            "mode": self.conditions.mode,
            "resources": self.resources,
            "store": self.store,
        }
        shared = tuple(arm for arm in self.arms if self.shares(arm))
        plan = partial(planned, self.conditions, shared, self.seeds)
        runs = [Run(self.folder, plan, **of_study)] if shared else []  # type: ignore[arg-type]
        for seed in range(self.seeds):
            for arm in (arm for arm in self.arms if arm not in shared):
                search = partial(
                    searched,
                    self.conditions,
                    arm,
                    seed,
                    trials=self.trials_per_seed(arm) or 0,
                    full_trials=self._full_trials if arm.search in (ASHA, MEDIAN) else None,
                )
                folder = self.storage / RUNS / f"{file_name(arm.name)}_seed{seed}"
                runs.append(Run(folder, search, **of_study, arm=arm.name, seed=seed))  # type: ignore[arg-type]
        return runs

    def total_trials(self) -> int | None:
        """Return how many trials the study starts; None where that depends on their course."""
        each = [self.trials_per_seed(arm) for arm in self.arms]
        return None if None in each else sum(n or 0 for n in each) * self.seeds

    def run(self, callbacks: Sequence[tune.Callback] = ()) -> Records:
        """Run all trials and return their records.

        Raises:
            InvalidValueError: When the storage folder cannot be written or holds a study already,
                a budget pays no trial, or a GPU is asked for where none is.
        """
        self.store.check_writable()
        self.store.pull(self.folder)
        if self.folder.exists():
            raise InvalidValueError(
                f"storage must not hold a study yet, but {self.store.shown(self.folder)} exists: "
                "choose another folder, or continue that one with Study.restore."
            )
        description = self.describe()
        self._start_ray()
        self.folder.mkdir(parents=True)
        (self.folder / STUDY_FILE).write_text(json.dumps(description, indent=2) + "\n")
        self.store.push(self.folder / STUDY_FILE)
        return self._go(callbacks)

    @classmethod
    def restore(cls, storage: Path | str) -> Study:
        """Return the study whose driver was killed; ``resume`` continues it.

        Raises:
            StateError: When the folder holds no study.
        """
        store = open_store(storage)
        store.pull()
        with store.named_in_errors():
            study = read_records(store.folder / EXPERIMENT).study
            return cls(**arguments_of(study, store.folder), storage=store)

    def exists(self) -> bool:
        """Tell whether the storage holds a study already, which ``restore`` would return."""
        self.store.pull(self.folder)
        return (self.folder / STUDY_FILE).exists()

    def resume(self, callbacks: Sequence[tune.Callback] = ()) -> Records:
        """Continue a study whose driver was killed.

        Runs that had ended stay as they are, the interrupted one goes on from its trials'
        checkpoints, the others start. A run that was killed in its first seconds, before Ray Tune
        had saved trials and searcher both, starts over.

        Args:
            callbacks: For the runs that had not started; the interrupted one has its own.

        Raises:
            InvalidValueError: When a GPU is asked for where none is.
        """
        self._start_ray()
        return self._go(callbacks)

    def records(self) -> Records:
        """Return what the trials reported so far."""
        self.store.pull()
        return read_records(self.folder)

    def differs_from(self, other: Study) -> list[str]:
        """Return in what another study is made otherwise: names of study.json.

        Resources do not count: a study may be continued with more or fewer.
        """
        return differences(self.describe(), other.describe())

    def _start_ray(self) -> None:
        arms = ", ".join(arm.name for arm in self.arms)
        self.resources.start_ray(f"{self.conditions.settings['workload']}: {arms}")

    def _go(self, callbacks: Sequence[tune.Callback]) -> Records:
        # One for all runs: arms that search are compared with the fixed ones too.
        exported = RayMetrics(self.conditions.metric, self.conditions.mode, study=self.store.name)
        for run in self.runs():
            if not run.go([*callbacks, exported, MomentumHistogram()]):
                break
        return self.records()

    def describe(self) -> dict[str, Any]:
        """Return how the study is made, as ``study.json`` records it."""
        return describe(self)
