"""Class trainables whose subclasses override how checkpoints are saved and loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from ray import tune

from gap_tune import GapTrainable
from gap_tune.errors import NonFiniteMetricError, StateError
from gap_tune.tune.trial.checkpointing import FILE
from tests.contracts.insides import StorageContext
from tests.tune.integrations.class_trainables import (
    ASKS,
    Dictionary,
    Plain,
    Tutorial,
    send,
    trial,
)

COMPARED = ("loss", "used", "gap/momentum", "gap/statistics", "gap/seq", "gap/steps")


class WithOptimizer(Plain):
    """Weights and optimizer, as most do."""

    def save_checkpoint(self, checkpoint_dir: str) -> None:  # type: ignore[override]
        state = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}
        torch.save(state, Path(checkpoint_dir) / "all.pt")

    def load_checkpoint(self, checkpoint: Any) -> None:
        state = torch.load(Path(checkpoint) / "all.pt")
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])


class SuperFirst(WithOptimizer):
    def save_checkpoint(self, checkpoint_dir: str) -> None:  # type: ignore[override]
        GapTrainable.save_checkpoint(self, checkpoint_dir)
        super().save_checkpoint(checkpoint_dir)

    def load_checkpoint(self, checkpoint: Any) -> None:
        GapTrainable.load_checkpoint(self, checkpoint)
        super().load_checkpoint(checkpoint)


class DictionaryWithSuper(Dictionary):
    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        GapTrainable.save_checkpoint(self, checkpoint_dir)
        return super().save_checkpoint(checkpoint_dir)

    def load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        GapTrainable.load_checkpoint(self, checkpoint)
        super().load_checkpoint(checkpoint)


class OnlySaves(Plain):
    def save_checkpoint(self, checkpoint_dir: str) -> None:  # type: ignore[override]
        (Path(checkpoint_dir) / "notes.txt").write_text("mine")


class OnlySavesADictionary(Plain):
    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        return {"notes": "mine"}


class OnlyLoads(Plain):
    def load_checkpoint(self, checkpoint: Any) -> None:
        self.loaded = True


class Mixin:
    model: Any

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        torch.save(self.model.state_dict(), Path(checkpoint_dir) / "model.pt")

    def load_checkpoint(self, checkpoint: Any) -> None:
        self.model.load_state_dict(torch.load(Path(checkpoint) / "model.pt"))


class Mixed(Mixin, Plain):  # type: ignore[misc]
    pass


class Grandchild(Tutorial):
    def save_checkpoint(self, tmp_checkpoint_dir: str) -> str:  # type: ignore[override]
        return super().save_checkpoint(tmp_checkpoint_dir)


class BuildsAnew(WithOptimizer):
    """Makes its optimizer when it loads."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        self.optimizer = self.make(self.config)
        super().load_checkpoint(checkpoint)


EVERY = [
    Plain,
    Tutorial,
    WithOptimizer,
    SuperFirst,
    Dictionary,
    DictionaryWithSuper,
    OnlySaves,
    OnlySavesADictionary,
    OnlyLoads,
    Mixed,
    Grandchild,
    BuildsAnew,
]


@pytest.mark.filterwarnings("error:the optimizer must be built with")
@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("late", [False, True], ids=["in time", "late"])
def test_bug_an_override_of_save_checkpoint_forgot_momentum_and_statistics(
    kind: Any, late: bool, tmp_path: Path
) -> None:
    whole, stopped = trial(Plain, ASKS, "whole"), trial(kind, ASKS, "one")
    for each in (whole, stopped):
        each.train()
        send(each, 1, 0.5, 0.9)
        each.train()
    saved = stopped.save(str(tmp_path / "checkpoint"))
    resumed = trial(kind, ASKS, "one")
    # A decision on the last result may come after its checkpoint.
    for each in (whole, resumed) if late else ():
        send(each, 2, 0.99, 0.5)
    resumed.restore(saved)
    for _ in range(2):
        first, second = whole.train(), resumed.train()
        for name in COMPARED:
            assert first[name] == second[name], name
    assert second["gap/seq"] == 1 + late
    assert second["used"] == (0.99 if late else 0.5)


