"""Class trainables whose subclasses override what Ray's tutorials override."""

from __future__ import annotations

import inspect
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch
from ray import tune
from ray.train._internal.storage import StorageContext
from ray.tune.result import TRIAL_INFO

from gap_tune import Decision, GapScheduler, GapTrainable, Reason
from gap_tune.control import group_momentum
from gap_tune.errors import NonFiniteMetricError, StateError
from gap_tune.tune.ray_private import delivery
from gap_tune.tune.ray_private.delivery import Directive
from gap_tune.tune.trial.checkpointing import FILE
from tests.tune.functions import Cycle, kill_once

ASKS: dict[str, Any] = {"gap": {"mode": "scheduler", "metric": "loss"}, "momentum": 0.9, "lr": 0.05}
COMPARED = ("loss", "used", "gap/momentum", "gap/statistics", "gap/seq", "gap/steps")


class Plain(GapTrainable):
    """Descends a noisy quadratic; saves what gap_tune saves."""

    kind: Any = torch.optim.SGD

    def setup(self, config: dict[str, Any]) -> None:
        torch.set_num_threads(1)
        torch.manual_seed(0)
        self.model = torch.nn.Linear(6, 1)
        self.noise = torch.Generator().manual_seed(0)
        self.optimizer = self.make(config)
        self.attach(self.optimizer, saved={"model": self.model, "noise": self.noise})

    def make(self, config: dict[str, Any]) -> Any:
        return self.kind(self.model.parameters(), lr=config["lr"], momentum=config["momentum"])

    def step(self) -> dict[str, Any]:
        kill_once(self.config, self.iteration)
        for _ in range(self.config.get("steps", 3)):
            self.optimizer.zero_grad()
            inputs = torch.randn(4, 6, generator=self.noise)
            loss = (self.model(inputs) - inputs[:, :1]).square().mean()
            loss.backward()
            self.optimizer.step()
        return {
            "loss": loss.item(),
            "used": group_momentum(self.optimizer.param_groups[0]),
            "process": os.getpid(),
            "done": self.iteration == 3,
        }


class Tutorial(Plain):
    """Ray's tutorial: the weights, in a file of its own."""

    def save_checkpoint(self, tmp_checkpoint_dir: str) -> str:  # type: ignore[override]
        torch.save(self.model.state_dict(), os.path.join(tmp_checkpoint_dir, "model.pth"))
        return tmp_checkpoint_dir

    def load_checkpoint(self, tmp_checkpoint_dir: str) -> None:
        self.model.load_state_dict(torch.load(os.path.join(tmp_checkpoint_dir, "model.pth")))


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


class Dictionary(Plain):
    """Ray's contract allows a dictionary, too."""

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        return {"weights": self.model.state_dict()}

    def load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        assert list(checkpoint) == ["weights"]
        self.model.load_state_dict(checkpoint["weights"])


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


def trial(kind: Any, config: dict[str, Any], name: str = "one", storage: Any = None) -> Any:
    info = SimpleNamespace(trial_id=name, trial_name=name, trial_resources=None)
    return kind({**config, TRIAL_INFO: info}, storage=storage)


def send(to: Any, seq: int, momentum: float, old: float) -> None:
    """Send a decision, as the scheduler does."""
    decision = Decision(momentum, old, Reason.BEST_GAIN, "because.")
    to.execute(lambda t: delivery._receive(t.trial_id, Directive(seq, decision), t))


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


class Resets(Plain):
    """Ray's usual way: write the next trial's values into the optimizer that there is."""

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        for group in self.optimizer.param_groups:
            group["lr"] = new_config["lr"]
            group["momentum"] = new_config["momentum"]
        return True


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


def reset(actor: Any, name: str, config: dict[str, Any]) -> bool:
    info = SimpleNamespace(trial_id=name, trial_name=name, trial_resources=None)
    options = {}
    if "logger_creator" in inspect.signature(tune.Trainable.reset).parameters:
        # Ray 2.50 closes the actor's logger, and gives it another.
        from ray.tune.logger import NoopLogger

        options["logger_creator"] = lambda config: NoopLogger(config, actor.logdir)
    return bool(actor.reset({**config, TRIAL_INFO: info}, **options))


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
    assert torch.equal(again.model.weight, again._trial._objects["model"].weight)


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
