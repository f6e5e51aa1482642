"""Arms of other papers, and of usual practice, as runs of a suite on SGD and AdamW."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from gap_tune.panel.settings import PanelSettings
from gap_tune.study import Suite, parse_arm
from gap_tune.study.suite.running import run
from tests.study.suite.jobs import SMALL, job

FAMILIES = {"sgd": 0.05, "adamw": 0.003}
RIVALS = (
    *("nesterov:0.9", "warmup:0.9", "schedulefree", "prodigy", "dadapt", "yellowfin"),
    *("hypergradient", "adaptive-memory", "switch"),
)
# Their learning rate is a factor on the one that they find.
FINDING = ("prodigy", "dadapt", "yellowfin")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("arm", RIVALS)
def test_every_rival_is_a_run_that_learns(arm: str, family: str) -> None:
    # Long enough for those that begin with steps of a millionth.
    setting = replace(SMALL, family=family, epochs=6, reports_per_epoch=2)
    row = run(job(arm, setting, lr=FAMILIES[family]))
    assert (row["status"], row["error"]) == ("finished", "")
    assert row["test_loss"] < 0.9 * row["initial_test_loss"]
    assert (row["steps"], row["undecided"]) == (96, 0)
    if arm in ("nesterov:0.9", "warmup:0.9"):
        assert set(row["momenta"]) == {0.9}
    assert json.loads(json.dumps(row)) == row


@pytest.mark.parametrize("family", FAMILIES)
def test_every_rival_is_trained_at_as_many_rates_over_as_wide_a_range(family: str) -> None:
    setting = replace(SMALL, family=family, lr=2 * FAMILIES[family])
    suite: Suite = PanelSettings((setting,), RIVALS, seeds=2, lr_span=30.0, lr_count=5).suite()
    middles = {}
    for arm in suite.arms:
        rates = suite.learning_rates("small", arm)
        assert len(rates) == 5
        assert rates[-1] / rates[0] == pytest.approx(30, rel=1e-2)
        middles[arm.name] = rates[2]
    # The setting's own learning rate moves the middle, but not of a factor.
    assert all(middles[arm] == 1.0 for arm in FINDING)
    usual = suite.learning_rates("small", parse_arm("gap"))[2]
    assert middles["warmup:0.9"] == middles["nesterov:0.9"] == middles["hypergradient"] == usual
    assert all(middles[arm] >= usual for arm in RIVALS)
