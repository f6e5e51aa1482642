"""run_studies: many repeats of many studies, in processes of this machine."""

from __future__ import annotations

import logging
import multiprocessing
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import optuna

from gap_tune.errors import InvalidValueError, StateError, check_count, check_range
from gap_tune.simulation.answers.hindsight import Hindsight, losses_of, to_the_end
from gap_tune.simulation.answers.methods import STOPPING, Method, grace
from gap_tune.simulation.answers.outcome import Course, Outcome, last_losses
from gap_tune.simulation.answers.paced import Paced
from gap_tune.simulation.answers.setting import MOMENTUM, TEST, Setting
from gap_tune.simulation.answers.stopping import Judged, RunOn
from gap_tune.simulation.answers.studies import Studies
from gap_tune.simulation.cluster import Cluster
from gap_tune.simulation.simulated import Simulated, SimulatedTrial
from gap_tune.simulation.study import simulate
from gap_tune.study.suite.pool import prepare_process
from gap_tune.tune import GapScheduler

# Repeats that a process does before it takes others.
_CHUNK = 8
Told = Callable[[int, int], None]


@dataclass(frozen=True)
class Conditions:
    """What all studies have in common.

    Attributes:
        trials: Trials that a study starts.
        repeats: How often each method runs on each setting.
        cluster: The machines.
        trial_seconds: How long a whole trial takes whose momentum nobody tunes; None leaves it all
            as it was recorded.
        step_cost: How long one takes whose momentum is tuned, in those; 1.1 was measured for
            11.2 M parameters on two cores. Recorded trials have their own.

    Raises:
        InvalidValueError: When a number is out of range.
    """

    trials: int
    repeats: int
    cluster: Cluster
    trial_seconds: float | None = None
    step_cost: float = 1.1

    def __post_init__(self) -> None:
        check_count("trials", self.trials, 2)
        check_count("repeats", self.repeats)
        if self.trial_seconds is not None:
            check_range("trial_seconds", self.trial_seconds, 0, float("inf"), low_open=True)
        check_range("step_cost", self.step_cost, 0, float("inf"), low_open=True)


class _Job(NamedTuple):
    setting: Setting
    method: Method
    repeats: tuple[int, ...]
    conditions: Conditions


class _Done(NamedTuple):
    setting: str
    method: str
    repeats: tuple[int, ...]
    outcomes: list[Outcome]
    judged: list[Judged | None]


def run_studies(
    settings: Sequence[Setting],
    methods: Sequence[Method],
    conditions: Conditions,
    *,
    cpus: int = 1,
    told: Told = lambda done, of: None,
) -> Studies:
    """Run every method on every setting, as often as asked for.

    The same arguments give the same studies, whatever ``cpus`` is.

    Args:
        settings: What to train.
        methods: How to search.
        conditions: What all studies have in common.
        cpus: Processes; with 1 it all happens here.
        told: Told how many studies are done, and of how many.

    Raises:
        InvalidValueError: When there are no settings or methods, or two of one name.
        StateError: When a process was killed, or no run of a setting ends with a finite loss.
    """
    for what, names in (
        ("settings", [each.name for each in settings]),
        ("methods", [each.name for each in methods]),
    ):
        if not names or len(set(names)) < len(names):
            raise InvalidValueError(f"{what} must be some, each once, but got {names}.")
    # As many as all have, so that means over seeds are of the same.
    seeds = min(conditions.repeats, *(len(each.seeds) for each in settings))
    common = [each.of_seeds(seeds) for each in settings]
    with _workers(check_count("cpus", cpus)) as do:
        hindsight = dict(do(_hindsight, common, lambda done: None))
        paced = [_paced(each, conditions) for each in common]
        jobs = list(_jobs(paced, methods, conditions))
        total = len(settings) * len(methods) * conditions.repeats
        so_far = 0

        def tell(done: _Done) -> None:
            nonlocal so_far
            so_far += len(done.repeats)
            told(so_far, total)

        told(0, total)
        ended = do(_run, jobs, tell)
    outcomes: dict[tuple[str, str], list[Any]] = defaultdict(lambda: [None] * conditions.repeats)
    judged: dict[tuple[str, str], list[Any]] = defaultdict(lambda: [None] * conditions.repeats)
    for done in ended:
        for repeat, outcome, each in zip(done.repeats, done.outcomes, done.judged, strict=True):
            outcomes[done.setting, done.method][repeat] = outcome
            judged[done.setting, done.method][repeat] = each
    stops = {method.name for method in methods if method.scheduler in STOPPING}
    return Studies(
        tuple(each.name for each in settings),
        tuple(method.name for method in methods),
        hindsight,
        dict(outcomes),
        {key: found for key, found in judged.items() if key[1] in stops},
        {each.name: each.momenta for each in settings},
        {each.name: each.task.reports for each in settings},
        seeds,
        conditions.trials,
    )


