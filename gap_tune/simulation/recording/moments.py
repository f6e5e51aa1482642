"""record: does a run and keeps what each report says; time_run: how long a run takes."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from gap_tune.study.suite.measuring import measure
from gap_tune.study.suite.running import Line, line
from gap_tune.study.suite.suite import Job
from gap_tune.training.local import LocalTrial
from gap_tune.tune import keys

# The name of the list in a run's line.
MOMENTS = "moments"
_LOSSES = ("validation_loss", "test_loss")


def record(job: Job) -> Line:
    """Do a run, its gradients observed whatever its arm, and return its line with ``moments``.

    A moment holds ``step``, ``validation_loss``, ``test_loss``, the ``momentum`` that trained until
    then, ``lr``, ``scale`` (1 where nothing scales), ``agreement`` (None before it is known) and
    ``statistics`` (``AlignmentStatistics.to_dict()``).

    Raises:
        Exception: When the run cannot even start.
    """
    reports: list[dict[str, Any]] = []
    observed = Job(observed_configuration(job.config))
    end = measure(
        observed.config,
        lambda optimizer, config: LocalTrial(optimizer, config, results=reports),
        reports.append,
    )
    return {**line(observed, reports, end), MOMENTS: [_moment(report) for report in reports]}


def observed_configuration(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a baseline's configuration so that it trains the same and its gradients are observed.

    Its rule keeps the momentum, and its learning rate is meant for that momentum.
    """
    own = keys.section(config)
    if own.get("mode") != keys.MODE_FIXED:
        return dict(config)
    momentum = keys.momentum_of(config)
    watched = {"mode": keys.MODE_SCHEDULER, "rule": "fixed", "reference_momentum": momentum}
    return {**config, keys.SECTION: {**own, **watched}}


def time_run(job: Job) -> dict[str, Any]:
    """Do a run as a study does it, unobserved where it is a baseline, and say how long it took.

    Returns:
        ``setting, arm, seconds_per_step`` and ``evaluation_seconds``, the median of what passes
        between two reports besides training.
    """
    ends: list[tuple[float, float]] = []

    class Timed(LocalTrial):
        def report(self, metrics: Mapping[str, Any], *, checkpoint: bool = False) -> None:
            super().report(metrics, checkpoint=checkpoint)
            ends.append((time.perf_counter(), metrics["samples_per_s"]))

    end = measure(
        job.config,
        lambda optimizer, config: Timed(optimizer, config, results=[]),
        lambda report: ends.append((time.perf_counter(), report["samples_per_s"])),
    )
    return {
        **{name: job.config[name] for name in ("setting", "arm")},
        "seconds_per_step": end["seconds"] / end["steps"],
        "evaluation_seconds": _between(ends, end["steps"] * job.config["batch_size"]),
    }


def _between(ends: Sequence[tuple[float, float]], samples: float) -> float:
    """Return the median time between two reports that training does not take."""
    trained = samples / len(ends)
    rest = [later - earlier - trained / speed for (earlier, _), (later, speed) in pairwise(ends)]
    return max(0.0, statistics.median(rest)) if rest else 0.0


def _moment(report: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "step": report[keys.STEPS],
        **{name: report.get(name) for name in _LOSSES},
        "momentum": report[keys.MOMENTUM],
        "lr": report.get(keys.LR),
        "scale": report.get(keys.SCALE, 1.0),
        "agreement": report.get(keys.AGREEMENT),
        "statistics": json.loads(report[keys.STATISTICS]),
    }
