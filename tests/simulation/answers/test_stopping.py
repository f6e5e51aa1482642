"""Trials that were stopped train on as they would have: to the end, as the scheduler decides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gap_tune.simulation.answers.hindsight import to_the_end
from gap_tune.simulation.task import Report
from gap_tune.tune import GapScheduler, keys
from tests.simulation.answers.tasks import REPORTS, Descent, Valley

CONFIG = {"lr": 0.1, "momentum": 0.9, "seed": 0, "gap": {"mode": "scheduler"}}


class Unobserved(Descent):
    """Its gradients are observed for three reports only."""

    def advance(self) -> Report:
        report = super().advance()
        if self.done_reports > 3:
            report.metrics.pop(keys.STATISTICS)
        return report


class Blind(Valley):
    def begin(self, config: Mapping[str, Any]) -> Unobserved:
        return Unobserved(self, dict(config), float(config["momentum"]))


def momenta(task: Valley, scheduler: GapScheduler | None) -> list[float]:
    return [each.metrics[keys.MOMENTUM] for each in to_the_end(task, CONFIG, scheduler)]


def test_momentum_follows_the_decisions_where_there_is_a_scheduler() -> None:
    task = Valley(rights=(0.5, 0.99))
    # The statistics of a report say what was right until then.
    assert momenta(task, GapScheduler()) == [0.9, *[0.5] * 5, *[0.99] * 4]
    assert momenta(task, None) == [0.9] * REPORTS


def test_bug_a_trial_without_statistics_trains_on_with_its_momentum() -> None:
    assert momenta(Blind(rights=(0.5, 0.99)), GapScheduler()) == [0.9, *[0.5] * 9]
