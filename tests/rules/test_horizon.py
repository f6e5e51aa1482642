"""HorizonRule: momentum follows the agreement."""

from __future__ import annotations

import math

import pytest
import torch

from gap_tune import HorizonRule, Reason
from gap_tune.errors import InvalidValueError
from gap_tune.optim import SGD
from gap_tune.testing import RuleContract, make_statistics
from gap_tune.tune.trial.attaching import make_tuning


class TestHorizonRule(RuleContract):
    high = 0.995

    def rule(self) -> HorizonRule:
        return HorizonRule()


@pytest.mark.parametrize("agreement", [-0.7, 0.0, 0.4])
def test_the_log_of_the_horizon_moves_by_gain_times_agreement(agreement: float) -> None:
    decision = HorizonRule(gain=0.1).decide(
        make_statistics().with_agreement(agreement), momentum=0.9
    )
    before, after = math.log(1 / 0.1), math.log(1 / (1 - decision.momentum))
    assert after - before == pytest.approx(0.1 * agreement, abs=1e-12)
    assert (decision.reason, decision.previous) == (Reason.AGREEMENT, 0.9)


@pytest.mark.parametrize(
    ("agreement", "says"),
    [
        (0.4, "Updates are borne out (agreement +0.40), so momentum is 0.904."),
        (0.0, "Updates are neither (agreement +0.00), so momentum is 0.9."),
        (-0.7, "Updates are opposed (agreement -0.70), so momentum is 0.893."),
    ],
)
def test_the_explanation_says_which_way_updates_were_judged(agreement: float, says: str) -> None:
    statistics = make_statistics().with_agreement(agreement)
    assert HorizonRule(gain=0.1).decide(statistics, momentum=0.9).explanation == says


@pytest.mark.parametrize("name", ["gain", "low", "high"])
@pytest.mark.parametrize("value", [-0.1, float("inf"), float("nan")])
def test_arguments_out_of_range_are_named(name: str, value: float) -> None:
    with pytest.raises(InvalidValueError, match=f"^{name} must"):
        HorizonRule(**{name: value})


@pytest.mark.parametrize("name", ["low", "high"])
def test_no_limit_is_1(name: str) -> None:
    with pytest.raises(InvalidValueError, match=rf"^{name} must be a number in \[0, 1\)"):
        HorizonRule(**{name: 1.0})


def test_both_limits_may_be_one_but_not_in_the_wrong_order() -> None:
    opposed = make_statistics().with_agreement(-1.0)
    assert HorizonRule(low=0.5, high=0.5).decide(opposed, momentum=0.9).momentum == 0.5
    with pytest.raises(InvalidValueError, match=r"low must not exceed high"):
        HorizonRule(low=0.6, high=0.5)


def test_limits_hold() -> None:
    opposed = make_statistics().with_agreement(-1.0)
    decision = HorizonRule(gain=10.0, low=0.3).decide(opposed, momentum=0.9)
    assert (decision.momentum, decision.reason) == (0.3, Reason.BOUNDS)


def test_without_a_measurement_momentum_stays() -> None:
    assert not HorizonRule().decide(make_statistics(), momentum=0.9).changed


def descend(optimizer: torch.optim.Optimizer, weight: torch.nn.Parameter) -> None:
    for _ in range(20):
        weight.grad = torch.ones_like(weight)
        optimizer.step()


def test_agreement_is_measured_for_it_and_the_learning_rate_stays() -> None:
    weight = torch.nn.Parameter(torch.ones(3))
    own = SGD([weight], lr=0.1, momentum=0.5, rule=HorizonRule(), couple_lr=False)
    descend(own, weight)
    other = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([other], lr=0.1, momentum=0.5)
    tuning = make_tuning(optimizer, {"mode": "trial", "rule": "horizon"})
    descend(optimizer, other)
    assert own.momentum == tuning.momentum > 0.6
    assert torch.equal(weight, other)
    assert tuning.scale == own.scale == 1.0
    assert "coupled_lr" not in optimizer.param_groups[0]
