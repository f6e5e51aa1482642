"""What ``report`` takes as a checkpoint, what keeps it from having one, and what does not."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.fs
import pytest
import ray.train
import torch
from ray import tune
from ray.tune.result import TRIAL_INFO

from gap_tune import attach
from gap_tune.errors import (
    InvalidValueError,
    NonFiniteMetricError,
    StateError,
    StorageError,
    UnsupportedError,
)
from gap_tune.tune.finite import first_non_finite
from gap_tune.tune.trial import channels, checkpointing
from tests.tune.alone import Recorded, session, weight
from tests.tune.in_process import Life, life

__all__ = ["life"]

ASKS = {"gap": {"mode": "scheduler", "metric": "loss"}}
NAN = float("nan")


def sgd(parameter: torch.nn.Parameter | None = None) -> torch.optim.SGD:
    return torch.optim.SGD([weight() if parameter is None else parameter], lr=0.1, momentum=0.9)


class Keeps(Recorded):
    """A channel that notes which checkpoints came, and what was in them."""

    def __init__(self) -> None:
        super().__init__()
        self.came: list[set[str] | None] = []

    def exchange(self, result: dict[str, Any], saved: Any, seq: int) -> None:
        folder = Path(saved.path) if isinstance(saved, tune.Checkpoint) else saved
        self.came.append(None if folder is None else {file.name for file in folder.iterdir()})


def recorded(optimizer: torch.optim.Optimizer, metric: Any = "loss") -> tuple[Any, Keeps]:
    channel = Keeps()
    return session(optimizer, channel=channel, metric=metric), channel


GAP = {checkpointing.FILE}


@pytest.mark.parametrize(
    "metrics",
    [
        {"loss": 1.0, "auc": NAN},
        {"loss": 1.0, "other": {"loss": NAN, "deep": {"inf": float("inf")}}},
        {"loss": 1.0, "auc": np.float32("inf"), 7: NAN},
        {"loss": "nan"},
        {},
    ],
)
@pytest.mark.parametrize("own_folder", [False, True])
def test_bug_another_metrics_nan_cost_the_checkpoint(
    metrics: dict[Any, Any], own_folder: bool, tmp_path: Path
) -> None:
    trial, channel = recorded(sgd())
    trial.report(metrics, checkpoint=tmp_path if own_folder else True)
    assert channel.came == [GAP]


@pytest.mark.parametrize(
    "value", [np.float16("nan"), np.array(NAN), np.array([NAN]), torch.tensor(NAN), 10**400]
)
def test_bug_an_array_of_one_nan_was_taken_for_finite(value: Any) -> None:
    trial, channel = recorded(sgd())
    with pytest.raises(NonFiniteMetricError, match="study's metric 'loss' must be finite"):
        trial.report({"loss": value}, checkpoint=True)
    assert channel.came == []


@pytest.mark.parametrize("metrics", [{"eval/loss": NAN}, {"eval": {"loss": NAN}}])
def test_the_studys_metric_counts_nested_or_flat_and_among_several(metrics: dict[str, Any]) -> None:
    for metric in ("eval/loss", ["size", "eval/loss"], ("eval/loss",)):
        trial, channel = recorded(sgd(), metric)
        with pytest.raises(NonFiniteMetricError, match="study's metric 'eval/loss' must be finite"):
            trial.report(metrics, checkpoint=True)
        assert channel.came == []
    for metric in (None, "loss", "eval", []):
        assert first_non_finite(metrics, metric) is None


def test_weights_that_are_not_finite_are_no_checkpoint_and_are_named_once(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
    trial, channel = recorded(torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9))
    trial.keep(net=model)
    trial.report({"loss": 1.0}, checkpoint=True)
    with torch.no_grad():
        model[1].bias[0] = NAN
    for checkpoint in (True, tmp_path, tune.Checkpoint.from_directory(tmp_path)):
        trial.report({"loss": 1.0}, checkpoint=checkpoint)
    assert channel.came == [GAP, None, None, None]
    (message,) = [r.getMessage() for r in caplog.records if "finite" in r.getMessage()]
    assert "trained weights must be finite, but got NaN or infinity in net.1.bias" in message


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.complex64])
def test_weights_of_any_type_are_judged(dtype: torch.dtype) -> None:
    # Beyond the largest float16 in sum, but not in any one weight.
    parameter = torch.nn.Parameter(torch.full((9,), 60_000.0).to(dtype))
    trial, _ = recorded(torch.optim.SGD([parameter, torch.nn.Parameter(torch.empty(0))], lr=0.1))
    assert not trial.is_spoiled()
    with torch.no_grad():
        parameter[2:4] = torch.tensor([float("inf"), -float("inf")])
    assert trial.is_spoiled()


def test_weights_whose_sum_is_infinite_are_not() -> None:
    parameter = torch.nn.Parameter(torch.full((9,), 3e38))
    assert not recorded(sgd(parameter))[0].is_spoiled()


def test_masks_and_frozen_parameters_may_be_infinite() -> None:
    model = torch.nn.Linear(2, 2)
    model.register_buffer("mask", torch.full((2, 2), float("-inf")).triu(1))
    model.frozen = torch.nn.Parameter(torch.tensor(float("-inf")), requires_grad=False)
    trial, channel = recorded(torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9))
    trial.keep(model=model)
    trial.report({"loss": 1.0}, checkpoint=True)
    assert channel.came == [GAP]


@pytest.mark.parametrize("nothing", [None, False, np.bool_(False), torch.tensor(False)])
def test_bug_report_did_not_take_none(nothing: Any) -> None:
    trial, channel = recorded(sgd())
    trial.report({"loss": 1.0}, checkpoint=nothing)
    assert channel.came == [None]


@pytest.mark.parametrize("yes", [True, np.bool_(True), torch.tensor(True)])
def test_what_is_true_makes_a_checkpoint(yes: Any) -> None:
    trial, channel = recorded(sgd())
    trial.report({"loss": 1.0}, checkpoint=yes)
    assert channel.came == [GAP]


@pytest.mark.parametrize("kind", [str, Path, tune.Checkpoint, ray.train.Checkpoint])
def test_bug_report_did_not_take_a_checkpoint_of_ray(kind: Any, tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_text("mine")
    made = kind.from_directory(str(tmp_path)) if hasattr(kind, "from_directory") else kind(tmp_path)
    trial, channel = recorded(sgd())
    trial.report({"loss": 1.0}, checkpoint=made)
    assert channel.came == [GAP | {"model.pt"}]


@pytest.mark.parametrize("what", [3, 1.0, b"folder", {"model": 1}, [], object, torch.ones(2)])
def test_anything_else_is_refused_in_a_sentence(what: Any) -> None:
    trial, channel = recorded(sgd())
    with pytest.raises(UnsupportedError, match=r"a folder or a tune.Checkpoint, but got \w+\."):
        trial.report({"loss": 1.0}, checkpoint=what)
    assert channel.came == []


@pytest.mark.parametrize("folder", ["", "not/there", "s3://bucket/folder"])
def test_a_folder_that_is_not_there_is_refused_in_a_sentence(folder: str, tmp_path: Path) -> None:
    trial, _ = recorded(sgd())
    with pytest.raises(InvalidValueError, match=r"a folder that exists .* but got '"):
        trial.report({"loss": 1.0}, checkpoint=folder)


def test_bug_nested_metrics_could_take_the_names_of_gap_tune() -> None:
    trial, channel = recorded(sgd())
    with pytest.raises(InvalidValueError, match=r"start with 'gap/', but got \['gap', 'gap/x'\]"):
        trial.report({"gap": {"seq": 7}, "gap/x": 1.0, 3: 1.0})
    trial.report({"gap": 1.0, "gaps": {"seq": 7}})
    assert channel.came == [None]


def test_what_has_no_state_is_refused_where_it_is_named() -> None:
    with pytest.raises(UnsupportedError, match=r"load_state_dict, .* but got int for 'epoch'\."):
        session(sgd()).restore(model=torch.nn.Linear(1, 1), epoch=3)


def reports(config: dict[str, Any]) -> None:
    """Report once with each of the configuration's checkpoints."""
    model = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    trial = attach(optimizer, config)
    restored = trial.restore()
    for i, checkpoint in enumerate(config["checkpoints"]):
        trial.report({"loss": 1.0, "i": i, "restored": restored}, checkpoint=checkpoint)


