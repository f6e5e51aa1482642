from __future__ import annotations

import numpy as np
import pytest

from gap_tune.errors import InvalidValueError
from gap_tune.gradients import AlignmentStatistics
from gap_tune.rules import AlignmentRule
from gap_tune.study import parse_arm
from gap_tune.study.arms import DEMO_MOMENTA, RULE, Arm

FIXED = {"gap": {"mode": "fixed"}}


def test_arm_names_are_normalised() -> None:
    assert parse_arm(" fixed:.90") == Arm("fixed:0.9", 0.9)
    assert parse_arm("fixed:0.50|0.9|.5").name == "fixed:0.5|0.9"
    assert parse_arm("fixed:grid").momenta == DEMO_MOMENTA
    assert parse_arm("optuna:16").name == "optuna:16"


@pytest.mark.parametrize(
    ("name", "family", "expected"),
    [
        ("gap", "sgd", {}),
        ("gap-trial", "sgd", {"gap": {"mode": "trial"}}),
        ("gap-validation", "adamw", {"validation_every": 4}),
        ("fixed:0.5", "adamw", {"momentum": 0.5}),
        ("fixed:grid", "sgd", FIXED),
        ("asha", "sgd", FIXED),
        ("pbt", "sgd", FIXED),
        ("switch", "sgd", {"family": "switch", **FIXED}),
        ("switch", "adamw", {"family": "switch-adamw", **FIXED}),
        ("switch-parameter", "adamw", {"family": "switch-adamw-parameter", **FIXED}),
        ("schedulefree", "adamw", {"family": "schedulefree-adamw", **FIXED}),
        ("yellowfin", "adamw", {"family": "yellowfin", **FIXED}),
        ("hypergradient", "sgd", {"family": "hypergradient", **FIXED}),
        ("prodigy", "sgd", {"family": "prodigy", **FIXED}),
        ("adai", "sgd", {"family": "adai", **FIXED}),
        ("trainable-rank-one", "sgd", {"family": "trainable-rank-one", **FIXED}),
        ("budget-diagonal", "sgd", {"family": "budget-diagonal", **FIXED}),
    ],
)
def test_an_arm_says_what_sets_its_trials_apart(
    name: str, family: str, expected: dict[str, object]
) -> None:
    assert parse_arm(name).configuration(family) == {"arm": name, **expected}


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("adam", "arm must be one of"),
        ("sgd", "arm must be one of"),
        ("", "arm must be one of"),
        ("gap:1", "arm must be one of"),
        ("optuna:8:8", "trials of the arm optuna must be an integer of at least 1, but got '8:8'"),
        ("optuna:0", "trials of the arm optuna must be an integer of at least 1, but got 0"),
        ("asha:many", "trials of the arm asha must be an integer of at least 1, but got 'many'"),
        ("pbt:1", "trials of the arm pbt must be an integer of at least 2, but got 1"),
        ("fixed:1", r"momentum of a fixed arm must be a number in \[0, 1\), but got 1.0"),
        ("fixed:0.5|1", r"momentum of a fixed arm must be a number in \[0, 1\), but got 1.0"),
        ("fixed:0.5|", r"momentum of a fixed arm must be a number in \[0, 1\), but got nan"),
    ],
)
def test_an_unknown_arm_is_refused(name: str, complaint: str) -> None:
    with pytest.raises(InvalidValueError, match=complaint):
        parse_arm(name)


def test_a_gap_arm_without_held_out_gradients_is_decided_by_the_default_rule() -> None:
    chance = np.random.default_rng(0)
    candidates = (0.5, 0.8, 0.9, 0.99)
    chosen = set()
    for _ in range(50):
        statistics = AlignmentStatistics(
            candidates=candidates,
            alignment=tuple(chance.normal(size=4)),
            validation_alignment=tuple(chance.normal(size=4)),
            autocorrelation=(2.0, 0.1),
            whitening=None,
            weight=5.0,
            validation_weight=0.0,
            steps=50,
            skipped_steps=0,
            dimension=10,
            sampled=10,
        )
        decision = RULE.decide(statistics, 0.9)
        assert decision == AlignmentRule().decide(statistics, 0.9)
        chosen.add(decision.momentum)
    assert len(chosen) > 1
