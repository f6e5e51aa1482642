"""What a searcher takes in the driver: time per suggestion, memory per trial, its saved state."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import ray
import torch

from gap_tune.planning.measuring import trials
from gap_tune.planning.measuring.notes import resident_bytes
from gap_tune.tune.search import GapSearch
from gap_tune.tune.trial.attaching import attach


@dataclass(frozen=True)
class Searched:
    """What a searcher took.

    Attributes:
        first: Seconds of a suggestion while there are no trials.
        per_trial: What each trial before adds, in seconds.
        resident_per_trial: Bytes of memory that the driver holds per trial.
        saved_per_trial: Bytes of the searcher's saved state per trial.
        saving_per_trial: Seconds to save it, per trial.
    """

    first: float
    per_trial: float
    resident_per_trial: float
    saved_per_trial: float
    saving_per_trial: float


def search(name: str, count: int) -> Searched:
    """Let a ``GapSearch`` suggest so many trials, each of which reports once and ends.

    Args:
        name: The wrapped searcher: "random" or "tpe".
        count: How many trials.
    """
    searcher = GapSearch({"name": name, "seed": 0})
    searcher.set_search_properties("loss", "min", trials.space())
    reported = a_result()
    seconds, before = [], resident_bytes()
    for number in range(count):
        trial = f"{number:08d}"
        began = time.thread_time()
        searcher.suggest(trial)
        result = {**reported, "loss": 1 / (1 + number)}
        searcher.on_trial_result(trial, result)
        searcher.on_trial_complete(trial, result)
        seconds.append(time.thread_time() - began)
    resident = (resident_bytes() - before) / count
    slope, first = fitted(seconds)
    with TemporaryDirectory() as folder:
        path = Path(folder, "searcher")
        began = time.thread_time()
        searcher.save(str(path))
        saving = time.thread_time() - began
        saved = path.stat().st_size
    return Searched(first, slope, max(0.0, resident), saved / count, saving / count)


def fitted(seconds: Sequence[float], bins: int = 20) -> tuple[float, float]:
    """Return slope and start of the straight line through the medians of equal bins.

    Neither is below zero. The first suggestions import and set up, so the first bin is left out.

    >>> slope, start = fitted([0.001 + 2e-6 * n for n in range(1000)])
    >>> round(slope, 9), round(start, 5)
    (2e-06, 0.001)
    """
    parts = np.array_split(np.asarray(seconds), bins)[1:]
    width = len(seconds) / bins
    centres = [(place + 1.5) * width for place in range(len(parts))]
    slope, start = np.polyfit(centres, [float(np.median(part)) for part in parts], 1)
    return max(0.0, float(slope)), max(0.0, float(start))


def a_result() -> dict[str, Any]:
    """Return what a trial reports: metrics, statistics, and the rest that gap_tune adds."""
    weight = torch.nn.Parameter(torch.randn(100))
    optimizer = torch.optim.SGD([weight], lr=0.01, momentum=0.9)
    trial = attach(optimizer, {"momentum": 0.9, "gap": {"mode": "scheduler"}})
    for _ in range(20):
        weight.grad = torch.randn(100) + weight.detach()
        optimizer.step()
    return {**trial.result(dict(trials.METRICS)), "training_iteration": 1}


def waiting(counts: Sequence[int] = (50, 200, 400), repeats: int = 200) -> float:
    """Return the seconds that each running trial adds to Ray's wait for the next result.

    The driver shuffles the pending calls of all running trials each time, and hands them to Ray.
    Here they are calls that wait for a resource which no machine has, and one that is ready.
    """
    never: Any = ray.remote(num_cpus=0, resources={"nowhere": 1})(_nothing)
    ready = ray.put(0)
    pending = [never.remote() for _ in range(max(counts))]
    medians = []
    for count in counts:
        seconds = []
        for _ in range(repeats):
            began = time.thread_time()
            calls = [*pending[:count], ready]
            random.shuffle(calls)
            ray.wait(calls, num_returns=1, timeout=0.1)
            seconds.append(time.thread_time() - began)
        medians.append(float(np.median(seconds)))
    for call in pending:
        ray.cancel(call)
    slope, _ = np.polyfit(counts, medians, 1)
    return max(0.0, float(slope))


def _nothing() -> None:
    """Do what a call does that never runs."""