def elsewhere(folder: Path) -> ray.train.Checkpoint:
    """Return a checkpoint on a file system that is not the local one."""
    (folder / "there").mkdir()
    (folder / "there" / "model.pt").write_text("mine")
    filesystem = pyarrow.fs.SubTreeFileSystem(str(folder), pyarrow.fs.LocalFileSystem())
    return ray.train.Checkpoint("there", filesystem=filesystem)


def test_a_checkpoint_of_another_file_system_goes_to_the_trials_storage_and_comes_back(
    life: Callable[..., Life], tmp_path: Path
) -> None:
    first = life(reports, {**ASKS, "checkpoints": [None, elsewhere(tmp_path)]})
    assert [row["restored"] for row in first.reports(9)] == [False, False]
    stored = Path(first.saved.checkpoint.path)
    assert {file.name for file in stored.iterdir()} >= GAP | {"model.pt"}
    again = life(reports, {**ASKS, "checkpoints": [None]}, continues=first)
    assert [row["restored"] for row in again.reports(9)] == [True]


def reports_what_it_continued_from(config: dict[str, Any]) -> None:
    """Report the checkpoint that there is once more, as one without progress might."""
    model = torch.nn.Linear(2, 1)
    trial = attach(torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9), config)
    restored = trial.restore(model=model)
    there: Any = tune.get_checkpoint() or True
    if config["elsewhere"] and there is not True:
        filesystem = pyarrow.fs.SubTreeFileSystem(there.path, pyarrow.fs.LocalFileSystem())
        there = ray.train.Checkpoint("", filesystem=filesystem)
    trial.report({"loss": 1.0, "restored": restored}, checkpoint=there)


