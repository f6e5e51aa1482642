"""A Ray Tune run of a study that is interrupted."""

from __future__ import annotations

from pathlib import Path

import pytest
from ray import tune

from gap_tune.study import Resources, Study
from gap_tune.study.records import run_state


def test_bug_a_run_that_is_interrupted_before_its_first_trial_has_not_finished(
    ray_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As after Ctrl-C while Ray sets the run up: it returns, and nothing has started.
    monkeypatch.setattr(tune.Tuner, "fit", lambda self: None)
    study = Study("quadratic", ["optuna:2"], seeds=1, resources=Resources(cpus=1), storage=tmp_path)
    (run,) = study.runs()
    assert run.go() is False
    assert run_state(run.folder) != "finished"
