"""Records of experiments that no gap_tune study made, written as Ray Tune writes them."""

from __future__ import annotations

import json
import os
import pickle
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from ray import tune
from ray.tune.stopper import NoopStopper
from ray.tune.utils.serialization import TuneFunctionEncoder

import gap_tune
from gap_tune import cli
from gap_tune.errors import InvalidValueError, StateError
from gap_tune.records.experiments import is_experiment, read_experiment
from gap_tune.report import verdict, write_page

TUNED = {"mode": "scheduler", "reference_momentum": 0.9}


def write_trial(
    folder: Path, name: str, config: Mapping[str, Any], losses: list[float], *, gap: bool = True
) -> None:
    path = folder / f"train_{name}_1_lr=0.1_2026-01-01"
    path.mkdir(parents=True)
    (path / "params.json").write_text(json.dumps(config))
    rows = []
    for i, loss in enumerate(losses, 1):
        own = {"gap/momentum": 0.9, "gap/seq": 0, "gap/steps": 10 * i, "gap/mode": "scheduler"}
        row = {"loss": loss, "training_iteration": i, "trial_id": name, "time_total_s": float(i)}
        rows.append(json.dumps(row | (own if gap else {}) | {"config": config}))
    # Killed in the middle of a line.
    (path / "result.json").write_text("\n".join([*rows, '{"loss": 0.']))


def write_state(folder: Path, states: Mapping[str, str]) -> None:
    trials = [
        [json.dumps({"trial_id": name, "status": status, "relative_logdir": path.name}), "{}"]
        for name, status in states.items()
        for path in folder.glob(f"train_{name}_*")
    ]
    (folder / "experiment_state-2026.json").write_text(json.dumps({"trial_data": trials}))


def test_trials_without_seeds_are_grouped_and_not_compared(tmp_path: Path) -> None:
    write_trial(tmp_path, "bbb", {"lr": 0.1, "momentum": 0.9, "gap": TUNED}, [3.0, 2.0])
    write_trial(tmp_path, "aaa", {"lr": 0.2, "momentum": 0.5}, [3.0, 1.0])
    write_trial(tmp_path, "ccc", {"lr": 0.3, "momentum": 0.5}, [])
    write_state(tmp_path, {"bbb": "TERMINATED", "aaa": "TERMINATED", "ccc": "RUNNING"})
    records = read_experiment(tmp_path, metric="loss", mode="min")
    rows = records.trials[["arm", "seed", "trial_id", "status"]].values.tolist()
    # In the order in which Ray began them.
    assert rows == [
        ["gap", 1, "bbb", "finished"],
        ["fixed:0.5", 2, "aaa", "finished"],
        ["fixed:0.5", 3, "ccc", "unfinished"],
    ]
    answer = verdict(records)
    assert answer.kind == "undecided"
    assert answer.headline == (
        "Whether to stop sweeping momentum cannot be told from this experiment: its trials share "
        "no seeds, so they differ in more than momentum."
    )
    assert answer.sentences[0] == "Best loss: 1.00, by trial aaa (fixed:0.5)."
    assert "Mean loss of ended trials: gap 2.00 (1 trial), fixed:0.5 1.00 (1 trial)." in answer.text
    assert "search with GapSearch(baselines=(0.9,), seeds=3) and GapScheduler()" in answer.text
    assert "Of 3 trials, 1 unfinished." in answer.text
    assert answer.difference.by_seed == {}


def test_trials_of_equal_seed_and_settings_are_compared_seed_by_seed(tmp_path: Path) -> None:
    for seed, (tuned, fixed) in enumerate([(1.0, 1.5), (1.1, 1.7), (1.2, 1.75)]):
        config = {"lr": 0.1, "seed": seed, "momentum": 0.9}
        write_trial(tmp_path, f"g{seed}", config | {"gap": TUNED}, [3.0, tuned])
        write_trial(tmp_path, f"f{seed}", config, [3.0, fixed])
    write_state(tmp_path, {f"{kind}{seed}": "TERMINATED" for kind in "gf" for seed in range(3)})
    answer = verdict(read_experiment(tmp_path, metric="loss", mode="min"))
    assert answer.kind == "gain"
    assert answer.difference.by_seed == pytest.approx({0: -0.5, 1: -0.6, 2: -0.55})


