"""Method: who searches, who stops trials, and who has momentum, of a simulated study."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import optuna
import torch
from ray.tune.schedulers import (
    ASHAScheduler,
    MedianStoppingRule,
    PopulationBasedTraining,
    TrialScheduler,
)
from ray.tune.search.optuna import OptunaSearch

from gap_tune.errors import InvalidValueError, UnsupportedError, check_range, did_you_mean
from gap_tune.report.search_curve import SWEEP
from gap_tune.simulation.answers.setting import LR, MOMENTUM, SEED, Setting
from gap_tune.simulation.cluster import Restart
from gap_tune.study.methods.plan import PlannedTrials
from gap_tune.study.methods.sampling import REDUCTION
from gap_tune.tune import GapScheduler, GapSearch
from gap_tune.tune.spelling import GAP_NAME, fixed_name, fixed_parts

RANDOM, TPE, GRID = "random", "tpe", "grid"
FIFO, ASHA, MEDIAN, PBT = "fifo", "asha", "median", "pbt"
SEARCHERS = (RANDOM, TPE, GRID)
SCHEDULERS = (FIFO, ASHA, MEDIAN, PBT)
# What stops trials early.
STOPPING = (ASHA, MEDIAN)
# What most who search only the learning rate leave momentum at.
CUSTOMARY = fixed_name(0.9)
MOMENTA = (GAP_NAME, SWEEP, CUSTOMARY)
_JOINED = "+"
_CLOCK = "training_iteration"
# As in real studies: exploits of population based training, and trials that TPE takes at random.
_GENERATIONS = 5
_MOST_RANDOM = 10
_OPTIMIZERS: dict[str, type] = {"sgd": torch.optim.SGD, "adamw": torch.optim.AdamW}


@dataclass(frozen=True)
class Plan:
    """What a study needs to run: Ray Tune's own objects, made anew for every study.

    Attributes:
        space: Ray Tune's ``param_space``.
        search: Suggests configurations; None leaves it to Ray, which draws them at random.
        scheduler: Stops, or changes, running trials; None for first in, first out.
        restart: The checkpoints that its trials keep, where the scheduler needs them; else None.
    """

    space: dict[str, Any]
    search: Any
    scheduler: TrialScheduler | None
    restart: Restart | None = None


@dataclass(frozen=True)
class Method:
    """A searcher with a scheduler, with GAP or without.

    Attributes:
        momentum: "gap": ``GapSearch`` supplies momentum and ``GapScheduler`` changes it; "sweep":
            it is searched, one of the setting's; "fixed:0.9" and the like: it is left there.
        searcher: "random"; "tpe", Optuna's; or "grid": learning rates, crossed with the momenta of
            a sweep, in an order drawn at random.
        scheduler: "fifo", which stops nothing, "asha", "median" or "pbt".

    Raises:
        InvalidValueError: When a part is unknown.
        UnsupportedError: When they do not go together.

    >>> Method("gap", "tpe", "asha").name
    'gap+tpe+asha'
    >>> Method("gap", "random", "pbt")
    Traceback (most recent call last):
    ...
    gap_tune.errors.UnsupportedError: 'gap+random+pbt' must do without pbt: PBT refuses every \