def outcome_of(study: Simulated) -> Outcome:
    """Return what a simulated study's user had."""
    return Outcome.of([_course(study, trial) for trial in study.trials], study.seconds)


def judge(setting: Setting, method: Method, study: Simulated) -> Judged:
    """Train the stopped trials of a study to their ends, and judge its early stopping."""
    courses = [_course(study, trial) for trial in study.trials]
    first = grace(setting.task.reports)
    early = [c.validation[first - 1] if len(c.validation) >= first else np.inf for c in courses]
    validation, test = last_losses(courses)
    kept = Outcome.of(courses, study.seconds).after_trials[-1]
    scheduler = GapScheduler() if method.has_gap else None
    for place, trial in enumerate(study.trials):
        if courses[place].stopped:
            last = to_the_end(setting.task, trial.config, scheduler)[-1]
            ended = losses_of(setting.task, last)
            whole = bool(np.isfinite(ended).all())
            validation[place], test[place] = ended if whole else (np.inf, np.nan)
    stopped = np.array([course.stopped for course in courses])
    known = np.where(np.isfinite(early), early, np.inf)
    return Judged.of(RunOn(known, validation, test, stopped, float(kept)))


def _hindsight(setting: Setting) -> tuple[str, Hindsight]:
    return setting.name, Hindsight.of(setting)


def _run(job: _Job) -> _Done:
    outcomes, judged = [], []
    for repeat in job.repeats:
        study = _simulated(job, repeat)
        outcomes.append(outcome_of(study))
        stops = job.method.scheduler in STOPPING
        judged.append(judge(job.setting, job.method, study) if stops else None)
    return _Done(job.setting.name, job.method.name, job.repeats, outcomes, judged)


def _simulated(job: _Job, repeat: int) -> Simulated:
    plan = job.method.plan(job.setting, repeat, job.conditions.trials)
    cluster = job.conditions.cluster
    return simulate(
        job.setting.task,
        search=plan.search,
        scheduler=plan.scheduler,
        trials=job.conditions.trials,
        cluster=cluster if plan.restart is None else replace(cluster, restart=plan.restart),
        space=plan.space,
        seed=job.setting.random_seed(repeat),
        keep=(job.setting.task.metric, TEST),
    )


def _course(study: Simulated, trial: SimulatedTrial) -> Course:
    metrics = [report.metrics for report in trial.reports]
    judged = np.array([float(each[study.metric]) for each in metrics])
    # What is not finite ends a trial of GapScheduler's; others train on, to no avail.
    failed = trial.status == "ERROR" or not np.isfinite(judged[-1:]).all()
    return Course(
        np.array([report.answered for report in trial.reports]),
        judged,
        np.array([float(m.get(TEST, j)) for m, j in zip(metrics, judged, strict=True)]),
        failed=failed,
        stopped=trial.stopped_early and not failed,
        momentum=float(trial.config.get(MOMENTUM, np.nan)),
    )


def _paced(setting: Setting, conditions: Conditions) -> Setting:
    whole = conditions.trial_seconds
    if whole is None:
        return setting
    return replace(setting, task=Paced(setting.task, whole, conditions.step_cost))


def _jobs(
    settings: Sequence[Setting], methods: Sequence[Method], conditions: Conditions
) -> Iterator[_Job]:
    for start in range(0, conditions.repeats, _CHUNK):
        some = tuple(range(start, min(start + _CHUNK, conditions.repeats)))
        for setting in settings:
            for method in methods:
                yield _Job(setting, method, some, conditions)


@contextmanager
def _workers(cpus: int) -> Iterator[Callable[..., list[Any]]]:
    """Give what applies a function to many arguments, and tells of each that is done."""
    if cpus == 1:
        with _quiet():
            yield lambda do, arguments, tell: [_told(do(each), tell) for each in arguments]
        return
    # Spawned, not forked: torch's threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(cpus, mp_context=context, initializer=_prepare)

    def apply(function: Any, arguments: Any, tell: Any) -> list[Any]:
        futures = [pool.submit(function, each) for each in arguments]
        return [_told(future.result(), tell) for future in as_completed(futures)]

    try:
        yield apply
    except BrokenProcessPool:
        raise StateError(
            "the processes that simulate must live until all is done, but one was killed, perhaps "
            "for want of memory: fewer of them (--cpus) need less."
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _told(done: Any, tell: Callable[[Any], None]) -> Any:
    tell(done)
    return done


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Ray and optuna from telling of every study: there are thousands."""
    logger = logging.getLogger("ray.tune")
    before = logger.level, optuna.logging.get_verbosity()
    logger.setLevel(logging.ERROR)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(before[0])
        optuna.logging.set_verbosity(before[1])


def _prepare() -> None:
    prepare_process()
    logging.getLogger("ray.tune").setLevel(logging.ERROR)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
