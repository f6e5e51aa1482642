"""The facts about what Ray saves of a study, and gives back when the study is restored."""

from __future__ import annotations

import json
import pickletools
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from ray import tune
from ray.tune.callback import CallbackList
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

# What callbacks and the scheduler are told, and whether trials were saved before the searcher.
EVENTS: list[str] = []
TRIALS_SAVED: list[bool] = []


class Named(tune.Callback):  # type: ignore[misc]
    """Saves its name, and notes the one that it is given back."""

    def __init__(self, name: str) -> None:
        self.name = name

    def get_state(self) -> dict[str, str]:
        return {"name": self.name}

    def set_state(self, state: dict[str, str]) -> None:
        EVENTS.append(f"{self.name} is {state['name']}")


class Noting(FIFOScheduler):  # type: ignore[misc]
    """Notes when it is handed a trial."""

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        EVENTS.append("added")


class Once(Searcher):  # type: ignore[misc]
    """Suggests one trial; notes whether trials are saved when it is."""

    def __init__(self) -> None:
        super().__init__(metric="loss", mode="min")
        self.left = 1

    def suggest(self, trial_id: str) -> Any:
        self.left -= 1
        return {"lr": 0.1} if self.left >= 0 else Searcher.FINISHED

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        pass

    def save(self, checkpoint_path: str) -> None:
        TRIALS_SAVED.append(any(Path(checkpoint_path).parent.glob("experiment_state-*.json")))
        Path(checkpoint_path).write_text(str(self.left))

    def restore(self, checkpoint_path: str) -> None:
        self.left = int(Path(checkpoint_path).read_text())


def reports(config: dict[str, Any]) -> None:
    tune.report({"loss": 1.0})


@pytest.fixture(scope="module")
def saved(ray_address: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a study that has ended."""
    folder = tmp_path_factory.mktemp("saved")
    TRIALS_SAVED.clear()
    tune.Tuner(
        reports,
        tune_config=tune.TuneConfig(
            metric="loss", mode="min", num_samples=1, search_alg=Once(), scheduler=Noting()
        ),
        run_config=tune.RunConfig(
            name="run",
            storage_path=str(folder),
            verbose=0,
            callbacks=[Named("first"), tune.Callback(), Named("third")],
        ),
    ).fit()
    return folder / "run"


def test_fact_20_states_of_callbacks_are_kept_by_their_places() -> None:
    callbacks = CallbackList([tune.Callback(), Named("second")])
    assert callbacks.get_state() == {0: None, 1: {"name": "second"}}


def test_fact_20_callbacks_are_given_their_states_before_a_trial_is_added(saved: Path) -> None:
    EVENTS.clear()
    tune.Tuner.restore(str(saved), reports).fit()
    assert EVENTS == ["first is first", "third is third", "added"]


def test_fact_29_the_state_of_an_experiment_has_its_trials_in_json(saved: Path) -> None:
    state = sorted(saved.glob("experiment_state-*.json"))[-1]
    ((trial, _),) = json.loads(state.read_text())["trial_data"]
    known = json.loads(trial)
    assert known["status"] == "TERMINATED"
    (row,) = map(json.loads, (saved / known["relative_logdir"] / "result.json").open())
    assert row["trial_id"] == known["trial_id"]


def test_fact_29_a_saved_tuner_has_metric_and_mode_before_their_values(saved: Path) -> None:
    opcodes = pickletools.genops((saved / "tuner.pkl").read_bytes())
    # Between the two are marks of the memory only; values that were named before come from there.
    strings = [text for code, text, _ in opcodes if code.name != "MEMOIZE"]
    values = dict(pair for pair in pairwise(strings) if pair[0] in ("metric", "mode"))
    assert values["mode"] == "min"
    assert values["metric"] == "loss"


def test_fact_30_a_searchers_state_is_saved_after_the_trials(saved: Path) -> None:
    assert list(saved.glob("search_gen_state-*.json")), "a searcher's state is in another file"
    assert TRIALS_SAVED
    assert all(TRIALS_SAVED), "a searcher is saved before the trials"


def test_fact_30_a_grids_state_is_saved(ray_address: str, tmp_path: Path) -> None:
    tune.Tuner(
        reports,
        param_space={"lr": tune.grid_search([0.1])},
        run_config=tune.RunConfig(name="run", storage_path=str(tmp_path), verbose=0),
    ).fit()
    folder = tmp_path / "run"
    assert list(folder.glob("basic-variant-state-*.json")), "a grid's state is in another file"
