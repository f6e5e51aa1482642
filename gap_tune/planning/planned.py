"""plan: what a study asks of its driver, computed from measured constants."""

from __future__ import annotations

import math
from dataclasses import dataclass

from gap_tune.planning import queueing
from gap_tune.planning.constants import Constants
from gap_tune.planning.queueing import Work
from gap_tune.planning.request import Request

# Ray writes the experiment's state every ten seconds, or as seldom as takes a twentieth of its time
# (_ExperimentCheckpointManager of Ray 2.60).
_SAVED_EVERY_S = 10.0
_SAVED_PAUSES = 19
# Of a driver that cannot keep up there is no quantile.
_FULL = 0.999


@dataclass(frozen=True)
class Plan:
    """A planned study. Times are seconds, sizes bytes, and shares parts of 1.

    With several studies, loads, waits, memory and state are those of each driver; trials, places,
    results, disk and the time of the study are of all together.

    Attributes:
        request: What was asked.
        concurrent: Trials that run at once.
        results_per_second: Results of all trials while they run, as far as drivers keep up.
        service: Seconds that a result takes its driver.
        load: Share of its time that each driver is busy if nobody waits, at the study's end where
            suggestions are slowest; from 1 on it falls behind.
        load_results: The part of it for results.
        load_trials: The part of it for starts and suggestions.
        load_saving: The part of it for writing the experiment's state.
        behind: How many times longer trials take than they would if nobody waited.
        wait_mean: Mean time from report to answer.
        wait_high: Time in which 99 % of reports are answered.
        wait_burst: Time to the last answer where all trials report at once.
        wait_longest: The same where that meets a save and a suggestion.
        waiting_share: Share of a trial's time in which it waits for answers.
        suggestion_last: Seconds of the last suggestion.
        saving: Seconds to write the experiment's state once all trials are in it.
        saving_every: Seconds between two such writes.
        driver_memory: Memory of each driver with its searcher, at the end.
        log_size: ``result.json``, ``progress.csv`` and parameters of all trials, TensorBoard's
            events included where they are written.
        decisions_size: ``decisions.jsonl``; of decisions in trials, the most that it can be.
        checkpoints_size: gap_tune's part of checkpoints, where one is kept of each trial.
        state_size: State of the experiment and its searcher, which each save writes anew.
        files: How many files all trials leave.
        ramp: Seconds until all places have a trial at the start.
        start_share: Share of a trial's place in which its process starts.
        seconds: The whole study, if nothing fails and no trial is stopped.
        ideal_seconds: The same with training alone.
    """

    request: Request
    concurrent: int
    results_per_second: float
    service: float
    load: float
    load_results: float
    load_trials: float
    load_saving: float
    behind: float
    wait_mean: float
    wait_high: float
    wait_burst: float
    wait_longest: float
    waiting_share: float
    suggestion_last: float
    saving: float
    saving_every: float
    driver_memory: float
    log_size: float
    decisions_size: float
    checkpoints_size: float
    state_size: float
    files: int
    ramp: float
    start_share: float
    seconds: float
    ideal_seconds: float


def plan(request: Request, constants: Constants | None = None) -> Plan:
    """Return what a study asks of its driver.

    Args:
        request: The study and its cluster.
        constants: What things cost; default what was measured for the package.

    >>> made = plan(Request(trials=100, nodes=2, gpus=4, report_seconds=60))
    >>> made.concurrent, made.load < 0.05
    (8, True)
    """
    known = Constants.read() if constants is None else constants
    costs = _Costs(request, known)
    delay = _delay(request, known)
    place = request.trial_seconds + delay
    works = costs.works(place, costs.suggestion_last)
    load_results, load_trials, load_saving = (work.load for work in works)
    load = load_results + load_trials + load_saving
    mean = costs.wait_mean(place, costs.suggestion_last)
    taken = place + request.reports * mean
    ideal = math.ceil(request.trials / request.concurrent) * request.trial_seconds
    ramp = _ramp(request, costs, delay)
    return Plan(
        request=request,
        concurrent=request.concurrent,
        results_per_second=request.concurrent * request.reports / taken,
        service=costs.service,
        load=load,
        load_results=load_results,
        load_trials=load_trials,
        load_saving=load_saving,
        behind=taken / place,
        wait_mean=mean,
        wait_high=costs.wait_high(taken),
        wait_burst=queueing.burst(costs.concurrent, costs.service)[1],
        wait_longest=queueing.burst(costs.concurrent, costs.service)[1]
        + costs.saving
        + costs.suggestion_last,
        waiting_share=request.reports * mean / taken,
        suggestion_last=costs.suggestion_last,
        saving=costs.saving,
        saving_every=costs.saving_every,
        driver_memory=costs.memory,
        log_size=request.trials * (request.reports * costs.result_bytes + known.trial_bytes),
        decisions_size=request.trials * request.reports * costs.decision_bytes,
        checkpoints_size=request.trials * costs.checkpoint_bytes,
        state_size=known.state_bytes + costs.trials * known.state_trial_bytes,
        files=request.trials * (5 if request.tensorboard else 4),
        ramp=ramp,
        start_share=delay / taken,
        seconds=_seconds(request, costs, place, delay, ramp),
        ideal_seconds=ideal,
    )


