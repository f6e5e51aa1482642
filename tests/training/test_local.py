"""Trials in this process, without Ray."""

from __future__ import annotations

import itertools
import logging
from pathlib import Path
from typing import Any

import pytest

from gap_tune import AlignmentStatistics, Decision
from gap_tune.rules import get_rule
from gap_tune.training.local import run
from gap_tune.tune import keys
from gap_tune.tune.statistics_json import parse_one
from tests.tune.functions import Cycle
from tests.workloads.stopping import run_until, untimed

CONFIG = {
    "workload": "quadratic",
    "workload_options": {"samples": 256},
    "batch_size": 32,
    "epochs": 4,
    "reports_per_epoch": 4,
    "checkpoints_per_epoch": 4,
    "gap": {"mode": "scheduler", "rule": "cross-batch"},
}


class Raises(Cycle):
    """Raises at its first report."""

    def decide(self, statistics: AlignmentStatistics, momentum: float) -> Decision:
        if statistics.steps < 3:
            raise RuntimeError("no idea at all")
        return super().decide(statistics, momentum)


def test_in_mode_scheduler_each_report_is_decided_by_the_configurations_rule() -> None:
    results = run(CONFIG)
    assert len({result[keys.MOMENTUM] for result in results}) > 1
    assert results[0][keys.MOMENTUM] == 0.9
    rule = get_rule("cross-batch")
    for result, after in itertools.pairwise(results):
        decision = rule.decide(parse_one(result[keys.STATISTICS]), result[keys.MOMENTUM])
        assert after[keys.MOMENTUM] == decision.momentum
        # As in a study's results.
        assert result[keys.DECISION] == decision.explanation
        assert result[keys.REASON] == str(decision.reason)
    assert results[-1][keys.SEQ] > 0


def test_a_rule_that_raises_leaves_momentum_alone_and_is_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    config: dict[str, Any] = {**CONFIG, "gap": {"mode": "scheduler", "rule": f"{__name__}:Raises"}}
    with caplog.at_level(logging.WARNING):
        first, second, third, *_ = run(config)
        run(config)
    assert (first[keys.DECISION], first[keys.REASON]) == ("", "")
    assert first[keys.MOMENTUM] == second[keys.MOMENTUM] == 0.9
    assert third[keys.MOMENTUM] != 0.9
    told = [record for record in caplog.records if "no idea at all" in record.getMessage()]
    assert len(told) == 1


def test_a_run_that_is_cut_off_goes_on_with_the_momentum_that_was_decided(tmp_path: Path) -> None:
    whole = run(CONFIG)
    before = run_until(CONFIG, tmp_path, reports=7)
    after = run(CONFIG, tmp_path)
    assert untimed(before + after) == untimed(whole)


def test_without_a_mode_momentum_stays() -> None:
    results = run({name: value for name, value in CONFIG.items() if name != "gap"})
    assert {result[keys.MOMENTUM] for result in results} == {0.9}
