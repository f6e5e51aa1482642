"""Class trainables as Ray's tutorials write them, and a trial of one in this process."""

from __future__ import annotations

import inspect
import os
from types import SimpleNamespace
from typing import Any

import torch
from ray import tune
from ray.tune.result import TRIAL_INFO

from gap_tune import Decision, GapTrainable, Reason
from gap_tune.control import group_momentum
from gap_tune.tune.ray_private import delivery
from gap_tune.tune.ray_private.delivery import Directive
from tests.tune.functions import kill_once

ASKS: dict[str, Any] = {"gap": {"mode": "scheduler", "metric": "loss"}, "momentum": 0.9, "lr": 0.05}


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


class Dictionary(Plain):
    """Ray's contract allows a dictionary, too."""

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        return {"weights": self.model.state_dict()}

    def load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        assert list(checkpoint) == ["weights"]
        self.model.load_state_dict(checkpoint["weights"])


def trial(kind: Any, config: dict[str, Any], name: str = "one", storage: Any = None) -> Any:
    info = SimpleNamespace(trial_id=name, trial_name=name, trial_resources=None)
    return kind({**config, TRIAL_INFO: info}, storage=storage)


def send(to: Any, seq: int, momentum: float, old: float) -> None:
    """Send a decision, as the scheduler does."""
    decision = Decision(momentum, old, Reason.BEST_GAIN, "because.")
    actor = SimpleNamespace(execute=SimpleNamespace(remote=to.execute))
    process = SimpleNamespace(ray_actor=actor)
    running = SimpleNamespace(trial_id=to.trial_id, temporary_state=process)
    assert delivery.send(running, Directive(seq, decision))


class Resets(Plain):
    """Ray's usual way: write the next trial's values into the optimizer that there is."""

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        for group in self.optimizer.param_groups:
            group["lr"] = new_config["lr"]
            group["momentum"] = new_config["momentum"]
        return True


def reset(actor: Any, name: str, config: dict[str, Any]) -> bool:
    info = SimpleNamespace(trial_id=name, trial_name=name, trial_resources=None)
    options = {}
    if "logger_creator" in inspect.signature(tune.Trainable.reset).parameters:
        # Ray 2.50 closes the actor's logger, and gives it another.
        from ray.tune.logger import NoopLogger

        options["logger_creator"] = lambda config: NoopLogger(config, actor.logdir)
    return bool(actor.reset({**config, TRIAL_INFO: info}, **options))
