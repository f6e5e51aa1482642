"""The mailbox in which directives wait for processes that a trial has started."""

from __future__ import annotations

from typing import Any

from ray.tune.experiment import Trial

from gap_tune import Decision, Reason
from gap_tune.tune.ray_private import delivery


def test_a_mailbox_keeps_a_directive_until_it_is_cleared(ray_address: str) -> None:
    trial = running_trial()
    sent = delivery.Directive(3, Decision(0.9, 0.8, Reason.BEST_GAIN, "Best."))
    assert delivery.send(trial, sent, mailbox="box")
    assert delivery.wait("box", 2, 0.0) is None
    assert delivery.wait("box", 3, 0.0) == delivery.wait("box", 3, 0.0) == sent
    delivery.clear("box")
    assert delivery.wait("box", 3, 0.05) is None


def test_a_failure_reaches_whoever_waits_for_a_decision(ray_address: str) -> None:
    failure = delivery.Directive(0, failure="loss is NaN")
    delivery.send(running_trial(), failure, mailbox="failing")
    assert delivery.wait("failing", 7, 1.0) == failure
    delivery.clear("failing")


def running_trial() -> Any:
    trial = Trial("__fake", stub=True)
    trial.temporary_state.ray_actor = object()
    return trial