def test_a_study_between_two_trials_is_not_taken_for_a_complete_one(tmp_path: Path) -> None:
    for seed, (tuned, fixed) in enumerate([(1.0, 1.5), (1.1, 1.7), (1.2, 1.75)]):
        config = {"lr": 0.1, "seed": seed, "momentum": 0.9}
        write_trial(tmp_path, f"g{seed}", config | {"gap": TUNED}, [3.0, tuned])
        write_trial(tmp_path, f"f{seed}", config, [3.0, fixed])
    write_state(tmp_path, {f"{kind}{seed}": "TERMINATED" for kind in "gf" for seed in range(3)})
    path = tmp_path / "experiment_state-2026.json"
    state = json.loads(path.read_text())
    # The seventh has been suggested, and has not begun.
    state["trial_data"].append([json.dumps({"trial_id": "next", "status": "PENDING"}), "{}"])
    state["runner_data"] = {"_stopper": NoopStopper()}
    path.write_text(json.dumps(state, cls=TuneFunctionEncoder))
    search = {"counter": 7, "total_samples": 10, "finished": False}
    (tmp_path / "search_gen_state-2026.json").write_bytes(pickle.dumps(search))
    answer = verdict(read_experiment(tmp_path, metric="loss", mode="min"))
    assert answer.kind == "undecided"
    assert answer.headline == "Undecided: the study is not complete, 6 of 10 trials ended."


def test_seeds_with_other_settings_are_not_pairs(tmp_path: Path) -> None:
    write_trial(tmp_path, "g", {"lr": 0.1, "seed": 0, "momentum": 0.9, "gap": TUNED}, [1.0])
    write_trial(tmp_path, "f", {"lr": 0.2, "seed": 0, "momentum": 0.9}, [1.0])
    assert not read_experiment(tmp_path, metric="loss", mode="min").study["paired"]