searcher, GapSearch too, and has momentum itself.
    """

    momentum: str
    searcher: str
    scheduler: str

    def __post_init__(self) -> None:
        _check("searcher", self.searcher, SEARCHERS)
        _check("scheduler", self.scheduler, SCHEDULERS)
        if self.momentum not in (GAP_NAME, SWEEP) and self.fixed is None:
            raise InvalidValueError(
                f"momentum of a method must be 'gap', 'sweep' or 'fixed:<momentum>', but got "
                f"{self.momentum!r}.{did_you_mean(self.momentum, MOMENTA)}"
            )
        why = self._impossible()
        if why:
            raise UnsupportedError(f"{self.name!r} must do without pbt: {why}.")

    @classmethod
    def parse(cls, name: str) -> Method:
        """Return the method of a name.

        Raises:
            InvalidValueError: When it is none.
            UnsupportedError: When its parts do not go together.

        >>> Method.parse("sweep+random").scheduler
        'fifo'
        """
        parts = [part.strip() for part in name.split(_JOINED)]
        if len(parts) == 2:
            parts.append(FIFO)
        if len(parts) != 3:
            raise InvalidValueError(
                "a method must be '<momentum>+<searcher>+<scheduler>', such as 'gap+tpe+asha', "
                f"but got {name!r}."
            )
        return cls(*parts)

    @property
    def name(self) -> str:
        """What tables call it."""
        return _JOINED.join((self.momentum, self.searcher, self.scheduler))

    @property
    def pair(self) -> tuple[str, str]:
        """Searcher and scheduler: what methods share that differ in momentum alone."""
        return self.searcher, self.scheduler

    @property
    def has_gap(self) -> bool:
        """Whether momentum is tuned while trials run."""
        return self.momentum == GAP_NAME

    @property
    def fixed(self) -> float | None:
        """The momentum that all trials have; None where they have none in common."""
        parts = fixed_parts(self.momentum)
        try:
            value = float(parts[0]) if len(parts) == 1 else math.nan
        except ValueError:
            return None
        if math.isnan(value):
            return None
        return check_range("momentum of a method", value, 0, 1, high_open=True)

    def _impossible(self) -> str:
        """Return why searcher, scheduler and momentum do not go together; empty where they do."""
        if self.scheduler != PBT:
            return ""
        if self.has_gap:
            return "PBT refuses every searcher, GapSearch too, and has momentum itself"
        if self.searcher != RANDOM:
            return (
                f"PBT refuses every searcher and draws its population itself, so not by "
                f"{self.searcher}"
            )
        return ""

    def plan(self, setting: Setting, repeat: int, trials: int) -> Plan:
        """Return what a study needs.

        Args:
            setting: What it trains, and the space.
            repeat: Which repeat of the study: it seeds the searcher, and says which of the
                setting's seeds its trials have.
            trials: How many trials it starts.
        """
        space = dict(setting.space(repeat, momentum=self.momentum == SWEEP))
        if self.fixed is not None:
            space[MOMENTUM] = self.fixed
        if self.scheduler == PBT:
            return _population(setting, space, self.fixed is None)
        search = self._search(setting, space, repeat, trials)
        scheduler = _stopping(self.scheduler, setting.task.reports)
        if not self.has_gap:
            return Plan(space, search, scheduler)
        # As GapSearch is used with each family: coupled learning rates where momentum sums.
        gap = GapSearch(
            search,
            optimizer=_OPTIMIZERS[setting.family],
            momentum=MOMENTUM,
            lr=LR if setting.family == "sgd" else None,
        )
        return Plan(space, gap, GapScheduler(scheduler))

    def _search(self, setting: Setting, space: dict[str, Any], repeat: int, trials: int) -> Any:
        if self.searcher == GRID:
            momenta = setting.momenta if self.momentum == SWEEP else ()
            found = _grid(setting, momenta, trials)
            random.Random(setting.random_seed(repeat)).shuffle(found)
            rest = {name: space[name] for name in (SEED, MOMENTUM) if name in space}
            return PlannedTrials([{**rest, **each} for each in found[:trials]])
        seed = setting.random_seed(repeat)
        if self.searcher == TPE:
            at_random = min(_MOST_RANDOM, max(1, trials // 2))
            sampler: Any = optuna.samplers.TPESampler(seed=seed, n_startup_trials=at_random)
        else:
            sampler = optuna.samplers.RandomSampler(seed=seed)
        return OptunaSearch(sampler=sampler)


def all_methods(
    momenta: Sequence[str] = MOMENTA,
    searchers: Sequence[str] = SEARCHERS,
    schedulers: Sequence[str] = SCHEDULERS,
) -> list[Method]:
    """Return every method that can be, pairs of searcher and scheduler one after another.

    >>> [method.name for method in all_methods(["gap", "sweep"], ["random"], ["fifo", "pbt"])]
    ['gap+random+fifo', 'sweep+random+fifo', 'sweep+random+pbt']
    """
    found = []
    for searcher, scheduler, momentum in product(searchers, schedulers, momenta):
        try:
            found.append(Method(momentum, searcher, scheduler))
        except UnsupportedError:
            continue
    return found


def _check(what: str, name: str, known: Sequence[str]) -> None:
    if name not in known:
        raise InvalidValueError(
            f"{what} of a method must be one of {list(known)}, but got {name!r}."
            f"{did_you_mean(name, known)}"
        )


def _grid(setting: Setting, momenta: Sequence[float], trials: int) -> list[dict[str, Any]]:
    """Return a grid of so many trials at least: learning rates, crossed with momenta if any."""
    rates = setting.grid(math.ceil(trials / max(len(momenta), 1)))
    if not momenta:
        return [{LR: rate} for rate in rates]
    return [{LR: rate, MOMENTUM: momentum} for rate in rates for momentum in momenta]


def grace(reports: int) -> int:
    """Return after how many reports a trial may be stopped: a ninth of them, at least one."""
    return max(reports // REDUCTION**2, 1)


def _stopping(name: str, reports: int) -> TrialScheduler | None:
    first = grace(reports)
    if name == ASHA:
        return ASHAScheduler(
            time_attr=_CLOCK, max_t=reports, grace_period=first, reduction_factor=REDUCTION
        )
    if name == MEDIAN:
        # Too few to compare with, it would pause trials so that others catch up.
        return MedianStoppingRule(time_attr=_CLOCK, grace_period=first, min_time_slice=math.inf)
    return None


def _population(setting: Setting, space: dict[str, Any], momentum: bool) -> Plan:
    """Return population based training in five generations, of momentum as well or not."""
    interval = max(setting.task.reports // _GENERATIONS, 1)
    low, high = setting.lrs

    def within(config: dict[str, Any]) -> dict[str, Any]:
        config[LR] = min(max(config[LR], low), high)
        return config

    # Of values in a list it goes on to a neighbour; what tune.choice draws from it would multiply.
    momenta = {MOMENTUM: sorted(setting.momenta)} if momentum else {}
    scheduler = PopulationBasedTraining(
        time_attr=_CLOCK,
        perturbation_interval=interval,
        hyperparam_mutations={LR: space[LR], **momenta},
        custom_explore_fn=within,
        log_config=False,
    )
    # It pauses trials and copies them at these reports, and Ray must not delete what is copied.
    return Plan(space, None, scheduler, Restart(checkpoint_every=interval, num_to_keep=None))
