"""told: a plan in words and a table, as the terminal shows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gap_tune.formatting import count, duration, plural
from gap_tune.planning.advice import COMFORTABLE, Advice, percent, size
from gap_tune.planning.constants import Constants
from gap_tune.planning.durations import written
from gap_tune.planning.planned import Plan

# Ray's own measurements end there: "around 50-100 results per second can still be managed without
# too much overhead" with its loggers, and 1,000 trials at once
# (https://docs.ray.io/en/latest/tune/tutorials/tune-scalability.html).
RAY_RESULTS_PER_SECOND = 100
RAY_CONCURRENT = 1000
# "250+" nodes and "1k+" placement groups, of which each running trial has one
# (https://github.com/ray-project/ray/blob/master/release/benchmarks/README.md).
RAY_NODES = 250


@dataclass(frozen=True)
class Told:
    """What to show of a plan.

    Attributes:
        verdict: Whether one driver can do it.
        asked: What was planned, in a sentence.
        rows: Name, figure and remark of each number, as asked.
        changes: What to change.
        after: What is left after the changes; empty where there are none.
        source: Where the constants come from.
    """

    verdict: str
    asked: str
    rows: tuple[tuple[str, str, str], ...]
    changes: tuple[str, ...]
    after: str
    source: str


def told(asked: Plan, better: Plan, advice: Sequence[Advice], constants: Constants) -> Told:
    """Return what to show of a plan, its improvement and the advice between them."""
    return Told(
        verdict=_verdict(asked),
        asked=_asked(asked),
        rows=tuple(_rows(asked)),
        changes=(*map(str, advice), *_beyond(asked)),
        after=_after(asked, better),
        source=_source(constants),
    )


def _verdict(asked: Plan) -> str:
    drivers = "One driver" if asked.request.studies == 1 else f"{asked.request.studies} drivers"
    if asked.load >= 1:
        each = "it would need" if asked.request.studies == 1 else "each would need"
        return (
            f"{drivers} cannot: {each} {percent(asked.load)} of the time there is, so that trials "
            f"take {asked.behind:.2g} times as long."
        )
    is_busy = "it is" if asked.request.studies == 1 else "each is"
    busy = f"{is_busy} busy {percent(asked.load)} of the time"
    if asked.load >= COMFORTABLE:
        return f"{drivers} can just do this: {busy}, and trials wait in bursts."
    return f"{drivers} can do this: {busy}."


def _asked(asked: Plan) -> str:
    request = asked.request
    return (
        f"{plural(request.trials, 'trial')} on {plural(request.nodes, 'node')}, "
        f"{count(asked.concurrent)} at a time, {plural(request.reports, 'report')} each, one every "
        f"{written(request.report_seconds)} of training."
    )


def _rows(asked: Plan) -> list[tuple[str, str, str]]:
    request = asked.request
    results = request.trials * request.reports
    return [
        ("whole study", duration(asked.seconds), f"training alone {duration(asked.ideal_seconds)}"),
        (
            "driver's load",
            percent(asked.load),
            f"results {percent(asked.load_results)}, starts and suggestions "
            f"{percent(asked.load_trials)}, saves {percent(asked.load_saving)}",
        ),
        (
            "results",
            f"{asked.results_per_second:.3g} a second",
            f"{count(results)} in all, {_short(asked.service)} of the driver each",
        ),
        (
            "wait for an answer",
            _short(asked.wait_mean),
            f"99 % within {_short(asked.wait_high)}; {percent(asked.waiting_share)} of a trial",
        ),
        (
            "longest wait",
            _short(asked.wait_longest),
            "all trials report at once, during a save and a suggestion",
        ),
        (
            "starts",
            percent(asked.start_share),
            f"of a trial's time; all places train after {duration(asked.ramp)}",
        ),
        ("last suggestion", _short(asked.suggestion_last), f"{request.searcher} search"),
        (
            "experiment's state",
            size(asked.state_size),
            f"written in {_short(asked.saving)} every {duration(asked.saving_every)}",
        ),
        ("driver's memory", size(asked.driver_memory), "at most, at the end, searcher included"),
        ("logs on disk", size(asked.log_size), f"{plural(asked.files, 'file')}"),
        *(_own_files(asked) if request.decide != "nobody" else []),
    ]


def _own_files(asked: Plan) -> list[tuple[str, str, str]]:
    most = "at most" if asked.request.decide == "trial" else "a line for each result"
    return [
        ("decisions.jsonl", size(asked.decisions_size), most),
        (
            "checkpoints",
            size(asked.checkpoints_size),
            "gap_tune's part, if trials save and keep one each",
        ),
    ]


def _beyond(asked: Plan) -> list[str]:
    """Return in what a study goes beyond what Ray's developers have measured."""
    found = []
    if asked.results_per_second > RAY_RESULTS_PER_SECOND * asked.request.studies:
        found.append(
            f"more than {RAY_RESULTS_PER_SECOND} results a second with loggers is beyond what Ray "
            "documents for a driver"
        )
    if asked.concurrent > RAY_CONCURRENT:
        found.append(
            f"more than {count(RAY_CONCURRENT)} trials at once is beyond what Ray documents for a "
            "cluster: a cluster for each study"
        )
    if asked.request.nodes > RAY_NODES:
        found.append(f"more than {RAY_NODES} nodes is beyond what Ray documents for a cluster")
    return found


def _after(asked: Plan, better: Plan) -> str:
    if better.request == asked.request:
        return ""
    drivers = "the driver is" if better.request.studies == 1 else "each driver is"
    return (
        f"With the settings below {drivers} busy {percent(better.load)} of the time, and the study "
        f"takes {duration(better.seconds)}."
    )


def _source(constants: Constants) -> str:
    about = constants.about
    load, cores = about.get("load_before", 0), about.get("cores", 0)
    busy = (
        f" while {load:.0f} processes wanted them, so that times are rather too long"
        if cores and load > 2 * cores
        else ""
    )
    machine = f"{about.get('machine', 'some machine')}{busy}"
    return (
        f"Measured {about.get('date', 'some time')} on {machine}, "
        f"with Ray {about.get('ray', '?')}; `gap-tune plan --measure` measures yours."
    )


def _short(seconds: float) -> str:
    """Return a time, short ones in milliseconds.

    >>> _short(0.00213), _short(3.5)
    ('2.13 ms', '3.50 s')
    """
    return f"{1000 * seconds:.3g} ms" if seconds < 0.9995 else duration(seconds)
