"""Stillness: that nothing has moved for long, and what may be the cause."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import ray

from gap_tune.formatting import time_left
from gap_tune.tune.ray_private.results import last_result
from gap_tune.tune.ray_private.trainables import requested

_LEAST_S = 60.0
# A study whose reports are minutes apart is still for longer before that means anything.
_TIMES_USUAL = 3.0
# From here on, processes of niceness 15 get next to nothing.
_BUSY = 1.5


class Stillness:
    """Measures how long no trial has started, reported or ended.

    Args:
        clock: Returns seconds, and never goes back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._moved_at = clock()
        self._reported = False
        self._usual_s = 0.0

    def moved(self, *, reported: bool = False) -> None:
        """Note that something moved.

        Args:
            reported: Whether it is a report; the time between two is what is usual.
        """
        now = self._clock()
        if reported and self._reported:
            self._usual_s = max(self._usual_s, now - self._moved_at)
        self._moved_at, self._reported = now, reported

    def seconds(self) -> float | None:
        """Return for how long nothing has moved; None where that is nothing to speak of."""
        still = self._clock() - self._moved_at
        return still if still >= max(_LEAST_S, _TIMES_USUAL * self._usual_s) else None


@dataclass(frozen=True)
class Machines:
    """What there is to run trials.

    Attributes:
        nodes: Resources of each node that is alive, such as ``{"CPU": 4.0}``.
        free: What of all of them is not in use.
        load: How many processes want to run on this machine, over the last minute.
        cores: Cores of this machine.
    """

    nodes: Sequence[Mapping[str, float]] = ()
    free: Mapping[str, float] = field(default_factory=dict)
    load: float = 0.0
    cores: int = 1

    @classmethod
    def now(cls) -> Machines:
        """Return those of the Ray session and this machine."""
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        return cls(nodes, ray.available_resources(), os.getloadavg()[0], os.cpu_count() or 1)


def told(seconds: float, trials: Sequence[Any], machines: Machines) -> str:
    """Return in one line for how long nothing has moved, and why that may be.

    Args:
        seconds: For how long.
        trials: The trials of the present Ray Tune run.
        machines: What there is to run them.

    >>> told(75.0, [], Machines(load=0.1, cores=2))
    'Nothing has moved for 75 s.'
    """
    parts = [f"Nothing has moved for {time_left(seconds)}."]
    return " ".join([*parts, *_causes(trials, machines)])


def _causes(trials: Sequence[Any], machines: Machines) -> Iterator[str]:
    running = [trial for trial in trials if trial.status == "RUNNING"]
    waiting = [trial for trial in trials if trial.status == "PENDING"]
    if waiting and not running:
        yield _of_waiting(requested(waiting[0]), machines)
    silent = sum(not last_result(trial) for trial in running)
    if silent:
        yield (
            f"{silent} of {len(running)} that run have not reported yet: a first trial imports "
            "what it needs and loads its data."
        )
    if machines.load > _BUSY * machines.cores:
        yield (
            f"{machines.load:.0f} processes want the {machines.cores} cores of this machine: Ray "
            "runs trials at niceness 15, behind all others."
        )


def _of_waiting(bundles: Sequence[Mapping[str, float]], machines: Machines) -> str:
    """Return why a trial that asks for bundles of resources may not start."""
    for bundle in bundles:
        if not any(_holds(node, bundle) for node in machines.nodes):
            there = "; ".join(_resources(node, bundle) for node in machines.nodes) or "none"
            wanted = _resources(bundle, bundle)
            return f"No node has what a trial asks for, {wanted}: there is {there}."
    if not all(_holds(machines.free, bundle) for bundle in bundles):
        total = {name: sum(b.get(name, 0.0) for b in bundles) for b in bundles for name in b}
        return (
            f"A trial asks for {_resources(total, total)}, which others use: "
            f"{_resources(machines.free, total)} free."
        )
    return "The process of a first trial is being started: it imports Ray and your code."


def _holds(there: Mapping[str, float], wanted: Mapping[str, float]) -> bool:
    return all(there.get(name, 0.0) >= amount for name, amount in wanted.items())


def _resources(amounts: Mapping[str, float], names: Mapping[str, float]) -> str:
    return ", ".join(f"{amounts.get(name, 0.0):g} {name}" for name in names)
