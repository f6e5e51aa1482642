"""Class trainables: momentum changes between steps, trials survive a fault, actors are reused."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from ray import tune

from gap_tune import FixedMomentum, GapScheduler, GapSearch, GapTrainable
from gap_tune.errors import InvalidValueError, StateError, UnsupportedError
from gap_tune.study.methods.plan import PlannedTrials
from tests.tune.functions import Cycle, kill_once

STEPS = 6


class Quadratic(GapTrainable):
    """Descends a noisy quadratic, five optimizer steps at a time."""

    def setup(self, config: dict[str, Any]) -> None:
        torch.set_num_threads(1)
        torch.manual_seed(0)
        self.model = torch.nn.Linear(20, 1)
        self.optimizer = torch.optim.SGD(
            self.model.parameters(), lr=0.02, momentum=config.get("momentum", 0.9)
        )
        self.noise = torch.Generator().manual_seed(0)
        self.attach(self.optimizer, saved={"model": self.model, "noise": self.noise})

    def step(self) -> dict[str, Any]:
        kill_once(self.config, self.iteration)
        used = set()
        for _ in range(5):
            self.optimizer.zero_grad()
            inputs = torch.randn(8, 20, generator=self.noise)
            loss = (self.model(inputs) - inputs[:, :1]).square().mean()
            loss.backward()
            self.optimizer.step()
            used.add(self.optimizer.param_groups[0]["momentum"])
        return {
            "loss": loss.item(),
            "used": used.pop() if len(used) == 1 else -1.0,
            "process": os.getpid(),
            "checksum": self.model.weight.sum().item(),
            "done": self.iteration == STEPS - 1,
        }


@pytest.fixture(scope="module")
def grid(ray_address: str, tmp_path_factory: pytest.TempPathFactory) -> tune.ResultGrid:
    """Two tuned trials, one of them killed once, then a baseline in the actor of one of them."""
    folder = tmp_path_factory.mktemp("trainable")
    killed = {"kill_marker": str(folder / "killed"), "kill_at": 3}
    plan = [{}, killed, {"momentum": 0.7}]
    grid = tune.Tuner(
        Quadratic,
        param_space={},
        tune_config=tune.TuneConfig(
            metric="loss",
            mode="min",
            num_samples=len(plan),
            search_alg=GapSearch(PlannedTrials(plan), rule=FixedMomentum()),
            scheduler=GapScheduler(rule=Cycle()),
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            storage_path=str(folder),
            verbose=0,
            checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=1),
            failure_config=tune.FailureConfig(max_failures=1),
        ),
    ).fit()
    assert not grid.errors
    assert (folder / "killed").exists()
    return grid


def rows(grid: tune.ResultGrid, trial: str) -> list[dict[str, Any]]:
    def name(config: dict[str, Any]) -> str:
        return "killed" if "kill_marker" in config else str(config["gap"]["mode"])

    (result,) = [r for r in grid if name(r.config) == trial]  # type: ignore[arg-type]
    return result.metrics_dataframe.to_dict("records")  # type: ignore[union-attr]


@pytest.mark.slow
def test_each_step_uses_the_momentum_that_was_decided_on_the_last_result(
    grid: tune.ResultGrid,
) -> None:
    expected = [Cycle.momenta[i % 4] for i in range(STEPS)]
    reports = rows(grid, "scheduler")
    assert [r["used"] for r in reports] == expected
    assert [r["gap/momentum"] for r in reports] == expected
    assert [r["gap/seq"] for r in reports] == list(range(STEPS))
    assert [r["gap/steps"] for r in reports] == [5 * (i + 1) for i in range(STEPS)]


@pytest.mark.slow
def test_a_killed_trial_goes_on_as_if_nothing_had_happened(grid: tune.ResultGrid) -> None:
    whole, killed = rows(grid, "scheduler"), rows(grid, "killed")
    assert len({r["process"] for r in killed}) == 2
    for name in ("used", "checksum", "gap/seq", "gap/steps", "gap/statistics", "gap/decision"):
        assert [r[name] for r in killed] == [r[name] for r in whole], name


@pytest.mark.slow
def test_an_actor_that_is_reused_starts_the_next_trial_afresh(grid: tune.ResultGrid) -> None:
    baseline = rows(grid, "fixed")
    assert {r["used"] for r in baseline} == {0.7}
    assert [r["gap/steps"] for r in baseline] == [5 * (i + 1) for i in range(STEPS)]
    # Three trials, one of them in two lives, would take four actors.
    trials = ("scheduler", "killed", "fixed")
    assert len({r["process"] for trial in trials for r in rows(grid, trial)}) < 4


class Careless(Quadratic):
    """Makes one of the mistakes that one can make."""

    def setup(self, config: dict[str, Any]) -> None:
        if config["mistake"] != "no attach":
            super().setup(config)

    def step(self) -> dict[str, Any]:
        if self.config["mistake"] == "report":
            self._attached().report({"loss": 1.0})
        return {"gap/seq": 7}


@pytest.mark.parametrize(
    ("mistake", "error", "message"),
    [
        ("no attach", StateError, r"Careless.setup must call self.attach\(optimizer\)"),
        ("report", UnsupportedError, r"return its metrics from step\(\), but got a call of report"),
        ("name", InvalidValueError, r"must not start with 'gap/', but got \['gap/seq'\]"),
    ],
)
def test_mistakes_are_named(mistake: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Careless({"mistake": mistake}).train()


def test_a_trainable_saves_and_restores_without_tune(tmp_path: Path) -> None:
    config = {"gap": {"mode": "trial"}, "momentum": 0.9}
    whole, stopped = Quadratic(dict(config)), Quadratic(dict(config))
    for each in (whole, stopped):
        for _ in range(3):
            each.train()
    saved = stopped.save(str(tmp_path / "checkpoint"))
    resumed = Quadratic(dict(config))
    resumed.restore(saved)
    first, second = whole.train(), resumed.train()
    for name in ("checksum", "used", "gap/momentum", "gap/statistics", "gap/seq"):
        assert first[name] == second[name], name
    assert first["gap/seq"] > 0