@pytest.mark.parametrize("elsewhere", [False, True])
def test_bug_a_checkpoint_that_was_reported_once_more_lost_the_optimizer(
    elsewhere: bool, life: Callable[..., Life]
) -> None:
    config = {**ASKS, "elsewhere": elsewhere}
    lives = [life(reports_what_it_continued_from, config)]
    rows = lives[0].reports(1)
    for _ in range(2):
        lives.append(life(reports_what_it_continued_from, config, continues=lives[-1]))
        rows += lives[-1].reports(1)
    assert [row["restored"] for row in rows] == [False, True, True]


@pytest.fixture
def no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where temporary files go does not exist any more."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))


def test_bug_a_temporary_folder_without_room_ended_the_trial(
    life: Callable[..., Life], no_room: None, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    rows = life(reports, {**ASKS, "checkpoints": [True, mine, True]}).reports(9)
    assert [row["i"] for row in rows] == [0, 1, 2]
    # Where no temporary file is needed, a checkpoint is made.
    assert [bool(row.get("should_checkpoint")) for row in rows] == [False, True, False]
    said = [r.getMessage() for r in caplog.records if "goes on without this" in r.getMessage()]
    assert len(said) == 2


def test_a_checkpoint_that_cannot_be_copied_is_named_and_leaves_nothing(
    life: Callable[..., Life], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first = life(reports, {**ASKS, "checkpoints": [True]})
    first.reports(9)
    temporary = tmp_path / "temporary"
    temporary.mkdir()

    def continues(config: dict[str, Any]) -> None:
        monkeypatch.setattr(tempfile, "tempdir", str(temporary))
        checkpoint = tune.get_checkpoint()
        (Path(checkpoint.path) / "gap_tune.pt").unlink()
        Path(checkpoint.path).rmdir()
        with pytest.raises(StorageError, match=r"checkpoint must fit into .*temporary to continue"):
            channels.checkpoint_folder()
        tune.report({"left": len(list(temporary.iterdir()))})

    (row,) = life(continues, {}, continues=first).reports(9)
    assert row["left"] == 0


def test_bug_a_session_of_another_trial_was_used_silently(life: Callable[..., Life]) -> None:
    kept: list[Any] = []

    def caches(config: dict[str, Any]) -> None:
        if not kept:
            kept.append(attach(sgd(), config))
            kept[0].report({"loss": 1.0})
        else:
            for use in (kept[0].restore, lambda: kept[0].report({"loss": 1.0})):
                with pytest.raises(StateError, match="got one of trial first in trial second"):
                    use()
        tune.report({"loss": 2.0})

    def trial(name: str) -> dict[str, Any]:
        info = SimpleNamespace(trial_id=name, trial_name=name, trial_resources=None)
        return {**ASKS, TRIAL_INFO: info}

    assert len(life(caches, trial("first")).reports(9)) == 2
    assert len(life(caches, trial("second")).reports(9)) == 1


def test_bug_an_optimizer_that_is_kept_for_the_next_trial_had_two_masters(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    parameter = weight()
    optimizer = sgd(parameter)
    hooks = len(optimizer._optimizer_step_pre_hooks)
    first = attach(optimizer, ASKS)
    alone = len(optimizer._optimizer_step_pre_hooks)
    second = attach(optimizer, ASKS)
    assert len(optimizer._optimizer_step_pre_hooks) == alone > hooks
    for _ in range(3):
        parameter.grad = torch.ones_like(parameter)
        optimizer.step()
    assert (first.statistics().steps, second.statistics().steps) == (0, 3)