def test_the_methods_work_without_ray_between_them(tmp_path: Path) -> None:
    stopped, resumed = trial(Tutorial, ASKS), trial(Tutorial, ASKS)
    stopped.train()
    assert stopped.save_checkpoint(str(tmp_path)) == str(tmp_path)
    resumed.load_checkpoint(str(tmp_path))
    assert resumed.train()["gap/steps"] == 6
    # A second save of the same object is complete as well.
    (tmp_path / FILE).unlink()
    stopped.save_checkpoint(str(tmp_path))
    assert (tmp_path / FILE).exists()


def test_a_checkpoint_without_our_file_is_told_in_a_sentence(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stopped, resumed = trial(Tutorial, ASKS), trial(Tutorial, ASKS)
    stopped.train()
    saved = stopped.save(str(tmp_path))
    (tmp_path / FILE).unlink()
    resumed.restore(saved)
    (message,) = [r.getMessage() for r in caplog.records if FILE in r.getMessage()]
    assert "should hold gap_tune.pt, but got none, as of a Tutorial that saved without" in message
    assert torch.equal(resumed.model.weight, stopped.model.weight)
    assert resumed.train()["gap/steps"] == 3
    with pytest.raises(StateError, match=r"must hold gap_tune.pt, but got a folder without it"):
        trial(Plain, ASKS).restore(saved)


class GoesWrong(Plain):
    """Has what it is told to have in its result or weights."""

    def step(self) -> dict[str, Any]:
        if "weight" in self.config:
            with torch.no_grad():
                self.model.bias.fill_(self.config["weight"])
        return {**super().step(), **self.config.get("result", {})}


def storage_of(folder: Path) -> StorageContext:
    return StorageContext(str(folder), experiment_dir_name="study", trial_dir_name="trial")


@pytest.mark.parametrize(
    ("wrong", "kept"),
    [
        ({"result": {"auc": float("nan"), "eval": {"auc": float("inf")}}}, True),
        ({"weight": float("inf")}, False),
    ],
)
def test_what_keeps_a_class_trainable_from_a_checkpoint_is_the_same(
    wrong: dict[str, Any],
    kept: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    ray_address: str,
) -> None:
    monkeypatch.setenv("RAY_CHDIR_TO_TRIAL_DIR", "0")
    section = {"mode": "scheduler", "metric": "other"}
    actor = trial(GoesWrong, {**ASKS, **wrong, "gap": section}, storage=storage_of(tmp_path))
    actor.train()
    assert (actor.save().checkpoint is not None) == kept


@pytest.mark.parametrize("metric", ["eval/loss", ["size", "eval/loss"]])
def test_the_studys_nested_metric_fails_a_class_trainable(metric: Any) -> None:
    config = {**ASKS, "gap": {"mode": "scheduler", "metric": metric}}
    actor = trial(GoesWrong, {**config, "result": {"eval": {"loss": float("nan")}}})
    with pytest.raises(NonFiniteMetricError, match="study's metric 'eval/loss'"):
        actor.train()


@pytest.mark.slow
@pytest.mark.parametrize("kind", [Tutorial, Dictionary], ids=lambda kind: kind.__name__)
def test_a_killed_trial_of_the_tutorials_kind_goes_on_in_a_real_study(
    kind: Any, ray_address: str, tmp_path: Path
) -> None:
    killed = {"kill_marker": str(tmp_path / "killed"), "kill_at": 2}
    (result,) = tune.Tuner(
        kind,
        param_space={**ASKS, **killed},
        run_config=tune.RunConfig(
            storage_path=str(tmp_path),
            verbose=0,
            checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=1),
            failure_config=tune.FailureConfig(max_failures=1),
        ),
    ).fit()
    assert result.error is None
    rows = result.metrics_dataframe.to_dict("records")
    assert len({row["process"] for row in rows}) == 2
    assert [row["gap/steps"] for row in rows] == [3, 6, 9, 12]
