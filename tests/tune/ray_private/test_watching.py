"""What is installed into Ray's controller: replaced, not added to, and cleared up."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
from ray import tune
from ray.tune.callback import CallbackList
from ray.tune.experiment import Trial

from gap_tune.tune.ray_private import watching
from tests.contracts.insides import callback_count


class Controller:
    """What watching asks of Ray's controller."""

    def __init__(self, callbacks: list[tune.Callback]) -> None:
        self._callbacks = CallbackList(callbacks)

    @property
    def callbacks(self) -> CallbackList:
        return self._callbacks


def test_an_installed_call_replaces_the_one_before_and_leaves_the_users_list_alone() -> None:
    mine = [tune.Callback()]
    controller, called = Controller(mine), []
    for name in ("first", "second"):
        assert watching.watch_trials(
            controller,
            started=lambda trial, n=name: called.append((n, trial)),
            reported=lambda trial, result, n=name: called.append((n, trial, result)),
        )
    trial = Trial("__fake", stub=True)
    controller.callbacks.on_trial_start(iteration=0, trials=[], trial=trial)
    controller.callbacks.on_trial_result(iteration=0, trials=[], trial=trial, result={"i": 1})
    assert called == [("second", trial), ("second", trial, {"i": 1})]
    assert len(mine) == 1
    assert callback_count(pickle.loads(pickle.dumps(controller.callbacks))) == 2
    assert not watching.watch_trials(None, started=print, reported=print)


def test_bug_callbacks_of_a_restored_study_get_each_others_states(tmp_path: Path) -> None:
    class Counts(tune.Callback):
        def __init__(self, count: int) -> None:
            self.count = count

        def get_state(self) -> dict[str, int]:
            return {"count": self.count}

        def set_state(self, state: dict[str, int]) -> None:
            self.count = state["count"]

    def counting(*counts: int) -> list[tune.Callback]:
        return [tune.Callback(), *map(Counts, counts)]

    controller = Controller(counting(1, 2))
    for _ in range(2):
        assert watching.watch_trials(controller)
    controller.callbacks.save_to_dir(str(tmp_path), "session")
    fresh = counting(0, 0)
    restored = Controller(fresh)
    restored.callbacks.restore_from_dir(str(tmp_path))
    assert [each.count for each in fresh[1:]] == [1, 2]  # type: ignore[attr-defined]


def test_what_a_trial_has_reported_is_uploaded_when_it_starts_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def upload(trial: Any) -> None:
        uploaded.append(trial.trial_id)
        raise OSError("no connection")

    controller, uploaded = Controller([]), []
    monkeypatch.setattr(watching, "upload_results", upload)
    trials = [Trial("__fake", stub=True, trial_id=name) for name in ("a", "b")]
    for trial in trials:
        watching.watch_trials(controller)
        controller.callbacks.on_trial_start(iteration=0, trials=[], trial=trial)
        controller.callbacks.on_trial_result(iteration=0, trials=[], trial=trial, result={})
    # Neither has started anew yet; asking again has not made it forget.
    assert uploaded == []
    watching.watch_trials(controller)
    controller.callbacks.on_trial_start(iteration=0, trials=[], trial=trials[0])
    assert uploaded == ["a"]
    assert "Results of trial a may be missing: OSError('no connection')" in caplog.text
    controller.callbacks.on_trial_complete(iteration=0, trials=[], trial=trials[0])
    controller.callbacks.on_trial_error(iteration=0, trials=[], trial=trials[1])
    for trial in trials:
        controller.callbacks.on_trial_start(iteration=0, trials=[], trial=trial)
    assert uploaded == ["a"]
