"""Class trainables that train one trial after the other, by ``reset_config``."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch
from ray import tune

from gap_tune import GapScheduler
from gap_tune.errors import StateError
from tests.tune.functions import Cycle
from tests.tune.integrations.class_trainables import (
    ASKS,
    Dictionary,
    Plain,
    Resets,
    Tutorial,
    reset,
    send,
    trial,
)


class ResetsTheRate(Plain):
    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.optimizer.param_groups[0]["lr"] = new_config["lr"]
        return True


class ResetsAndBuilds(Plain):
    """Builds everything anew but forgets to attach."""

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.model = torch.nn.Linear(6, 1)
        self.optimizer = self.make(new_config)
        return True


class ResetsBySetup(Plain):
    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.setup(new_config)
        return True


class ResetsAndAttaches(Resets):
    def reset_config(self, new_config: dict[str, Any]) -> bool:
        super().reset_config(new_config)
        self.attach(self.optimizer, saved={"model": self.model, "noise": self.noise})
        return True


class InADictionary(Plain):
    """Keeps what it trains in a dictionary, as many do, with a schedule beside it."""

    def setup(self, config: dict[str, Any]) -> None:
        self.noise = torch.Generator().manual_seed(0)
        self.build(config)
        self.attach(self.optimizer, saved={"model": self.model, "noise": self.noise})

    def build(self, config: dict[str, Any]) -> None:
        self.state = {"model": torch.nn.Linear(6, 1)}
        self.state["optimizer"] = self.make(config)
        self.schedule = torch.optim.lr_scheduler.ConstantLR(self.optimizer, 1.0)

    @property
    def model(self) -> Any:  # type: ignore[override]
        return self.state["model"]

    @property
    def optimizer(self) -> Any:  # type: ignore[override]
        return self.state["optimizer"]

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.build(new_config)
        return True


class InAnObject(InADictionary):
    """Keeps it in an object, deeper down."""

    def build(self, config: dict[str, Any]) -> None:
        self.agent = SimpleNamespace(model=torch.nn.Linear(6, 1), optimizers=[])
        self.agent.optimizers.append(self.make(config))
        self.schedule = torch.optim.lr_scheduler.ConstantLR(self.optimizer, 1.0)

    @property
    def model(self) -> Any:
        return self.agent.model

    @property
    def optimizer(self) -> Any:
        return self.agent.optimizers[0]


@pytest.mark.parametrize(
    "kind",
    [
        *(Plain, Resets, ResetsAndBuilds, ResetsBySetup, ResetsAndAttaches),
        *(InADictionary, InAnObject),
    ],
    ids=lambda kind: kind.__name__,
)
@pytest.mark.parametrize("mode", ["scheduler", "fixed"])
def test_bug_a_reused_actor_trained_the_next_trial_with_the_last_ones_momentum(
    kind: Any, mode: str, tmp_path: Path
) -> None:
    actor = trial(kind, ASKS, "one")
    actor.train()
    send(actor, 1, 0.99, 0.9)
    assert actor.train()["used"] == 0.99
    assert reset(
        actor, "two", {"gap": {"mode": mode, "metric": "loss"}, "momentum": 0.5, "lr": 0.1}
    )
    result = actor.train()
    assert (result["used"], result["gap/momentum"]) == (0.5, 0.5)
    assert (result["gap/seq"], result["gap/steps"], result["gap/mode"]) == (0, 3, mode)
    assert actor.optimizer.param_groups[0]["lr"] == 0.1
    saved = actor.save(str(tmp_path / "two"))
    again = trial(kind, actor.config, "two")
    again.restore(saved)
    assert again.train()["gap/steps"] == 6
    # What it saves is the model that it trains.
    third = trial(kind, actor.config, "two")
    third.restore(again.save(str(tmp_path / "again")))
    assert torch.equal(again.model.weight, third.model.weight)


def test_a_reused_actor_does_not_start_with_what_another_trial_was_tuned_to() -> None:
    actor = trial(ResetsTheRate, ASKS, "one")
    actor.train()
    send(actor, 1, 0.99, 0.9)
    actor.train()
    reset(actor, "two", ASKS)
    assert actor.train()["used"] == 0.9


def adam(parameters: Any, lr: float, momentum: float) -> torch.optim.Adam:
    return torch.optim.Adam(parameters, lr=lr, betas=(momentum, 0.999))


@pytest.mark.filterwarnings("error:the optimizer must be built with")
@pytest.mark.parametrize("make", [torch.optim.SGD, adam])
def test_bug_a_reset_config_that_leaves_momentum_alone_kept_the_last_trials(make: Any) -> None:
    class Kind(ResetsTheRate):
        kind = staticmethod(make)

    actor = trial(Kind, ASKS, "one")
    actor.train()
    send(actor, 1, 0.99, 0.9)
    actor.train()
    for name, asked in (("two", 0.5), ("three", 0.5), ("four", 0.8)):
        reset(actor, name, {**ASKS, "momentum": asked})
        assert actor.train()["gap/momentum"] == asked
        send(actor, 1, 0.95, asked)
        assert actor.train()["gap/momentum"] == 0.95


def test_an_optimizer_that_is_gone_or_goes_on_by_itself_is_named() -> None:
    import gap_tune.optim

    class Loses(Plain):
        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self.optimizer = None
            return True

    class TunesItself(Resets):
        kind = gap_tune.optim.SGD

    for kind, mode in ((Loses, "scheduler"), (TunesItself, "trial")):
        actor = trial(kind, {**ASKS, "gap": {"mode": mode}}, "one")
        actor.train()
        with pytest.raises(StateError, match=r"must call self.attach\(optimizer\) where it takes"):
            reset(actor, "two", ASKS)


class Hidden(Resets):
    """Keeps its optimizer where nobody looks."""

    hidden: ClassVar[list[Any]] = []

    @property
    def optimizer(self) -> Any:
        return self.hidden[-1]

    @optimizer.setter
    def optimizer(self, value: Any) -> None:
        self.hidden.append(value)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.optimizer = self.make(new_config)
        return True


def test_an_optimizer_that_cannot_be_found_is_told(caplog: pytest.LogCaptureFixture) -> None:
    actor = trial(Hidden, ASKS, "one")
    actor.train()
    reset(actor, "two", ASKS)
    actor.train()
    assert "in which the one watched did nothing" in caplog.text


def test_a_session_that_a_class_keeps_is_the_new_one() -> None:
    class Keeps(Resets):
        def setup(self, config: dict[str, Any]) -> None:
            super().setup(config)
            self.session = self._trial

    actor = trial(Keeps, ASKS, "one")
    actor.train()
    reset(actor, "two", ASKS)
    actor.train()
    assert actor.session.statistics().steps == 3


@pytest.mark.parametrize("base", [Plain, Tutorial, Dictionary], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("resets", [False, True])
def test_bug_another_trials_checkpoint_overruled_the_configuration(
    base: Any, resets: bool, tmp_path: Path
) -> None:
    class Exploits(base):  # type: ignore[misc]
        pass

    if resets:
        Exploits.reset_config = Resets.reset_config  # type: ignore[method-assign]
    fixed = {"gap": {"mode": "fixed"}, "momentum": 0.9, "lr": 0.05}
    donor, taker = trial(Exploits, fixed, "donor"), trial(Exploits, fixed, "taker")
    donor.train()
    saved = donor.save(str(tmp_path))
    taker.train()
    reset(taker, "taker", {**fixed, "momentum": 0.7, "lr": 0.02})
    taker.restore(saved)
    assert torch.equal(taker.model.weight, donor.model.weight)
    assert taker.optimizer.param_groups[0]["lr"] == 0.02
    result = taker.train()
    assert (result["used"], result["gap/steps"]) == (0.7, 6)


@pytest.mark.slow
def test_an_actor_that_ray_reuses_starts_with_what_the_configuration_asks(
    ray_address: str, tmp_path: Path
) -> None:
    momenta = [0.9, 0.5]
    grid = tune.Tuner(
        Resets,
        param_space={**ASKS, "steps": 6, "momentum": tune.grid_search(momenta)},
        tune_config=tune.TuneConfig(
            metric="loss",
            mode="min",
            scheduler=GapScheduler(rule=Cycle()),
            reuse_actors=True,
            max_concurrent_trials=1,
        ),
        run_config=tune.RunConfig(storage_path=str(tmp_path), verbose=0),
    ).fit()
    assert not grid.errors
    studied = [result.metrics_dataframe.to_dict("records") for result in grid]
    assert len({row["process"] for rows in studied for row in rows}) == 1
    for rows, first in zip(studied, momenta, strict=True):
        place = Cycle.momenta.index(first)
        assert [r["used"] for r in rows] == [Cycle.momenta[(place + i) % 4] for i in range(4)]
        assert [r["gap/seq"] for r in rows] == [0, 1, 2, 3]
        assert [r["gap/steps"] for r in rows] == [6, 12, 18, 24]
