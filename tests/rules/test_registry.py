"""Rules by name: parsed, written, and found elsewhere."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gap_tune import (
    AlignmentRule,
    AlignmentStatistics,
    Decision,
    FixedMomentum,
    MomentumRule,
    MomentumSchedule,
)
from gap_tune.errors import GapTuneError, InvalidValueError, UnsupportedError
from gap_tune.rules import describe_rule, get_rule, is_rule_name, registry, rule_names
from gap_tune.rules.registry import known_rule

HERE = "tests.rules.test_registry"


class Calm(FixedMomentum):
    """A user's rule with options."""

    def __init__(self, wait: int, *, low: float = 0.5) -> None:
        self.wait, self.low = wait, low


class Forgetful(FixedMomentum):
    def __init__(self, wait: int = 3) -> None:
        self.patience = wait


class NoRule:
    def decide(self, statistics: AlignmentStatistics, momentum: float) -> Decision:
        raise NotImplementedError


class Broken(FixedMomentum):
    def __init__(self) -> None:
        raise RuntimeError("out\nof order")


NOT_A_CLASS = {"wait": 3}


@pytest.mark.parametrize(
    ("spec", "rule"),
    [
        ("alignment", AlignmentRule()),
        ("paper", AlignmentRule.paper()),
        ("cross-batch", AlignmentRule.cross_batch()),
        ("fixed", FixedMomentum()),
        ({"name": "alignment"}, AlignmentRule()),
        ({"name": "paper", "low": 0.5}, AlignmentRule(1.0, low=0.5)),
        ({"name": "alignment", "hysteresis": np.float32(0.25)}, AlignmentRule(hysteresis=0.25)),
        (
            {"name": "schedule", "steps": (0, np.int64(9)), "momenta": [0.9, 0.5]},
            MomentumSchedule([0, 9], [0.9, 0.5]),
        ),
        ({"name": f"{HERE}:Calm", "wait": 3}, Calm(3)),
        ("gap_tune.rules:AlignmentRule.paper", AlignmentRule.paper()),
    ],
)
def test_a_name_with_options_is_a_rule(spec: Any, rule: MomentumRule) -> None:
    found = get_rule(spec)
    assert vars(found) == vars(rule)
    assert isinstance(found, MomentumRule)
    # It is asked for at every result.
    assert get_rule(spec) is found


@pytest.mark.parametrize(
    ("rule", "spec"),
    [
        (AlignmentRule(), "alignment"),
        (AlignmentRule.paper(), {"name": "alignment", "lag_zero_weight": 1.0}),
        (AlignmentRule.cross_batch(), {"name": "alignment", "lag_zero_weight": None}),
        (
            AlignmentRule(low=0.5, warmup_steps=9),
            {"name": "alignment", "low": 0.5, "warmup_steps": 9},
        ),
        (FixedMomentum(), "fixed"),
        (MomentumSchedule([0], [0.9]), {"name": "schedule", "steps": [0], "momenta": [0.9]}),
        (Calm(3), {"name": f"{HERE}:Calm", "wait": 3}),
        (Calm(3, low=0.0), {"name": f"{HERE}:Calm", "wait": 3, "low": 0.0}),
    ],
)
def test_a_rule_survives_being_written_as_json(rule: MomentumRule, spec: Any) -> None:
    assert describe_rule(rule) == spec
    again = get_rule(json.loads(json.dumps(describe_rule(rule))))
    assert vars(pickle.loads(pickle.dumps(again))) == vars(rule)


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        (
            "pauper",
            "rule must be one of ['alignment', 'cross-batch', 'fixed', 'horizon', 'paper', "
            "'schedule']",
        ),
        ("", "but got ''"),
        (3, 'rule must be a name, or a mapping with a "name" and options'),
        (AlignmentRule(), "but got AlignmentRule("),
        ({"hysteresis": 0.1}, "but got {'hysteresis': 0.1}"),
        ({"name": ["paper"]}, "rule must be a name"),
        ({"name": "paper", "lag_zero_weight": 0.5}, "but got ['lag_zero_weight']"),
        ({"name": "fixed", "low": 0.5}, "options of the rule 'fixed' must be among []"),
        ({"name": "alignment", 3: 0.5}, "but got ['3']"),
        ({"name": "alignment", "low": 2}, "low must be a number in [0, 1), but got 2"),
        ({"name": "alignment", "low": {0.5}}, "must be plain JSON values, but got {'name': 'align"),
        ("schedule", "the rule 'schedule' must be given ['steps', 'momenta'], but got no options"),
        ({"name": "schedule", "steps": 0, "momenta": 0.9}, "must be one that its options make"),
        ("nowhere:Rule", "but got: No module named 'nowhere'."),
        ("nowhere:", "but got: No module named 'nowhere'."),
        (":Rule", "but got: Empty module name."),
        (f"{HERE}:Nothing", "has no attribute 'Nothing'."),
        (f"{HERE}:NOT_A_CLASS", "must name a class, but got dict."),
        (f"{HERE}:NoRule", "must be a MomentumRule, but got NoRule."),
        (f"{HERE}:Broken", "RuntimeError('out\\nof order')"),
        ("gap_tune.rules:MomentumRule", "abstract"),
    ],
)
def test_what_is_no_rule_is_refused_in_one_sentence(spec: Any, complaint: str) -> None:
    for _ in range(2):
        with pytest.raises(GapTuneError) as caught:
            get_rule(spec)
        assert complaint in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "code", ["1 +", "import nothing_of_that_name", "raise KeyError('a\\n b')", "exit(3)"]
)
def test_a_module_with_a_bug_is_refused_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: str
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "a_module_with_a_bug.py").write_text(code)
    with pytest.raises(UnsupportedError, match="must name a class that can be imported") as caught:
        get_rule("a_module_with_a_bug:Rule")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("rule", "complaint"),
    [
        (Forgetful(), "must keep each argument of its constructor as an attribute"),
        (Calm({1, 2}), r"plain JSON values, but got Calm\(\)"),  # type: ignore[arg-type]
        (NoRule(), "rule must be a MomentumRule, but got NoRule"),
        (AlignmentRule, "rule must be a MomentumRule, but got ABCMeta"),
    ],
)
def test_a_rule_that_cannot_be_written_is_refused(rule: Any, complaint: str) -> None:
    with pytest.raises(GapTuneError, match=complaint):
        describe_rule(rule)


