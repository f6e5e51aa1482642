"""run: does a job in this process; line: what is kept of a run, wherever it was done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gap_tune.study.suite.measuring import DIGITS, MOMENTUM, measure
from gap_tune.study.suite.suite import Job
from gap_tune.training.local import LocalTrial
from gap_tune.tune import keys

# Plain JSON values, by name.
Line = dict[str, Any]


def run(job: Job) -> Line:
    """Do a run and return its line.

    Raises:
        Exception: When the run cannot even start.
    """
    reports: list[dict[str, Any]] = []
    end = measure(
        job.config,
        lambda optimizer, config: LocalTrial(optimizer, config, results=reports),
        reports.append,
    )
    return line(job, reports, end)


def line(job: Job, reports: Sequence[Mapping[str, Any]], end: Mapping[str, Any]) -> Line:
    """Return the line of a run.

    Args:
        job: What was done.
        reports: What it reported, with the scheduler's decisions where those are the scheduler's.
        end: How it ended, as of ``measure``.
    """
    last = reports[-1] if end["status"] == "finished" else {}
    return {
        **{name: job.config[name] for name in ("setting", "arm", "rate", "seed", "lr")},
        "status": end["status"],
        "error": end["error"],
        "validation_loss": last.get("validation_loss"),
        "test_loss": last.get("test_loss"),
        "initial_validation_loss": end["initial_validation_loss"],
        "initial_test_loss": end["initial_test_loss"],
        "steps": end["steps"],
        "seconds": end["seconds"],
        "undecided": sum(map(_is_undecided, reports)),
        "momenta": [_momentum(report) for report in reports],
    }


def _is_undecided(report: Mapping[str, Any]) -> bool:
    """Tell whether the scheduler was to decide on a report and could not."""
    return report.get(keys.MODE) == keys.MODE_SCHEDULER and not report[keys.REASON]


def _momentum(report: Mapping[str, Any]) -> float | None:
    """Return the momentum in use at a report; None where the optimizer has none."""
    if keys.MOMENTUM in report:
        return float(round(report[keys.MOMENTUM], DIGITS))
    return report.get(MOMENTUM)
