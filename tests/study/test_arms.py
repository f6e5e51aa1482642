from __future__ import annotations

import numpy as np
import pytest

from gap_tune.errors import InvalidValueError, UnsupportedError
from gap_tune.rules import AlignmentRule, get_rule
from gap_tune.study import parse_arm
from gap_tune.study.arms import Arm
from gap_tune.study.grammar import DEMO_MOMENTA
from gap_tune.study.methods.grid import Grid
from gap_tune.testing import make_statistics

FIXED = {"gap": {"mode": "fixed"}}
MINE = "tests.tune.functions:Cycle"
VALIDATION = {"name": "alignment", "validation_weight": 1.0}


def test_arm_names_are_normalised() -> None:
    assert parse_arm(" fixed:.90") == Arm("fixed:0.9", 0.9)
    assert parse_arm("fixed:0.50|0.9|.5").name == "fixed:0.5|0.9"
    assert parse_arm("fixed:grid").search == Grid(DEMO_MOMENTA)
    assert parse_arm("optuna:16").name == "optuna:16"
    assert parse_arm("nesterov:.90").name == "nesterov:0.9"
    assert parse_arm(" warmup:0.50") == Arm("warmup:0.5", 0.5, warmup_steps=50)


@pytest.mark.parametrize(
    ("name", "family", "expected"),
    [
        ("gap", "sgd", {}),
        ("gap-trial", "sgd", {"gap": {"mode": "trial"}}),
        ("gap-validation", "adamw", {"validation_every": 4, "gap": {"rule": VALIDATION}}),
        ("gap-paper", "sgd", {"gap": {"mode": "trial", "rule": "paper"}}),
        ("gap-cross-batch", "sgd", {"gap": {"rule": "cross-batch"}}),
        ("gap-trial-cross-batch", "sgd", {"gap": {"mode": "trial", "rule": "cross-batch"}}),
        (MINE, "adamw", {"gap": {"rule": MINE}}),
        (f"gap-{MINE}", "sgd", {"gap": {"rule": MINE}}),
        (f"gap-trial-{MINE}", "sgd", {"gap": {"mode": "trial", "rule": MINE}}),
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
        ("hypergradient", "adamw", {"family": "hypergradient-adamw", **FIXED}),
        ("dadapt", "sgd", {"family": "dadapt", **FIXED}),
        ("dadapt", "adamw", {"family": "dadapt-adamw", **FIXED}),
        ("adaptive-memory", "sgd", {"family": "adaptive-memory", **FIXED}),
        ("adaptive-memory", "adamw", {"family": "adaptive-memory-adamw", **FIXED}),
        ("nesterov", "sgd", {"family": "nesterov", **FIXED}),
        ("nesterov:0.8", "sgd", {"momentum": 0.8, "family": "nesterov", **FIXED}),
        ("nesterov:0.8", "adamw", {"momentum": 0.8, "family": "nesterov-adamw", **FIXED}),
        ("warmup:0", "sgd", {"momentum": 0.0, "warmup_steps": 50}),
        ("warmup:0.9", "adamw", {"momentum": 0.9, "warmup_steps": 50}),
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
        ("gap-", "arm must be one of"),
        ("gap-pauper", r"'gap-<rule>' or 'gap-trial-<rule>' with a rule of \['alignment', 'cross-"),
        ("paper", "arm must be one of"),
        ("gap-schedule", r"the rule 'schedule' must be given \['steps', 'momenta'\]"),
        ("optuna:8:8", "trials of the arm optuna must be an integer of at least 1, but got '8:8'"),
        ("optuna:0", "trials of the arm optuna must be an integer of at least 1, but got 0"),
        ("asha:many", "trials of the arm asha must be an integer of at least 1, but got 'many'"),
        ("pbt:1", "trials of the arm pbt must be an integer of at least 2, but got 1"),
        ("warmup", "arm must be one of"),
        ("warmup:", r"momentum of the arm warmup must be a number in \[0, 1\), but got nan"),
        ("warmup:1", r"momentum of the arm warmup must be a number in \[0, 1\), but got 1.0"),
        ("nesterov:0", r"momentum of the arm nesterov must be a number in \(0, 1\), but got 0.0"),
        ("fixed:1", r"momentum of a fixed arm must be a number in \[0, 1\), but got 1.0"),
        ("fixed:0.5|1", r"momentum of a fixed arm must be a number in \[0, 1\), but got 1.0"),
        ("fixed:0.5|", r"momentum of a fixed arm must be a number in \[0, 1\), but got nan"),
    ],
)
def test_an_unknown_arm_is_refused(name: str, complaint: str) -> None:
    with pytest.raises(InvalidValueError, match=complaint):
        parse_arm(name)


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        (
            "nowhere:Rule",
            "must name a class that can be imported, but got: No module named 'nowhere'",
        ),
        ("gap-tests.tune.functions:Nothing", "has no attribute 'Nothing'"),
        ("tests.tune.functions:quadratic", r"'tests.tune.functions:quadratic' must be given"),
        ("collections:Counter", "must be a MomentumRule, but got Counter"),
    ],
)
def test_an_import_path_that_leads_to_no_rule_is_refused(name: str, complaint: str) -> None:
    with pytest.raises((InvalidValueError, UnsupportedError), match=complaint):
        parse_arm(name)


def test_an_arm_owns_its_rule() -> None:
    assert parse_arm("gap").rule is parse_arm("gap-trial").rule is None
    validation = parse_arm("gap-validation").rule
    assert validation is not None
    assert vars(get_rule(validation)) == vars(AlignmentRule(validation_weight=1.0))
    # Of arms that nobody tunes, it takes no part.
    calm = {"name": "alignment", "hysteresis": 0.05}
    assert Arm("mine", rule=calm).configuration() == {"arm": "mine", "gap": {"rule": calm}}
    assert Arm("mine", 0.9, rule=calm).configuration() == {"arm": "mine", "momentum": 0.9}
    assert Arm("mine", family="switch", rule=calm).configuration()["gap"] == {"mode": "fixed"}
    assert len({Arm("mine", rule=calm), Arm("mine", rule=dict(calm))}) == 1
    with pytest.raises(InvalidValueError, match="options of the rule 'paper' must be among"):
        Arm("mine", rule={"name": "paper", "speed": 3})


def test_the_search_of_an_arm_is_a_method_not_its_name() -> None:
    with pytest.raises(UnsupportedError, match="must be a SearchMethod, but got 'optuna'"):
        Arm("mine", search="optuna")  # type: ignore[arg-type]


def test_held_out_gradients_of_an_arm_without_a_rule_are_not_taken_in_vain() -> None:
    assert Arm("mine", validation_every=2).rule == VALIDATION
    assert Arm("mine", validation_every=2, rule="paper").rule == "paper"


def test_the_rule_of_gap_validation_decides_by_default_where_no_gradients_are_held_out() -> None:
    rule = get_rule(parse_arm("gap-validation").rule or "")
    chance = np.random.default_rng(0)
    candidates = (0.5, 0.8, 0.9, 0.99)
    chosen = set()
    for _ in range(50):
        statistics = make_statistics(
            candidates,
            alignment=tuple(chance.normal(size=4)),
            validation_alignment=tuple(chance.normal(size=4)),
            autocorrelation=(2.0, 0.1),
            weight=5.0,
        )
        decision = rule.decide(statistics, 0.9)
        assert decision == AlignmentRule().decide(statistics, 0.9)
        chosen.add(decision.momentum)
    assert len(chosen) > 1
