"""A Ray Tune run of a study that is interrupted, half saved, or out of reach."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ray import tune

from gap_tune.errors import StorageError
from gap_tune.records.studies import run_state
from gap_tune.study import Resources, Study
from gap_tune.study.runs import RayRun
from gap_tune.study.store import Store


class Away(Store):
    """Storage that cannot be reached."""

    def pull(self, folder: Path | None = None) -> None:
        raise StorageError("503 SlowDown")


def make_run(store: Store | Path) -> RayRun:
    arguments = {"seeds": 1, "resources": Resources(cpus=1), "storage": store}
    (run,) = Study("quadratic", ["optuna:2"], **arguments).runs()  # type: ignore[arg-type]
    return run


def test_bug_a_run_that_is_interrupted_before_its_first_trial_has_not_finished(
    ray_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As after Ctrl-C while Ray sets the run up: it returns, and nothing has started.
    monkeypatch.setattr(tune.Tuner, "fit", lambda self: None)
    run = make_run(tmp_path)
    assert run.go() is False
    assert run_state(run.folder) != "finished"


def test_a_run_whose_storage_cannot_be_reached_stays_as_it_is(tmp_path: Path) -> None:
    run = make_run(Away(tmp_path))
    run.folder.mkdir(parents=True)
    finished = json.dumps({"state": "finished", "error": ""})
    (run.folder / "run.json").write_text(finished)
    with pytest.raises(StorageError, match="SlowDown"):
        run.go()
    assert (run.folder / "run.json").read_text() == finished


@pytest.mark.parametrize("trials", [None, []])
def test_bug_a_run_without_saved_trials_starts_over(
    ray_address: str,
    tmp_path: Path,
    trials: list[str] | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = make_run(tmp_path)
    run.folder.mkdir(parents=True)
    # What an upload has brought when it is cut off.
    for name in ("tuner.pkl", "search_gen_state-1.json", "study.json"):
        (run.folder / name).write_text("{}")
    if trials is not None:
        (run.folder / "experiment_state-1.json").write_text(json.dumps({"trial_data": trials}))
    found: list[list[str]] = []

    class Tuner(tune.Tuner):  # type: ignore[misc]
        def __init__(self, *_: Any, **__: Any) -> None:
            found.append([path.name for path in run.folder.iterdir()])

        def fit(self) -> Any:
            return None

        @classmethod
        def restore(cls, *_: Any, **__: Any) -> Any:
            pytest.fail("it was continued")

    monkeypatch.setattr(tune, "Tuner", Tuner)
    assert run.go() is False
    assert found == [["study.json"]]
    (aside,) = run.folder.parent.glob("*-not-saved-*")
    assert (aside / "tuner.pkl").exists()
