"""Garbage in results, rules with bugs, trials that fail, pause and start again."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from ray.tune.experiment import Trial

from gap_tune import (
    GapScheduler,
    MomentumRule,
)
from gap_tune.tune.ray_private import delivery
from tests.contracts.insides import continue_from, hidden_callbacks
from tests.tune.functions import Raises
from tests.tune.scheduled import (
    MISSING,
    NOT_A_NUMBER,
    STATISTICS,
    Always,
    Returns,
    Study,
    reported,
)

WRONG_K = STATISTICS.to_dict() | {"alignment": [1.0]}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"statistics": "{"}, "must be JSON"),
        ({"statistics": "[" * 90_000}, "must be JSON"),
        ({"statistics": "x" * 10**7}, "10000000 characters"),
        ({"statistics": None}, "NoneType"),
        ({"statistics": ["a list"]}, "list"),
        ({"statistics": json.dumps(NOT_A_NUMBER)}, "weight must be finite"),
        ({"statistics": json.dumps(WRONG_K)}, "one number per candidate"),
        ({"seq": "many"}, "gap/seq must be a whole number, but got 'many'"),
        ({"seq": float("nan")}, "gap/seq must be a whole number, but got nan"),
        ({"seq": MISSING}, "must hold 'gap/seq'"),
        ({"momentum": MISSING}, "must hold 'gap/momentum'"),
        ({"momentum": 1.5}, r"gap/momentum must be a number in [0, 1), but got 1.5"),
        ({"steps_since_change": "a"}, "gap/steps_since_change must be a whole number"),
    ],
)
def test_garbage_in_a_result_leads_to_no_decision_one_warning_and_an_error_in_the_log(
    study: Callable[..., Study],
    caplog: pytest.LogCaptureFixture,
    changes: dict[str, Any],
    why: str,
) -> None:
    s = study()
    trial = s.add()
    with caplog.at_level(logging.WARNING):
        for step in (40, 44):
            assert s.report(trial, steps=step, **changes) is None
    (warning,) = (r.message for r in caplog.records if "no decision" in r.message)
    assert "trial t0" in warning
    assert why in warning
    assert [(d.step, d.reason, d.new) for d in s.log()] == [
        (40, "error", None),
        (44, "error", None),
    ]
    assert why in s.log()[0].explanation
    # The study goes on.
    assert s.report(trial) is not None


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        (Raises(), "a bug in a user's rule"),
        (Returns(0.9), "Returns.decide must return a Decision, but got float"),
        (Returns(None), "Returns.decide must return a Decision, but got NoneType"),
    ],
)
def test_a_rule_with_a_bug_leads_to_no_decision(
    study: Callable[..., Study], caplog: pytest.LogCaptureFixture, rule: MomentumRule, why: str
) -> None:
    s = study(rule=rule)
    trials = [s.add(), s.add()]
    with caplog.at_level(logging.WARNING):
        assert [s.report(trial) for trial in trials] == [None, None]
    (warning,) = (r.message for r in caplog.records if "no decision" in r.message)
    assert why in warning
    assert [d.reason for d in s.log()] == ["error", "error"]


def test_a_trial_that_waits_at_a_mailbox_is_always_answered(
    study: Callable[..., Study], ray_address: str
) -> None:
    cases: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
        ("decision", {}, {}, "scheduler"),
        ("error", {}, {"statistics": "{"}, "scheduler"),
        ("dry", {"dry_run": True}, {}, "scheduler"),
        ("baseline", {}, {}, "fixed"),
        ("own", {}, {}, "trial"),
    ]
    for mailbox, arguments, changes, mode in cases:
        s = study(**arguments)
        trial = s.add(mode=mode)
        # What is sent by mailbox does not go to the trial's own process.
        assert s.report(trial, mailbox=mailbox, **changes) is None
        answer = delivery.wait(mailbox, 5, 0.0)
        assert answer is not None, mailbox
        assert (answer.decision is not None) is (mailbox == "decision")
        s.scheduler.on_trial_complete(s.controller, trial, {})
        assert delivery.wait(mailbox, 5, 0.0) is None, "the mailbox of an ended trial stays"


def test_a_trial_that_did_not_hear_that_it_must_fail_is_stopped(
    study: Callable[..., Study],
) -> None:
    s = study()
    trial = s.add()
    bad = reported(loss=float("nan"))
    actions = [s.scheduler.on_trial_result(s.controller, trial, dict(bad)) for _ in range(2)]
    assert actions == ["CONTINUE", "STOP"]
    # A trial that was tried again is told again.
    s.controller.start(trial)
    assert s.scheduler.on_trial_result(s.controller, trial, dict(bad)) == "CONTINUE"


def test_a_trial_with_a_mailbox_is_told_that_its_metric_is_not_finite(
    study: Callable[..., Study], ray_address: str
) -> None:
    s = study()
    s.report(s.add(), mailbox="nan", loss=float("nan"))
    answer = delivery.wait("nan", 5, 0.0)
    assert answer is not None
    assert "must be finite" in str(answer.failure)
    delivery.clear("nan")


def restart(s: Study, trial: Trial, **checkpointed: Any) -> delivery.Directive | None:
    """Start a trial from the checkpoint that came with a result."""
    continue_from(trial, s.folder, reported(**checkpointed))
    s.controller.start(trial)
    return delivery.take(trial.trial_id)


def test_a_restarted_trial_is_sent_again_what_its_process_took_with_it(
    study: Callable[..., Study],
) -> None:
    s = study()
    trial = s.add()
    sent = s.report(trial)
    s.report(trial, seq=5, momentum=0.95, steps=50)
    # Another driver, which has seen none of this, as after Tuner.restore.
    again = Study(s.folder.parent)
    other = again.add()
    assert restart(again, other) == sent == delivery.Directive(5, sent.decision)  # type: ignore[union-attr]
    lines = (s.folder / "decisions.jsonl").read_text().splitlines()
    assert [json.loads(line)["seq"] for line in lines] == [5, 6, 5]
    # The trial goes back behind what it had decided at step 50.
    assert [(line.seq, line.step) for line in s.log()] == [(5, 40)]


def test_nothing_is_sent_to_a_trial_that_starts_without_statistics_or_is_not_tuned(
    study: Callable[..., Study],
) -> None:
    s = study()
    trial = s.add()
    s.controller.start(trial)
    assert delivery.take(trial.trial_id) is None
    assert restart(s, trial, statistics=MISSING) is None
    assert restart(s, s.add(mode="fixed")) is None
    dry = study(dry_run=True)
    assert restart(dry, dry.add()) is None


def test_a_trial_that_was_paused_is_sent_its_momentum_when_it_goes_on(
    study: Callable[..., Study],
) -> None:
    s = study(scheduler=Always("PAUSE"))
    trial = s.add()
    s.report(trial, training_iteration=5)
    assert delivery.take(trial.trial_id) is None
    assert restart(s, trial, training_iteration=5) is not None


def test_a_ray_that_hides_its_callbacks_costs_one_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    trial = Trial("__fake", stub=True)
    GapScheduler().on_trial_add(SimpleNamespace(_callbacks=hidden_callbacks()), trial)
    assert "miss one decision" in caplog.text


def test_garbage_in_a_checkpoints_result_does_not_end_the_study(
    study: Callable[..., Study],
) -> None:
    s = study()
    assert restart(s, s.add(), statistics="{", seq="x") is None
    assert s.log()[0].reason == "error"


@pytest.mark.parametrize("result", [{}, {"loss": 1.0}, {"gap/mailbox": "x"}, {"gap/seq": "many"}])
@pytest.mark.parametrize("mode", ["scheduler", "trial", "fixed", None])
def test_results_that_lack_what_gap_tune_reports_end_no_study(
    study: Callable[..., Study], mode: str | None, result: dict[str, Any]
) -> None:
    s = study(pool="siblings")
    trial = s.add(mode)
    whole = {"training_iteration": 1, **result}
    assert s.scheduler.on_trial_result(s.controller, trial, whole) == "CONTINUE"
    s.scheduler.on_trial_complete(s.controller, trial, whole)
