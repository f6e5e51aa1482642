"""advise: what to change about a planned study, each with the number that it changes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from gap_tune import formatting
from gap_tune.planning.constants import Constants
from gap_tune.planning.durations import written
from gap_tune.planning.planned import Plan, load_of, plan
from gap_tune.planning.request import Request

# The load up to which nobody waits long, and bursts are over soon.
COMFORTABLE = 0.5
# From here on it is worth a word that a driver writes more than it must.
_NOTICEABLE = 0.02
# A driver that suggests so long answers nobody meanwhile.
_LONG_S = 1.0
_MUCH_SOONER = 0.95
_MOST_STUDIES = 1000


@dataclass(frozen=True)
class Advice:
    """One change, and what it does by itself.

    Attributes:
        change: What to do, as a sentence goes on: "report every 2m".
        number: What it changes.
        before: That number in the plan as asked.
        after: The same after this change alone.
        request: The study with the change.
    """

    change: str
    number: str
    before: str
    after: str
    request: Request

    def __str__(self) -> str:
        return f"{self.change}: {self.number} {self.before} -> {self.after}"


def advise(asked: Plan, constants: Constants | None = None) -> list[Advice]:
    """Return what to change, what costs nothing first; nothing where all is well.

    >>> asked = plan(Request(10, nodes=1, gpus=2, report_seconds=600, reuse_actors=True,
    ...     tensorboard=False))
    >>> advise(asked)
    []
    """
    known = Constants.read() if constants is None else constants
    # A number that shows no difference is no reason to change anything.
    advice = [*_free(asked, known), *_lighter(asked, known)]
    return [each for each in advice if each.before != each.after]


def improved(asked: Plan, constants: Constants | None = None) -> Plan:
    """Return the plan of the study after as much of the advice as brings its load under 50 %.

    What costs nothing is changed in any case; then come decisions in trials, where reports may be
    rarer, and last several studies.
    """
    known = Constants.read() if constants is None else constants
    made = _freed(asked, known)
    for change in (_reports, _studies):
        if made.load >= COMFORTABLE:
            request = change(made, known)
            # What is worth it may be another thing where reports are rarer.
            made = made if request is None else _freed(plan(request, known), known)
    return made


def _freed(made: Plan, known: Constants) -> Plan:
    """Return the plan with all that costs nothing."""
    for _ in range(3):
        free = next(_free(made, known), None)
        made = made if free is None else plan(free.request, known)
    return made


def _free(asked: Plan, known: Constants) -> Iterator[Advice]:
    """Yield changes of Ray's settings, which no result depends on."""
    request = asked.request
    if not request.limited:
        other = replace(request, limited=True)
        change, made = f"max_concurrent_trials={_per_study(request)}", plan(other, known)
        if made.seconds < _MUCH_SOONER * asked.seconds:
            number, times = "whole study", (asked.seconds, made.seconds)
        else:
            number, times = "time until all places train", (asked.ramp, made.ramp)
        if times[1] < _MUCH_SOONER * times[0]:
            before, after = map(formatting.duration, times)
            yield Advice(change, number, before, after, other)
    if not request.reuse_actors and asked.start_share > _NOTICEABLE:
        other = replace(request, reuse_actors=True)
        yield Advice(
            "reuse_actors=True",
            "share of time spent on starts",
            percent(asked.start_share),
            percent(plan(other, known).start_share),
            other,
        )
    if request.tensorboard:
        other = replace(request, tensorboard=False)
        made = plan(other, known)
        if asked.load - made.load > _NOTICEABLE:
            told = "load", percent(asked.load), percent(made.load)
        else:
            told = "logs on disk", size(asked.log_size), size(made.log_size)
        if asked.load - made.load > _NOTICEABLE or asked.log_size > 1e9:
            yield Advice("no TensorBoard logger", *told, other)


def _lighter(asked: Plan, known: Constants) -> Iterator[Advice]:
    """Yield changes of the study that make its driver's load less."""
    request = asked.request
    if request.searcher == "tpe":
        other = replace(request, searcher="random")
        if asked.load - load_of(other, known) > COMFORTABLE / 2:
            yield _by_load(asked, other, "random search", known)
        elif asked.suggestion_last > _LONG_S:
            before = formatting.duration(asked.wait_longest)
            after = formatting.duration(plan(other, known).wait_longest)
            yield Advice("random search", "longest wait", before, after, other)
    if asked.load < COMFORTABLE:
        return
    seldom = _reports(asked, known)
    if seldom is not None:
        change = f"report every {written(seldom.report_seconds)}"
        yield _by_load(asked, seldom, change, known)
    if request.decide == "scheduler":
        other = replace(request, decide="trial")
        yield _by_load(asked, other, "decide in the trials (gap_tune.optim)", known)
    more = _studies(asked, known)
    if more is not None:
        yield _by_load(asked, more, f"{formatting.count(more.studies)} studies at once", known)


def _by_load(asked: Plan, other: Request, change: str, known: Constants) -> Advice:
    return Advice(change, "load", percent(asked.load), percent(plan(other, known).load), other)


def _reports(asked: Plan, known: Constants) -> Request | None:
    """Return the request with as many reports as bring the load under 50 %; None where none do.

    A trial trains as long as before, and reports once at least.
    """
    request = asked.request

    def with_(reports: int) -> Request:
        seconds = request.trial_seconds / reports
        return replace(request, reports=reports, report_seconds=seconds)

    if request.reports == 1 or load_of(with_(1), known) >= COMFORTABLE:
        return None
    low, high = 1, request.reports
    while high - low > 1:
        middle = (low + high) // 2
        fits = load_of(with_(middle), known) < COMFORTABLE
        low, high = (middle, high) if fits else (low, middle)
    return with_(low)


def _studies(asked: Plan, known: Constants) -> Request | None:
    """Return the request with as many studies as bring the load of each driver under 50 %."""
    request = asked.request
    low, high = request.studies, min(_MOST_STUDIES, request.concurrent)
    if low >= high or load_of(replace(request, studies=high), known) >= COMFORTABLE:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        fits = load_of(replace(request, studies=middle), known) < COMFORTABLE
        low, high = (low, middle) if fits else (middle, high)
    return replace(request, studies=high)


def _per_study(request: Request) -> int:
    return math.ceil(request.concurrent / request.studies)


def percent(share: float) -> str:
    """Return a share in per cent.

    >>> percent(0.083), percent(0.0012), percent(0.0), percent(13.2)
    ('8 %', '0.12 %', '0 %', '1,320 %')
    """
    if share == 0:
        return "0 %"
    return f"{100 * share:,.0f} %" if share >= 0.0095 else f"{100 * share:.2g} %"


def size(amount: float) -> str:
    """Return an amount of bytes in the unit that suits it.

    >>> size(512), size(45_300_000), size(2.31e9)
    ('512 B', '45.3 MB', '2.31 GB')
    """
    for unit, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if amount >= unit:
            return f"{formatting.number(amount / unit)} {name}"
    return f"{amount:.0f} B"