def test_a_rule_that_nobody_else_can_import_is_refused() -> None:
    class Local(FixedMomentum):
        pass

    with pytest.raises(UnsupportedError, match="must name a class that can be imported"):
        describe_rule(Local())


def test_an_entry_point_gives_a_rule_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not is_rule_name("calm")
    # Entry points are looked up once in a process, so that no other test may use the name.
    name = "calm-by-entry-point"
    points = EntryPoints(
        [
            EntryPoint(name, f"{HERE}:Calm", registry.ENTRY_POINTS),
            # gap_tune's own names stay what they are.
            EntryPoint("paper", f"{HERE}:Calm", registry.ENTRY_POINTS),
        ]
    )
    monkeypatch.setattr(registry, "entry_points", lambda **chosen: points.select(**chosen))
    assert is_rule_name(name)
    assert vars(get_rule({"name": name, "wait": 2})) == vars(Calm(2))
    with pytest.raises(InvalidValueError, match=rf"the rule '{name}' must be given \['wait'\]"):
        get_rule(name)
    assert isinstance(get_rule("paper"), AlignmentRule)


def test_a_class_that_is_defined_anew_is_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = {"name": f"{HERE}:Calm", "wait": 7}
    assert type(get_rule(spec)) is Calm

    class Other(Calm):
        pass

    # As a notebook does.
    monkeypatch.setitem(globals(), "Calm", Other)
    assert type(get_rule(spec)) is Other


def test_the_order_of_options_makes_no_other_rule() -> None:
    one, other = {"name": "alignment", "low": 0.1, "high": 0.9}, {"high": 0.9, "low": 0.1}
    assert get_rule(one) is get_rule({**other, "name": "alignment"})


def test_a_path_to_import_is_the_name_of_a_rule() -> None:
    assert is_rule_name(f"{HERE}:Calm")
    assert not is_rule_name("fixed:0.9")


def test_of_a_rule_that_is_not_here_the_default_is_known() -> None:
    assert known_rule("of another machine") is known_rule(None)
    assert isinstance(known_rule("fixed"), FixedMomentum)


def test_every_name_of_the_package_is_known_without_importing_anything_else() -> None:
    assert rule_names() == ["alignment", "cross-batch", "fixed", "horizon", "paper", "schedule"]
    assert all(map(is_rule_name, rule_names()))


def test_a_rule_of_the_package_registers_itself() -> None:
    # In a process of its own: what is registered stays.
    code = (
        "from gap_tune.rules import describe_rule, get_rule, registry\n"
        f"from {HERE} import Calm\n"
        'registry.register("wait")(registry.register("wait-nine", wait=9)(Calm))\n'
        'made = get_rule({"name": "wait-nine", "low": 0.1})\n'
        "assert vars(made) == vars(Calm(9, low=0.1))\n"
        'assert describe_rule(Calm(3)) == {"name": "wait", "wait": 3}\n'
    )
    subprocess.run([sys.executable, "-c", code], check=True)
