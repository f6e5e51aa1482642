"""Study: runs arms with paired seeds and reads what they reported."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ray import tune

from gap_tune.errors import InvalidValueError, UnsupportedError, check_count
from gap_tune.files import write_text
from gap_tune.formatting import without_secrets
from gap_tune.records.records import DEFAULT_MARGIN, Records
from gap_tune.records.studies import EXPERIMENT, RUNS, STUDY_FILE, no_study, read_records
from gap_tune.study.arms import Arm, check_arms
from gap_tune.study.budget import ArmBudget
from gap_tune.study.compared import Compared
from gap_tune.study.conditions import check_margin, make_conditions
from gap_tune.study.describe import arguments_of, describe, differences
from gap_tune.study.grammar import parse_arm
from gap_tune.study.own.conditions import make_function_conditions
from gap_tune.study.own.function import TuneFunction
from gap_tune.study.planning import Plan, PlannedSearch
from gap_tune.study.remote_store import open_store
from gap_tune.study.resources import Resources
from gap_tune.study.runs import RayRun, file_name
from gap_tune.study.store import Store
from gap_tune.training.loop import train
from gap_tune.tune.monitoring.histogram import MomentumHistogram
from gap_tune.tune.monitoring.metrics import RayMetrics


class Study:
    """Compares arms on a workload, or on a Tune function of your own, with paired seeds.

    On a workload every arm has the same data, epochs, seeds and recipe. On a function, which calls
    ``gap_tune.attach`` and reports with the trial that it returns, every arm has the same
    configuration on a seed: drawn from ``param_space`` by that seed, with ``config["seed"]`` for
    the function to use, ``config["momentum"]`` and the arm's name. Where the budget pays more
    trials, each arm searches ``param_space``, beginning there. Arms that need something of the
    training loop, such as optimizers of their own, are for workloads alone.

    Arms of planned trials share one Ray Tune run, in which only the trials of arms that ask for it
    are tuned. Every arm that searches has a run of its own for each seed. A trial, or a whole run,
    that fails shows in the records; the others go on.

    Args:
        workload: Name of the workload (``gap-tune workloads``); or with ``param_space`` the Tune
            function, itself or by name: "my_module:train", which all machines must be able to
            import, or "folder/script.py:train", which is sent to them. A function without such a
            name, as in a notebook, runs as well, but to restore its study it has to be passed to
            ``restore``.
        arms: Methods to compare, as names (``parse_arm``) or ``Arm``.
        param_space: What Ray Tune calls so, of a function: domains, and constants that JSON can
            hold. None where there is nothing but seeds.
        momentum: Key of the momentum in the function's configuration; a path where it is nested.
        reports: How many reports a full trial of the function makes, which arms that end trials
            early have to know: "asha" ends all others after so many at the latest.
        workload_options: Keyword arguments of the workload's constructor.
        family: Optimizer family of the study, "sgd" or "adamw"; None takes the workload's.
        seeds: Number of paired seeds: seed i is the same weights and data order in every arm.
        metric: Reported metric to compare by, and to choose trials by where an arm has several;
            None is "validation_loss" of workloads. Functions have no default.
        mode: "min" or "max".
        epochs: Epochs per trial; None takes the workload's default.
        lr: Learning rate, meant for momentum 0.9; None takes the recipe of workload and family.
            Arms of another family have that family's recipe, times the same factor.
        lr_range: Where searches look for that learning rate; None from a tenth of ``lr`` to three
            times it.
        lrs: At how many learning rates to train every arm that searches none, equally spaced in
            their logarithm over ``lr_range``; None, or 1, at that of the recipe alone.
        budget: What an arm may spend per seed, as of ``ArmBudget``: "own", "trials:8", "steps:4000"
            or "steps:4x".
        reports_per_epoch: How often a trial reports, and so may change momentum, per epoch; None
            is 4.
        margin: By which the verdict lets GAP differ from the best fixed arm and still be as good,
            as a share of the metric: 0.03 is 3 %. To be stated before the results are seen.
        resources: CPU cores and GPUs; default all cores and no GPU.
        storage: Folder for the experiment and all results, created when absent, or a URI of
            ``pyarrow.fs`` such as ``s3://bucket/folder``.

    Attributes:
        store: The storage, and the local copy of what can be read of one elsewhere.
        plan: The searches that it is made of, and how many trials each has.

    Raises:
        InvalidValueError: When an argument is unknown, out of range, or storage is not writable.
        UnsupportedError: When the arm "pbt", or another whose trials exchange checkpoints, is asked
            for with several GPUs per trial; or when a function cannot be imported, is a class, or
            is asked for with an arm that needs something of the training loop.
    """

    def __init__(
        self,
        workload: str | TuneFunction,
        arms: Sequence[Arm | str],
        *,
        param_space: Mapping[str, Any] | None = None,
        momentum: str = "momentum",
        reports: int | None = None,
        workload_options: Mapping[str, Any] | None = None,
        family: str | None = None,
        seeds: int = 3,
        metric: str | None = None,
        mode: str = "min",
        epochs: int | None = None,
        lr: float | None = None,
        lr_range: Sequence[float] | None = None,
        lrs: int | None = None,
        budget: ArmBudget | str = "own",
        reports_per_epoch: int | None = None,
        margin: float = DEFAULT_MARGIN,
        resources: Resources | None = None,
        storage: Path | str | Store,
    ) -> None:
        self.arms = check_arms(
            tuple(arm if isinstance(arm, Arm) else parse_arm(arm) for arm in arms)
        )
        self.budget = budget if isinstance(budget, ArmBudget) else ArmBudget.parse(budget)
        of_workloads: dict[str, Any] = {
            "workload_options": workload_options,
            "family": family,
            "epochs": epochs,
            "lr": lr,
            "lr_range": lr_range,
            "lrs": lrs,
            "reports_per_epoch": reports_per_epoch,
        }
        self.conditions: Compared
        if param_space is None and isinstance(workload, str):
            if reports is not None:
                raise InvalidValueError(
                    "reports must come with a function of one's own and its param_space, "
                    f"but got {reports!r} for {workload}."
                )
            self.conditions = make_conditions(
                workload,
                self.arms,
                metric="validation_loss" if metric is None else metric,
                mode=mode,
                **of_workloads,
            )
        else:
            self.conditions = make_function_conditions(
                *(workload, param_space or {}, self.arms, self.budget),
                metric=metric,
                mode=mode,
                momentum=momentum,
                reports=reports,
                **of_workloads,
            )
        self.seeds = check_count("seeds", seeds)
        self.margin = check_margin(margin)
        self.plan = Plan(self.conditions, self.arms, self.seeds, self.budget)
        self.resources = resources or Resources()
        self.store = storage if isinstance(storage, Store) else open_store(storage)
        if self.resources.ranks > 1:
            self._check_ranks()
        if self.conditions.lrs > 1 and not self.plan.swept_lrs():
            raise InvalidValueError(
                "lrs must come with an arm that does not search learning rates itself, "
                f"but got {[arm.name for arm in self.arms]}."
            )
        # What a budget of steps pays cannot be told without the data.
        if not self.budget.limits_steps:
            self.plan.check_trials()

    def _check_ranks(self) -> None:
        if self.conditions.function is not train:
            raise UnsupportedError(
                "a function of one's own must have one GPU at most, as a process has in Ray Tune, "
                f"but got gpus_per_trial={self.resources.ranks}: have it start a TorchTrainer."
            )
        for arm in self.arms:
            if arm.search is not None and arm.search.exchanges_checkpoints:
                raise UnsupportedError(
                    f"the arm {arm.name} must have trials of one GPU at most, whose checkpoints "
                    f"Ray Tune can exchange, but got {self.resources.ranks}."
                )

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
        """What the study's trials are trained with: learning rate or space included."""
        return self.conditions.described()

    def trials_per_seed(self, arm: Arm) -> int | None:
        """Return how many trials an arm starts per seed; see ``Plan.trials_per_seed``."""
        return self.plan.trials_per_seed(arm)

    def total_trials(self) -> int | None:
        """Return how many trials the study starts; None where that depends on their course."""
        return self.plan.total_trials()

    def runs(self) -> list[RayRun]:
        """Return the Ray Tune runs: the shared one, if any arm shares it, then seed by seed.

        Raises:
            InvalidValueError: When the budget is less than an arm can do with.
        """
        self.plan.check_trials()
        return [self._run_of(search) for search in self.plan.searches()]

    def _run_of(self, search: PlannedSearch) -> RayRun:
        folder = self.folder
        if search.arm is not None:
            folder = self.storage / RUNS / f"{file_name(search.arm)}_seed{search.seed}"
        metric, mode = self.conditions.metric, self.conditions.mode
        function = self.conditions.function
        return RayRun(folder, search, metric, mode, self.resources, self.store, function)

    def run(self, callbacks: Sequence[tune.Callback] = ()) -> Records:
        """Run all trials and return their records.

        Raises:
            InvalidValueError: When the storage folder cannot be written or holds a study already,
                a budget pays no trial, or a GPU is asked for where none is.
        """
        self.store.check_writable()
        self.store.pull(self.folder)
        if self.folder.exists() and not self._never_began():
            raise InvalidValueError(
                f"storage must not hold a study yet, but {self.store.shown(self.folder)} exists: "
                "choose another folder, or continue that one with Study.restore."
            )
        description = self.describe()
        self._start_ray()
        self.folder.mkdir(parents=True, exist_ok=True)
        write_text(self.folder / STUDY_FILE, json.dumps(description, indent=2) + "\n")
        self.store.push(self.folder / STUDY_FILE)
        return self._go(callbacks)

    def _never_began(self) -> bool:
        """Tell whether a kill left nothing of a study but drafts of its description."""
        names = [path.name for path in self.folder.iterdir()]
        return bool(names) and all(name.startswith(f".{STUDY_FILE}.") for name in names)

    @classmethod
    def restore(cls, storage: Path | str, function: TuneFunction | None = None) -> Study:
        """Return the study whose driver was killed; ``resume`` continues it.

        Args:
            storage: As of the study.
            function: The Tune function of a study of one's own; default the one that the study was
                made with, where that can be imported by its name.

        Raises:
            StateError: When the folder holds no study, or one of a function without a name.
            UnsupportedError: When its function cannot be imported.
        """
        store = open_store(storage)
        store.pull()
        if not (store.folder / EXPERIMENT / STUDY_FILE).exists():
            raise no_study(without_secrets(str(storage)).partition("?")[0], store.folder)
        with store.named_in_errors():
            study = read_records(store.folder / EXPERIMENT).study
            return cls(**arguments_of(study, store.folder, function), storage=store)

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
        self.resources.start_ray(f"{self.conditions.name}: {arms}")

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
