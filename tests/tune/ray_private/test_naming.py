"""Names of trials: gap_tune's section takes no part in them, and is lost nowhere else."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from ray import cloudpickle, tune
from ray.tune.experiment import Experiment, Trial
from ray.tune.search import ConcurrencyLimiter, Searcher, SearchGenerator
from ray.tune.search.optuna import OptunaSearch

from gap_tune import GapSearch
from gap_tune.study.methods.plan import PlannedTrials
from gap_tune.tune import keys
from gap_tune.tune.ray_private.naming import Section
from tests.tune.conftest import Run
from tests.tune.functions import quadratic

SPACE = {"lr": tune.loguniform(1e-3, 1.0), "net": {"width": tune.choice([8])}, "data": "digits"}


def first_trial(search: Searcher, space: dict[str, Any], folder: Path) -> Trial:
    """Return the trial that Ray makes of a searcher's first suggestion."""
    return generator(search, space, folder).next_trial()


def generator(search: Searcher, space: dict[str, Any], folder: Path) -> SearchGenerator:
    space = copy.deepcopy(space)
    experiment = Experiment("e", lambda _: None, config=space, storage_path=str(folder))
    made = SearchGenerator(search)
    made.add_configurations(experiment)
    made.set_search_properties("loss", "min", space)
    return made


def bare() -> OptunaSearch:
    return OptunaSearch(seed=0)


@pytest.mark.parametrize(
    ("search", "supplied", "space"),
    [
        (lambda: GapSearch(bare()), {"momentum": 0.9}, {}),
        (lambda: ConcurrencyLimiter(GapSearch(bare()), 2), {"momentum": 0.9}, {}),
        (lambda: GapSearch(ConcurrencyLimiter(bare(), 2)), {"momentum": 0.9}, {}),
        (lambda: GapSearch(bare(), optimizer=torch.optim.AdamW), {"beta1": 0.9}, {}),
        (lambda: GapSearch(bare()), {"momentum": 0.9}, {"gap": {"mode": "trial", "note": "x"}}),
        (
            lambda: GapSearch(bare(), momentum="loop/momentum"),
            {"loop/momentum": 0.9},
            {"loop": {}, "gap": {"mode": "trial"}},
        ),
    ],
)
def test_bug_trials_are_named_after_the_section_instead_of_the_users_hyperparameters(
    search: Any, supplied: dict[str, float], space: dict[str, Any], tmp_path: Path
) -> None:
    users = {key: value for key, value in space.items() if key != "gap"}
    without = first_trial(bare(), {**SPACE, **users}, tmp_path)
    trial = first_trial(search(), {**SPACE, **space}, tmp_path)
    names = set(without.experiment_tag.removeprefix("1_").split(","))
    own = {f"{key.rpartition('/')[2]}={value:.4f}" for key, value in supplied.items()}
    assert set(trial.experiment_tag.removeprefix("1_").split(",")) == names | own
    assert trial.evaluated_params == {**without.evaluated_params, **supplied}
    section = keys.section(trial.config)
    assert section["mode"] == space.get("gap", {}).get("mode", "scheduler")
    assert section["seed_reason"]


def test_bug_after_a_restore_trials_are_named_after_the_section_again(tmp_path: Path) -> None:
    space = {**SPACE, "gap": {"mode": "trial"}}
    generator(GapSearch(bare()), space, tmp_path).save_to_dir(str(tmp_path), "session")
    restored = SearchGenerator(GapSearch(bare()))
    restored.restore_from_dir(str(tmp_path))
    trial = restored.next_trial()
    assert trial.experiment_tag.startswith("1_data=digits,lr=")
    assert "mode" not in trial.experiment_tag
    assert trial.config["gap"]["mode"] == "trial"


def test_planned_baselines_keep_names_that_tell_them_apart(tmp_path: Path) -> None:
    plan = PlannedTrials([{"momentum": 0.5, "lr": 0.1}])
    trial = first_trial(GapSearch(plan), {"x": 1}, tmp_path)
    assert trial.experiment_tag == "1_lr=0.1000,momentum=0.5000,x=1"
    assert trial.config["gap"]["mode"] == "fixed"


def test_a_section_is_a_dict_in_all_but_names() -> None:
    values = {"mode": "scheduler", "betas2": [0.9]}
    own = Section(values)
    assert own == values
    assert list(own.items()) == list(values.items())
    assert {**own} == dict(own) == values
    assert json.loads(json.dumps(own, sort_keys=True, indent=2)) == values
    copied = copy.deepcopy(own)
    assert type(copied) is Section
    copied["betas2"].append(0.5)
    assert own["betas2"] == [0.9]
    # Checkpoints and other machines know nothing of the class.
    for module in (pickle, cloudpickle):
        found = module.loads(module.dumps(own))
        assert type(found) is dict
        assert found == values


@pytest.mark.slow
def test_bug_folders_of_trials_do_not_show_the_users_hyperparameters(
    run: Run, tmp_path: Path
) -> None:
    many = {f"a_long_hyperparameter_{i}": i for i in range(2)}
    grid = run([{}], space={"lr": 0.02, "epochs": 2, "zeta": 7, **many})
    assert not grid.errors
    (folder,) = (path.parent for path in (tmp_path / "run").glob("*/params.json"))
    assert "momentum=0.9000,zeta=7" in folder.name
    saved = json.loads((folder / "params.json").read_text())["gap"]
    assert grid[0].config is not None
    assert grid[0].config["gap"] == saved
    assert saved["mode"] == "scheduler"
    assert saved["seed_reason"].startswith("reference momentum")
    again = tune.Tuner.restore(str(tmp_path / "run"), quadratic).get_results()
    assert again[0].config is not None
    assert again[0].config["gap"] == saved
    # What TensorBoard's table of hyperparameters and Ray's reporter show.
    state = next((tmp_path / "run").glob("experiment_state-*.json"))
    (trial,) = json.loads(state.read_text())["trial_data"]
    assert json.loads(trial[0])["evaluated_params"] == {"momentum": 0.9}
    assert json.loads(trial[0])["config"]["gap"] == saved
