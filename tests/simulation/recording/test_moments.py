"""Recorded runs against the same runs without anybody looking."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from gap_tune.gradients.statistics import AlignmentStatistics
from gap_tune.panel.settings import PanelSettings, Setting
from gap_tune.rules import AlignmentRule
from gap_tune.simulation.recording.moments import record, time_run
from gap_tune.simulation.recording.recorded_suite import recorded_suite
from gap_tune.study.suite.running import run
from gap_tune.study.suite.suite import Job, Suite
from gap_tune.training import local

REPORTS = 5
SGD = Setting("small", "digits-mlp", "sgd", 64, 3, 8, {"label_noise": 0.4}, lr=0.05)
ADAMW = replace(SGD, family="adamw", lr=0.003)


def suite(setting: Setting, *arms: str, lr_span: float = 1.0) -> Suite:
    panel = PanelSettings((setting,), ("gap",))
    chosen: Any = {"lr_count": 1, "lr_span": lr_span, "seeds": 2, "reports": REPORTS}
    return recorded_suite(panel, arms=arms, **chosen)


def job(setting: Setting, arm: str) -> Job:
    return suite(setting, arm).jobs()[0]


@pytest.mark.parametrize("setting", [SGD, ADAMW], ids=["sgd", "adamw"])
@pytest.mark.parametrize("arm", ["fixed:0", "fixed:0.95", "gap", "gap-unscaled"])
def test_a_run_that_is_recorded_trains_as_one_that_is_not(setting: Setting, arm: str) -> None:
    plain, recorded = run(job(setting, arm)), record(job(setting, arm))
    moments = recorded.pop("moments")
    assert {**recorded, "seconds": 0} == {**plain, "seconds": 0}
    assert [moment["momentum"] for moment in moments] == pytest.approx(plain["momenta"], abs=1e-4)
    # A reading of the data by hand: 1,078 digits are trained on, 64 at a time, three times.
    steps = plain["steps"]
    assert [moment["step"] for moment in moments] == [
        steps * (i + 1) // REPORTS for i in range(REPORTS)
    ]
    for name in ("validation_loss", "test_loss"):
        assert moments[-1][name] == plain[name]
        assert len({moment[name] for moment in moments}) == REPORTS


@pytest.mark.parametrize("setting", [SGD, ADAMW], ids=["sgd", "adamw"])
def test_recorded_statistics_lead_to_the_recorded_momenta(setting: Setting) -> None:
    for arm in ("gap", "gap-unscaled"):
        moments = record(job(setting, arm))["moments"]
        for moment, after in pairwise(moments):
            statistics = AlignmentStatistics.from_dict(moment["statistics"])
            decision = AlignmentRule().decide(statistics, moment["momentum"])
            assert after["momentum"] == decision.momentum
        scales = {moment["scale"] for moment in moments}
        assert (len(scales) == REPORTS) if arm == "gap" else (scales == {1.0})


def test_a_run_that_diverges_has_the_moments_before() -> None:
    wild = replace(SGD, lr=1e12)
    recorded = record(job(wild, "fixed:0.9"))
    assert recorded["status"] == "diverged"
    assert len(recorded["moments"]) < REPORTS


def test_reports_in_all_are_spread_over_the_run_whatever_its_epochs() -> None:
    common = {"workload": "digits-mlp", "batch_size": 64, "epochs": 3}
    often = local.run({**common, "reports": 7, "test_at_reports": True})
    (epochs, steps) = zip(*((r["epoch"], r["gap/steps"]) for r in often), strict=True)
    assert steps == tuple(steps[-1] * (i + 1) // 7 for i in range(7))
    assert epochs[-1] == 3
    assert all("test_loss" in report for report in often)
    usual = local.run({**common, "reports_per_epoch": 2})
    assert len(usual) == 6
    assert ["test_loss" in report for report in usual] == [False] * 5 + [True]
    assert usual[-1]["validation_loss"] == often[-1]["validation_loss"]


def test_a_timed_run_tells_training_from_evaluation() -> None:
    timed = time_run(job(SGD, "gap"))
    assert timed["setting"] == "small"
    assert timed["arm"] == "gap"
    assert timed["seconds_per_step"] > 0
    assert timed["evaluation_seconds"] >= 0
