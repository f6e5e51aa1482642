"""What is installed into Ray's controller: replaced, not added to, and cleared up."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from ray import tune
from ray.tune.callback import CallbackList
from ray.tune.experiment import Trial

from gap_tune.tune import watching


def test_an_installed_call_replaces_the_one_before_and_leaves_the_users_list_alone() -> None:
    class Controller:
        def __init__(self, callbacks: list[tune.Callback]) -> None:
            self._callbacks = CallbackList(callbacks)

    mine = [tune.Callback()]
    controller, called = Controller(mine), []
    for name in ("first", "second"):
        assert watching.watch_trials(
            controller,
            started=lambda trial, n=name: called.append((n, trial)),
            reported=lambda trial, result, n=name: called.append((n, trial, result)),
        )
    trial = Trial("__fake", stub=True)
    controller._callbacks.on_trial_start(iteration=0, trials=[], trial=trial)
    controller._callbacks.on_trial_result(iteration=0, trials=[], trial=trial, result={"i": 1})
    assert called == [("second", trial), ("second", trial, {"i": 1})]
    assert len(mine) == 1
    assert len(pickle.loads(pickle.dumps(controller._callbacks._callbacks))) == 2
    assert not watching.watch_trials(None, started=print, reported=print)


def test_what_a_trial_has_reported_is_uploaded_when_it_starts_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def upload(trial: Any) -> None:
        uploaded.append(trial.trial_id)
        raise OSError("no connection")

    class Controller:
        _callbacks = CallbackList([])

    controller, uploaded = Controller(), []
    monkeypatch.setattr(watching, "upload_results", upload)
    trials = [Trial("__fake", stub=True, trial_id=name) for name in ("a", "b")]
    for trial in trials:
        watching.watch_trials(controller)
        controller._callbacks.on_trial_start(iteration=0, trials=[], trial=trial)
        controller._callbacks.on_trial_result(iteration=0, trials=[], trial=trial, result={})
    # Neither has started anew yet; asking again has not made it forget.
    assert uploaded == []
    watching.watch_trials(controller)
    controller._callbacks.on_trial_start(iteration=0, trials=[], trial=trials[0])
    assert uploaded == ["a"]
    assert "Results of trial a may be missing: OSError('no connection')" in caplog.text
    controller._callbacks.on_trial_complete(iteration=0, trials=[], trial=trials[0])
    controller._callbacks.on_trial_error(iteration=0, trials=[], trial=trials[1])
    for trial in trials:
        controller._callbacks.on_trial_start(iteration=0, trials=[], trial=trial)
    assert uploaded == ["a"]