def load_of(request: Request, known: Constants) -> float:
    """Return the load of a study's driver alone, without the rest of its plan."""
    costs = _Costs(request, known)
    place = request.trial_seconds + _delay(request, known)
    return sum(work.load for work in costs.works(place, costs.suggestion_last))


def _delay(request: Request, known: Constants) -> float:
    return known.start_delay_reused_s if request.reuse_actors else known.start_delay_s


class _Costs:
    """What one of the study's drivers has to do, from the constants."""

    def __init__(self, request: Request, known: Constants) -> None:
        self.trials = math.ceil(request.trials / request.studies)
        self.concurrent = math.ceil(request.concurrent / request.studies)
        results = {
            "scheduler": known.result_scheduler_s,
            "trial": known.result_trial_s,
            "nobody": known.result_bare_s,
        }
        self.service = (
            results[request.decide]
            + request.tensorboard * known.tensorboard_s
            + self.concurrent * known.waiting_s
        )
        self.start = known.start_reused_s if request.reuse_actors else known.start_s
        tpe = request.searcher == "tpe"
        first = known.suggestion_tpe_s if tpe else known.suggestion_random_s
        slope = known.suggestion_tpe_per_trial_s if tpe else known.suggestion_random_per_trial_s
        self.suggestion_first = first
        self.suggestion_last = first + slope * self.trials
        self.saving = known.saving_trial_s * self.trials
        self.saving_every = max(_SAVED_EVERY_S, _SAVED_PAUSES * self.saving)
        self.reports = request.reports
        decided = request.decide != "nobody"
        self.result_bytes = (known.result_bytes if decided else known.result_bare_bytes) + (
            request.tensorboard * known.tensorboard_bytes
        )
        self.decision_bytes = known.decision_bytes * decided
        self.checkpoint_bytes = known.checkpoint_bytes * decided
        self.memory = (
            known.driver_bytes
            + self.trials * (known.memory_trial_bytes + known.memory_searcher_bytes)
            + self.trials * request.reports * known.memory_result_bytes
        )

    def works(self, taken: float, suggestion: float, others: float = 1.0) -> list[Work]:
        """Return results, trials and saves, where a trial takes so long.

        Args:
            taken: Seconds from a trial's start to the next one's in its place.
            suggestion: Seconds of a suggestion.
            others: Share of the results that count.
        """
        starts = self.concurrent / taken
        return [
            Work(starts * self.reports * others, self.service),
            Work(starts, self.start + suggestion),
            Work(1 / (self.saving + self.saving_every), self.saving),
        ]

    def wait_mean(self, place: float, suggestion: float) -> float:
        """Return the mean time to an answer, where a trial takes so long without any."""
        # Nobody waits for results of its own.
        others = 1 - 1 / self.concurrent

        def answer(taken: float) -> float:
            full = sum(work.load for work in self.works(taken, suggestion)) >= 1
            wait = queueing.mean_wait(self.works(taken, suggestion, others))
            return math.inf if full else wait + self.service

        return queueing.settled(place, self.reports, answer)

    def wait_high(self, taken: float) -> float:
        """Return the time in which 99 % of reports are answered.

        The exact quantile of a queue of results, with all that the driver does as its load, and
        the rest of what else it may be at.
        """
        results, *rest = self.works(taken, self.suggestion_last)
        load = min(_FULL, results.load + sum(work.load for work in rest))
        queue = queueing.quantile_wait(load, self.service)
        # Each of the others has one report at a time.
        queue = min(queue, (self.concurrent - 1) * self.service)
        mean = queueing.mean_wait([results, *rest])
        return max(mean, queue + queueing.blocked(rest)) + self.service


def _ramp(request: Request, costs: _Costs, delay: float) -> float:
    """Return how long it takes until every place has its first trial.

    Ray asks a searcher for the next trial when fewer than one wait for their process, or fewer
    than ``max_concurrent_trials`` where that is set (``_get_max_pending_trials`` of Ray 2.60).
    """
    one_by_one = costs.concurrent * (costs.start + costs.suggestion_first)
    if request.limited:
        return delay + one_by_one
    return one_by_one + costs.concurrent * delay


def _seconds(request: Request, costs: _Costs, place: float, delay: float, ramp: float) -> float:
    """Return how long the study takes, if nothing fails and no trial is stopped."""
    # Over the whole study suggestions are as slow as half-way through it.
    half_way = (costs.suggestion_first + costs.suggestion_last) / 2
    taken = place + request.reports * costs.wait_mean(place, half_way)
    seconds = math.ceil(costs.trials / costs.concurrent) * taken + max(0.0, ramp - delay)
    # One process after another: places stand empty where trials are shorter than that.
    return seconds if request.limited else max(seconds, costs.trials * delay + taken)
