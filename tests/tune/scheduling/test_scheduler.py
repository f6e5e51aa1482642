"""What the scheduler decides, sends and records; trials are Ray's own, without processes."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from ray.tune.schedulers import (
    ASHAScheduler,
    HyperBandForBOHB,
    PopulationBasedTraining,
    PopulationBasedTrainingReplay,
    ResourceChangingScheduler,
    TrialScheduler,
)
from ray.tune.schedulers.pb2 import PB2

from gap_tune import (
    AlignmentRule,
    Decision,
    FixedMomentum,
    GapScheduler,
    Reason,
    TrustRegion,
)
from gap_tune.errors import InvalidValueError, UnsupportedError
from gap_tune.tune.ray_private import delivery
from gap_tune.tune.scheduling.wrapping import SchedulerWrapper
from tests.tune.scheduled import (
    STATISTICS,
    Always,
    Keeps,
    Returns,
    Study,
    reported,
)


def test_a_tuned_trial_is_sent_the_rules_decision_and_it_is_logged(
    study: Callable[..., Study],
) -> None:
    s = study()
    directive = s.report(s.add())
    expected = AlignmentRule().decide(STATISTICS, 0.9)
    assert directive == delivery.Directive(5, expected)
    (line,) = s.log()
    assert (line.trial, line.step, line.seq, line.old, line.new) == ("t0", 40, 5, 0.9, 0.95)
    assert line.gains == pytest.approx(expected.gains, rel=1e-5)
    assert (line.candidates, line.reason) == (expected.candidates, "best gain")
    assert (line.mode, line.dry_run) == ("scheduler", False)


@pytest.mark.parametrize("action", ["STOP", "PAUSE"])
def test_a_trial_that_does_not_continue_is_sent_nothing(
    study: Callable[..., Study], action: str
) -> None:
    s = study(scheduler=Always(action))
    assert s.report(s.add()) is None
    assert not (s.folder / "decisions.jsonl").exists()


def test_the_last_result_is_not_decided_twice(study: Callable[..., Study]) -> None:
    s = study()
    trial = s.add()
    s.report(trial)
    # Ray repeats it with this mark when the training function has returned.
    assert s.report(trial, done=True) is None
    assert len((s.folder / "decisions.jsonl").read_text().splitlines()) == 1


def test_a_change_that_comes_too_early_is_not_made_and_says_so(
    study: Callable[..., Study],
) -> None:
    s = study(min_steps=11)
    trial = s.add()
    assert s.report(trial) is None
    assert trial.last_result["gap/reason"] == s.log()[0].reason == "rate limit"
    why = "10 of 11 steps since the last change, so 0.9 stays."
    assert trial.last_result["gap/decision"] == s.log()[0].explanation == why


def test_a_decision_that_changes_nothing_is_shown_but_costs_no_message(
    ray_address: str, study: Callable[..., Study]
) -> None:
    s = study(rule=Keeps())
    trial = s.add()
    assert s.report(trial) is None
    assert trial.last_result["gap/reason"] == s.log()[0].reason == "fixed"
    # Whoever waits for an answer gets one.
    assert s.report(trial, mailbox="box") is None
    assert delivery.wait("box", 5, 0.0) == delivery.Directive(5)
    delivery.clear("box")


def test_a_result_shows_the_decision_on_itself_and_no_older_one(
    study: Callable[..., Study],
) -> None:
    s = study()
    trial = s.add()
    s.report(trial)
    assert trial.last_result["gap/reason"] == "best gain"
    s.report(trial, statistics="{", steps=50)
    assert "gap/reason" not in trial.last_result
    assert [line.reason for line in s.log()] == ["best gain", "error"]


@pytest.mark.parametrize(("old", "new"), [(0.9, 0.95), (0.95, 0.9)])
@pytest.mark.parametrize(("dead_band", "held"), [(0.0, False), (0.9, False), (1.1, True)])
def test_the_dead_band_holds_small_changes_of_the_horizon_in_both_directions(
    old: float, new: float, dead_band: float, held: bool
) -> None:
    rule = Returns(Decision(new, old, Reason.BEST_GAIN, "It is best."))
    decision = GapScheduler(rule=rule, dead_band=dead_band).decide(reported(momentum=old))
    # Horizons 10 and 20: one is longer than the other by all of the shorter.
    assert decision.momentum == (old if held else new)
    assert (decision.reason == Reason.DEAD_BAND) is held
    if held:
        assert f"so {old} stays: It is best." in decision.explanation


def test_a_dry_run_records_and_sends_nothing(study: Callable[..., Study]) -> None:
    s = study(dry_run=True)
    assert s.report(s.add()) is None
    (line,) = s.log()
    assert (line.new, line.dry_run) == (0.95, True)


def test_baselines_are_left_alone_and_not_logged(study: Callable[..., Study]) -> None:
    s = study()
    assert s.report(s.add(mode="fixed")) is None
    assert not (s.folder / "decisions.jsonl").exists()


def test_decisions_of_optimizers_that_tune_themselves_are_logged_once(
    study: Callable[..., Study],
) -> None:
    s = study()
    trial = s.add(mode="trial")
    own = {"reason": "best gain", "decision": "Better."}
    for seq, momentum in ((0, 0.9), (3, 0.95), (3, 0.95), (4, 0.8)):
        assert s.report(trial, seq=seq, momentum=momentum, **own) is None
    assert [(d.seq, d.old, d.new, d.reason, d.explanation, d.mode) for d in s.log()] == [
        (3, 0.9, 0.95, "best gain", "Better.", "trial"),
        (4, 0.95, 0.8, "best gain", "Better.", "trial"),
    ]


def test_bug_a_first_decision_that_follows_a_look_at_the_last_result_knows_the_old_momentum(
    study: Callable[..., Study],
) -> None:
    s = study()
    trial = s.add(mode="trial")
    # As Ray's own table does, after which the trial seems to have reported.
    assert trial.last_result == {"trial_id": trial.trial_id}
    s.report(trial, seq=1, momentum=0.95, reason="best gain", decision="Better.")
    assert [(d.old, d.new) for d in s.log()] == [(0.9, 0.95)]


def test_every_question_is_passed_on_to_the_wrapped_scheduler() -> None:
    asked = {
        name
        for name in vars(TrialScheduler)
        if not name.startswith("_") and not name.isupper() and name != "supports_buffered_results"
    }
    assert asked <= set(vars(SchedulerWrapper))
    inner = ASHAScheduler(metric="loss", mode="min", grace_period=1, max_t=9)
    scheduler = GapScheduler(inner)
    assert scheduler.metric == "loss"
    assert scheduler.supports_buffered_results is False
    assert inner.debug_string() in scheduler.debug_string()


def test_a_scheduler_in_use_can_be_saved(study: Callable[..., Study]) -> None:
    s = study(scheduler=ASHAScheduler(), pool="siblings")
    for seed in range(2):
        s.report(s.add(seed=seed), training_iteration=1)
    loaded = pickle.loads(pickle.dumps(s.scheduler))
    assert loaded.decide(reported()) == s.scheduler.decide(reported())
    assert len(pickle.dumps(s.controller.callbacks)) < 1000


def test_schedulers_that_cannot_be_wrapped_are_refused_with_what_to_do_instead(
    tmp_path: Path,
) -> None:
    policy = tmp_path / "pbt_policy.txt"
    policy.write_text('["a", "b", 1, 2, {"lr": 1}, {"lr": 2}]\n')
    pbt = PopulationBasedTraining(hyperparam_mutations={"lr": [0.1]})
    bounded: tuple[Any, ...] = ()
    with suppress(RuntimeError):  # Ray 2.50's needs a library that nothing else does.
        bounded = ((PB2(hyperparam_bounds={"lr": [0.1, 0.2]}), "run it as a study of its own"),)
    for scheduler, instead in (
        *bounded,
        (HyperBandForBOHB(), "use ASHAScheduler"),
        (PopulationBasedTrainingReplay(str(policy)), "MomentumSchedule.from_decisions"),
        (ResourceChangingScheduler(pbt), "run it as a study of its own"),
        (GapScheduler(), "pass it to tune.TuneConfig as it is"),
        (ResourceChangingScheduler(GapScheduler()), "pass it to tune.TuneConfig as it is"),
    ):
        with pytest.raises(UnsupportedError, match=instead):
            GapScheduler(scheduler)
    GapScheduler(ResourceChangingScheduler(ASHAScheduler()))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pool": "all"}, "pool must be None or 'siblings', but got 'all'"),
        ({"dead_band": -0.1}, "dead_band must be a number"),
        ({"min_steps": 0}, "min_steps must be an integer of at least 1"),
    ],
)
def test_options_out_of_range_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidValueError, match=message):
        GapScheduler(**arguments)


def test_learning_rates_of_a_dry_run_stay(study: Callable[..., Study]) -> None:
    assert region_of(study(dry_run=True)) == TrustRegion.off()
    assert region_of(study(dry_run=True), rule="alignment") == TrustRegion.off()
    # What a configuration names was asked for.
    asked = TrustRegion(span=3)
    assert region_of(study(dry_run=True), trust_region=asked.to_dict()) == asked


def test_learning_rates_stay_where_the_scheduler_s_rule_wants_them_to(
    study: Callable[..., Study],
) -> None:
    assert region_of(study(rule=AlignmentRule.paper())) == TrustRegion.off()
    assert region_of(study(rule=FixedMomentum())) == TrustRegion.off()
    assert region_of(study()) is None
    assert region_of(study(rule=FixedMomentum()), rule="alignment") is None
    assert region_of(study(rule=FixedMomentum()), mode="fixed") is None
    assert region_of(study(rule=FixedMomentum()), mode="trial") is None


def test_bug_workers_in_a_trial_did_not_learn_that_their_learning_rate_stays(
    study: Callable[..., Study],
) -> None:
    own = {"mode": "scheduler", "scheduled": False}
    config = {"gap": dict(own), "train_loop_config": {"momentum": 0.9, "gap": dict(own)}}
    trial = study(dry_run=True).add(**config)
    inside = trial.config["train_loop_config"]["gap"]
    assert inside == trial.config["gap"] == {**own, "scheduled": True, "trust_region": {"span": 1}}


def test_only_sections_that_ask_are_told_that_there_is_a_scheduler(
    study: Callable[..., Study],
) -> None:
    # By hand, without GapSearch, nobody has to be told.
    assert "scheduled" not in study().add(gap={"mode": "scheduler"}).config["gap"]
    fixed = study().add(gap={"mode": "fixed", "scheduled": False})
    assert fixed.config["gap"]["scheduled"] is False


def region_of(study: Study, mode: str = "scheduler", **section: Any) -> TrustRegion | None:
    """Return the trust region in the section of a trial that the scheduler was told of."""
    trial = study.add(gap={"mode": mode, **section})
    named = trial.config["gap"].get("trust_region")
    return None if named is None else TrustRegion.of(named)
