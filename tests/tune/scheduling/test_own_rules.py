"""Trials with rules of their own: the scheduler, the trial and the searcher go by the same one."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from ray import tune
from ray.tune.experiment import Trial
from ray.tune.search.optuna import OptunaSearch

import gap_tune.optim
from gap_tune import AlignmentRule, FixedMomentum, GapSearch, attach
from gap_tune.errors import InvalidValueError, UnsupportedError
from gap_tune.study.methods.plan import PlannedTrials
from gap_tune.tune import keys, read_decisions
from gap_tune.tune.ray_private import delivery
from tests.tune.alone import train, weight
from tests.tune.conftest import Run
from tests.tune.functions import Cycle
from tests.tune.ray_private.test_naming import first_trial
from tests.tune.scheduled import OTHER, STATISTICS, Keeps, Study
from tests.tune.scheduling.test_scheduler_faults import restart
from tests.tune.searching import Listed

HALF = {"name": "schedule", "steps": [0], "momenta": [0.5]}
CYCLE = "tests.tune.functions:Cycle"


class Counts(FixedMomentum):
    """Counts how often it is made."""

    made = 0

    def __init__(self) -> None:
        type(self).made += 1


def with_rule(rule: Any, mode: str = "scheduler") -> dict[str, Any]:
    return {"gap": {"mode": mode, "rule": rule}}


def test_each_trial_is_decided_by_its_own_rule_else_by_the_schedulers(
    study: Callable[..., Study],
) -> None:
    s = study(rule=Cycle())
    rules = (None, "alignment", HALF, "fixed", CYCLE)
    sent = [s.report(s.add(**with_rule(rule))) for rule in rules]
    momenta = [d and d.decision and d.decision.momentum for d in sent]
    assert momenta == [0.5, 0.95, 0.5, None, 0.5]
    assert [line.reason for line in s.log()] == [
        "best gain",
        "best gain",
        "schedule",
        "fixed",
        "best gain",
    ]
    assert sent[1] == delivery.Directive(5, AlignmentRule().decide(STATISTICS, 0.9))


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ("pauper", "rule must be one of ['alignment', 'cross-batch',"),
        ({"hysteresis": 0.1}, "rule must be a name, or a mapping"),
        ({"name": "paper", "speed": 3}, "options of the rule 'paper' must be among"),
        ("nowhere:Rule", "No module named 'nowhere'"),
        ("tests.tune.functions:quadratic", "must be given ['config']"),
        (7, "but got 7."),
    ],
)
def test_an_unknown_rule_is_an_error_in_the_log_and_the_trial_goes_on(
    study: Callable[..., Study], caplog: pytest.LogCaptureFixture, rule: Any, why: str
) -> None:
    s = study()
    trial, other = s.add(**with_rule(rule)), s.add()
    with caplog.at_level(logging.WARNING):
        for step in (40, 44):
            assert s.report(trial, steps=step) is None
    assert [(d.step, d.reason, d.new) for d in s.log()] == [
        (40, "error", None),
        (44, "error", None),
    ]
    assert why in s.log()[0].explanation
    assert s.log()[0].explanation.endswith((".", "?"))
    (warning,) = (r.message for r in caplog.records if "no decision" in r.message)
    assert "trial t0" in warning
    # Neither the others nor the trial's end are disturbed.
    assert s.report(other) is not None
    s.scheduler.on_trial_complete(s.controller, trial, {})


def test_a_restarted_trial_is_sent_what_its_own_rule_had_decided(
    study: Callable[..., Study],
) -> None:
    s = study()
    trial = s.add(**with_rule(HALF))
    sent = s.report(trial)
    assert sent is not None
    again = Study(s.folder.parent)
    assert restart(again, again.add(**with_rule(HALF))) == sent


def test_a_rule_is_made_once_whatever_the_number_of_results(study: Callable[..., Study]) -> None:
    s = study()
    trials = [s.add(**with_rule(f"{__name__}:Counts")) for _ in range(3)]
    for trial in trials * 3:
        s.report(trial)
    assert Counts.made == 1
    assert {line.reason for line in s.log()} == {"fixed"}


def test_trials_of_different_rules_are_no_siblings(study: Callable[..., Study]) -> None:
    rule = Keeps()
    s = study(pool="siblings", rule=rule)
    own = s.add(seed=0)
    for seed, other in enumerate(("fixed", "paper"), 1):
        stranger = s.add(seed=seed, **with_rule(other))
        s.report(stranger, statistics=json.dumps(OTHER.to_dict()), steps=50)
    s.report(own)
    assert rule.asked[-1] == STATISTICS
    one, two = (s.add(seed=seed, **with_rule("fixed")) for seed in (5, 6))
    s.report(one)
    s.report(two)
    assert two.last_result["gap/decision"].endswith("Pooled over 3 trials.")


def attached(named: Any, mode: str = "trial", **options: Any) -> list[float]:
    optimizer = torch.optim.SGD([weight()], lr=0.01, momentum=0.9)
    attach(optimizer, {"momentum": 0.9, **with_rule(named, mode)}, sample=None, **options)
    return train(optimizer, 12)


def test_a_trial_that_decides_itself_goes_by_the_rule_of_its_configuration() -> None:
    assert attached(HALF)[2:] == pytest.approx([0.5] * 10)
    assert attached("fixed") == [0.9] * 12
    assert attached(None) == attached("alignment")
    # An argument wins, and then nothing is looked up.
    assert attached(HALF, rule=FixedMomentum()) == [0.9] * 12
    assert attached("pauper", rule=FixedMomentum()) == [0.9] * 12


def test_a_rule_that_a_trial_cannot_go_by_is_refused_when_it_attaches() -> None:
    with pytest.raises(InvalidValueError, match="rule must be one of"):
        attached("pauper")
    with pytest.raises(UnsupportedError, match="No module named 'nowhere'"):
        attached("nowhere:Rule")
    # Nobody asks a baseline's.
    assert attached("pauper", mode="fixed") == [0.9] * 12


def test_a_self_tuning_optimizer_refuses_a_rule_that_it_would_not_go_by() -> None:
    optimizer = gap_tune.optim.SGD([weight()], lr=0.01, momentum=0.9)
    complaint = r"must be given to SGD itself, but got \['config\[\"gap\"\]\[\"rule\"\]'\]"
    with pytest.raises(InvalidValueError, match=complaint):
        attach(optimizer, {"momentum": 0.9, **with_rule("paper", "trial")})


def section_of(search: GapSearch, space: dict[str, Any], folder: Path) -> tuple[Trial, Any]:
    trial = first_trial(search, space, folder)
    return trial, keys.section(trial.config)


@pytest.mark.parametrize("rule", ["paper", HALF])
def test_the_section_passes_the_rule_on_and_names_stay_short(tmp_path: Path, rule: Any) -> None:
    space = {"lr": tune.loguniform(1e-3, 1.0), "gap": {"rule": rule}}
    trial, section = section_of(GapSearch(OptunaSearch(seed=0)), space, tmp_path)
    assert (section["mode"], section["rule"]) == ("scheduler", rule)
    assert "rule" not in trial.experiment_tag
    assert "schedule" not in trial.experiment_tag
    assert "rule" not in json.dumps(trial.evaluated_params)
    planned = PlannedTrials([{"gap": {"rule": rule}}])
    assert section_of(GapSearch(planned), {"lr": 0.1}, tmp_path)[1]["rule"] == rule


def test_rules_and_their_options_may_be_searched(tmp_path: Path) -> None:
    space: dict[str, Any] = {"gap": {"rule": tune.choice(["paper"])}}
    assert section_of(GapSearch(OptunaSearch()), space, tmp_path)[1]["rule"] == "paper"
    options = {"name": "alignment", "hysteresis": tune.uniform(0.1, 0.2)}
    for space in ({"gap": {"rule": options}}, {"o": {"gap": {"rule": options}}}):
        momentum = "o/momentum" if "o" in space else "momentum"
        search = GapSearch(OptunaSearch(seed=0), momentum=momentum)
        rule = section_of(search, space, tmp_path)[1]["rule"]
        assert rule["name"] == "alignment"
        assert 0.1 <= rule["hysteresis"] <= 0.2


@pytest.mark.parametrize("place", ["outside", "inside"])
def test_both_sections_of_a_nested_configuration_name_the_rule(tmp_path: Path, place: str) -> None:
    section = {"gap": {"rule": HALF}}
    space: dict[str, Any] = {"o": {"lr": 0.1, **(section if place == "inside" else {})}}
    space |= section if place == "outside" else {}
    search = GapSearch(Listed({}, {}), momentum="o/momentum")
    trial, _ = section_of(search, space, tmp_path)
    # The scheduler reads the one, the workers of a trainer the other.
    assert trial.config["gap"]["rule"] == trial.config["o"]["gap"]["rule"] == HALF
    restored = GapSearch(Listed({}, {}), momentum="o/momentum")
    restored.set_state(search.get_state())
    assert restored.suggest("a") == search.suggest("a")
    old = {name: v for name, v in search.get_state().items() if name != "rule_of_all"}
    GapSearch(Listed(), momentum="o/momentum").set_state(old)


def test_one_study_has_arms_of_different_rules(run: Run, tmp_path: Path) -> None:
    rules: dict[str, Any] = {
        "default": None,
        "half": HALF,
        "cycle": CYCLE,
        "unknown": "pauper",
        "trial": HALF,
    }
    plan = [{"arm": arm, "epochs": 3, "gap": {"rule": rule}} for arm, rule in rules.items()]
    plan[-1]["gap"]["mode"] = "trial"
    scheduler = gap_tune.GapScheduler(rule=FixedMomentum())
    grid = run(plan, scheduler=scheduler, at_once=1)
    assert not grid.errors
    arms = {r.metrics["trial_id"]: r.config["arm"] for r in grid}  # type: ignore[index]
    made: dict[str, list[Any]] = {arm: [] for arm in rules}
    for line in read_decisions(tmp_path / "run"):
        made[arms[line.trial]].append(line)
    assert [(d.reason, d.new) for d in made["default"]] == [("fixed", 0.9)] * 3
    assert [(d.reason, d.new) for d in made["half"]] == [("schedule", 0.5)] * 3
    assert [d.new for d in made["cycle"]] == [0.5, 0.99, 0.8]
    assert {(d.reason, d.new) for d in made["unknown"]} == {("error", None)}
    assert "rule must be one of" in made["unknown"][0].explanation
    assert [(d.mode, d.new) for d in made["trial"]] == [("trial", 0.5)]
    # What was decided is what trained.
    used = {r.config["arm"]: r.metrics_dataframe["used"].to_list() for r in grid}  # type: ignore
    assert used["default"] == used["unknown"] == [0.9, 0.9, 0.9]
    assert used["half"] == [0.9, 0.5, 0.5]
    assert used["cycle"] == [0.9, 0.5, 0.99]
