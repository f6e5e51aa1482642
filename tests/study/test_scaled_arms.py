"""Arms with and without a trust region that follows the agreement."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gap_tune import TrustRegion
from gap_tune.study import parse_arm
from gap_tune.study.conditions import Conditions
from gap_tune.study.suite.running import run
from gap_tune.study.suite.suite import Job, Suite

TASK = {"workload": "logistic", "batch_size": 32, "epochs": 3, "reports_per_epoch": 2}


def jobs(*arms: str, family: str = "sgd") -> list[Job]:
    task = Conditions({**TASK, "family": family}, 0.1, (0.1, 0.1), "validation_loss", "min")
    return Suite({"task": task}, tuple(map(parse_arm, arms)), 1, 1.0, 1).jobs()


def outcome(line: dict[str, Any]) -> tuple[Any, ...]:
    assert line["status"] == "finished", line["error"]
    return line["test_loss"], line["momenta"]


@pytest.mark.parametrize("family", ["sgd", "adamw"])
def test_arms_say_whether_the_region_follows(family: str) -> None:
    names = ("gap-trial", "gap-trial-unscaled", "gap-paper", "scaled", "fixed:0.9")
    found = {job.config["arm"]: job for job in jobs(*names, family=family)}
    regions = {name: job.config["gap"].get("trust_region") for name, job in found.items()}
    assert TrustRegion.of(regions["scaled"]) == TrustRegion()
    assert TrustRegion.of(regions["gap-trial-unscaled"]) == TrustRegion.off()
    assert regions["gap-trial"] is regions["gap-paper"] is regions["fixed:0.9"] is None
    explicit = {}
    for name, region in (("gap-trial", TrustRegion()), ("gap-paper", TrustRegion.off())):
        job = found[name]
        section = {**job.config["gap"], "trust_region": region.to_dict()}
        explicit[name] = run(replace(job, config={**job.config, "gap": section}))
    lines = {name: run(job) for name, job in found.items()}
    for name, line in explicit.items():
        assert outcome(lines[name]) == outcome(line)
    assert outcome(lines["gap-trial"]) != outcome(lines["gap-trial-unscaled"])
    # Its learning rate moves, its momentum stays.
    assert set(lines["scaled"]["momenta"]) == {0.9}
    assert lines["scaled"]["test_loss"] != lines["fixed:0.9"]["test_loss"]


def test_the_horizon_rule_keeps_the_learning_rate_and_moves_momentum_at_every_step() -> None:
    (job,) = jobs("gap-trial-horizon")
    line = run(job)
    assert line["status"] == "finished", line["error"]
    assert len(set(line["momenta"])) == len(line["momenta"])


def test_the_scheduler_decides_on_scaled_trials_as_on_others() -> None:
    (job,) = jobs("gap")
    assert job.config["gap"]["mode"] == "scheduler"
    assert run(job)["undecided"] == 0