class _Booby:
    """A pickle that runs code in whoever loads it."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("ran",)


def test_metric_and_mode_are_read_from_rays_tuner_which_runs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_trial(tmp_path, "g", {"momentum": 0.9, "gap": TUNED}, [1.0])
    monkeypatch.chdir(tmp_path)
    saved = {"booby": _Booby(), "_tune_config": {"mode": "max", "metric": "loss"}}
    (tmp_path / "tuner.pkl").write_bytes(pickle.dumps(saved))
    records = read_experiment(tmp_path)
    assert (records.metric, records.mode) == ("loss", "max")
    assert not (tmp_path / "ran").exists()
    # What is asked for goes first.
    assert read_experiment(tmp_path, mode="min").mode == "min"


def test_what_cannot_be_reported_is_said(tmp_path: Path) -> None:
    assert not is_experiment(tmp_path)
    with pytest.raises(StateError, match="it has no trial"):
        read_experiment(tmp_path)
    write_trial(tmp_path / "foreign", "x", {"lr": 0.1}, [1.0], gap=False)
    with pytest.raises(StateError, match="none of them does"):
        read_experiment(tmp_path / "foreign")
    own = tmp_path / "own"
    write_trial(own, "g", {"momentum": 0.9, "gap": TUNED}, [1.0])
    (own / "tuner.pkl").write_bytes(b"not a pickle")
    with pytest.raises(InvalidValueError, match="--metric and --mode must be given"):
        read_experiment(own)
    with pytest.raises(InvalidValueError, match="--mode must be given"):
        read_experiment(own, metric="loss")
    with pytest.raises(InvalidValueError, match="mode must be 'min' or 'max', but got 'up'"):
        read_experiment(own, metric="loss", mode="up")
    with pytest.raises(InvalidValueError, match=r"\(loss\), but got 'accuracy'"):
        read_experiment(own, metric="accuracy", mode="max")


def _train(config: dict[str, Any]) -> None:
    import torch

    weight = torch.nn.Parameter(torch.tensor([4.0, -2.0]))
    optimizer = torch.optim.SGD([weight], lr=config["lr"], momentum=config["momentum"])
    trial = gap_tune.attach(optimizer, config)
    for _ in range(3):
        for _ in range(10):
            optimizer.zero_grad()
            loss = (weight**2).sum()
            loss.backward()
            optimizer.step()
        trial.report({"distance": loss.item()})


@pytest.mark.slow
def test_the_command_reports_a_users_own_study(
    ray_address: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tuner = tune.Tuner(
        _train,
        param_space={"lr": tune.uniform(0.01, 0.02)},
        tune_config=tune.TuneConfig(
            metric="distance",
            mode="min",
            num_samples=2,
            search_alg=gap_tune.GapSearch(),
            scheduler=gap_tune.GapScheduler(),
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(name="mine", storage_path=str(tmp_path), verbose=0),
    )
    best = tuner.fit().get_best_result().metrics
    capsys.readouterr()
    monkeypatch.setattr(sys, "argv", ["gap-tune", "report", str(tmp_path / "mine")])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert not stopped.value.code
    out = capsys.readouterr().out
    assert f"by trial {best['trial_id']} (gap)" in out
    page = (tmp_path / "mine" / "report.html").read_text()
    for part in ("Ray Tune experiment", "Decisions", "--metric distance --mode min"):
        assert part in page


def test_the_page_of_an_experiment_says_what_it_cannot(tmp_path: Path) -> None:
    write_trial(tmp_path, "g", {"momentum": 0.9, "gap": TUNED}, [2.0, 1.0])
    records = read_experiment(tmp_path, metric="loss", mode="min")
    page = write_page(records, tmp_path / "report.html").read_text()
    assert "Whether to stop sweeping momentum cannot be told from this experiment" in page
    assert "GapScheduler tunes every trial, and none has a fixed momentum" in page
    assert "a line per trial" in page
    assert "Ray Tune does not record its versions" in page
    assert "paired over the seeds" not in page


def test_trials_of_different_rules_are_different_arms(tmp_path: Path) -> None:
    calm = {"name": "alignment", "hysteresis": 0.05}
    rules = {"aaa": None, "bbb": "paper", "ccc": calm, "ddd": calm}
    for seed, (name, rule) in enumerate(rules.items()):
        gap = TUNED if rule is None else {**TUNED, "rule": rule}
        config = {"lr": 0.1, "momentum": 0.9, "seed": max(seed - 1, 1), "gap": gap}
        write_trial(tmp_path, name, config, [3.0, 2.0])
    # Nobody decides: the rule says nothing.
    fixed = {"mode": "fixed", "rule": "paper"}
    write_trial(tmp_path, "eee", {"lr": 0.1, "momentum": 0.5, "seed": 1, "gap": fixed}, [3.0])
    records = read_experiment(tmp_path, metric="loss", mode="min")
    arms = records.trials.set_index("trial_id")["arm"].to_dict()
    assert arms == {
        "aaa": "gap",
        "bbb": "gap (paper)",
        "ccc": "gap (alignment, hysteresis=0.05)",
        "ddd": "gap (alignment, hysteresis=0.05)",
        "eee": "fixed:0.5",
    }
    assert records.study["paired"] is True


def test_one_rule_of_all_trials_is_no_other_arm(tmp_path: Path) -> None:
    for name in ("aaa", "bbb"):
        config = {"lr": 0.1, "momentum": 0.9, "gap": {**TUNED, "rule": "paper"}}
        write_trial(tmp_path, name, config, [3.0, 2.0])
    assert read_experiment(tmp_path, metric="loss", mode="min").study["arms"] == ["gap"]
