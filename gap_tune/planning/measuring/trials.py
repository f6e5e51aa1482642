"""Training functions and a rule of the measured studies: little training, whole reports."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from ray import tune

from gap_tune.gradients.statistics import AlignmentStatistics
from gap_tune.optim import SGD
from gap_tune.rules import AlignmentRule, Decision, MomentumRule
from gap_tune.tune.trial.attaching import attach

# What trials report besides what gap_tune adds; the sizes of files depend on how much that is.
METRICS = {"loss": 0.6931471805599453, "accuracy": 0.9124}
_WIDTH = 100
# As many coordinates as a gradient's sample has by default, and some more.
_SAVED_WIDTH = 16_384

# A trial that never comes is no reason to wait forever.
_PATIENCE_S = 300.0

Training = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Meeting:
    """Where the trials of a study wait for each other.

    Attributes:
        folder: A folder of this machine, in which each leaves a file.
        trials: How many there are.
    """

    folder: str
    trials: int

    def attend(self, name: str) -> None:
        """Return once all are there."""
        Path(self.folder, name).touch()
        end = time.monotonic() + _PATIENCE_S
        while len(os.listdir(self.folder)) < self.trials and time.monotonic() < end:
            time.sleep(0.05)


class Alternating(MomentumRule):
    """Decides as ``AlignmentRule`` does, and then changes momentum each time, for messages."""

    def decide(self, statistics: AlignmentStatistics, momentum: float) -> Decision:
        """Return a decision with 0.9 and 0.95 in turns."""
        usual = AlignmentRule().decide(statistics, momentum)
        other = 0.95 if momentum < 0.925 else 0.9
        return Decision(
            other, momentum, usual.reason, usual.explanation, usual.candidates, usual.gains
        )


def space() -> dict[str, Any]:
    """Return what the measured studies search: three hyperparameters, beside momentum."""
    return {
        "lr": tune.loguniform(1e-3, 1.0),
        "weight_decay": tune.loguniform(1e-6, 1e-2),
        "batch_size": tune.choice([32, 64, 128]),
    }


def together(config: dict[str, Any], meeting: Meeting, train: Training) -> None:
    """Train once all trials of the study have started, so that all report at the same time."""
    meeting.attend(tune.get_context().get_trial_id())
    train(config)


def bare(config: dict[str, Any]) -> None:
    """Report to Ray alone."""
    for _ in range(config["reports"]):
        tune.report(dict(METRICS))


def decided(config: dict[str, Any]) -> None:
    """Report to a ``GapScheduler`` that decides."""
    torch.set_num_threads(1)
    weight = torch.nn.Parameter(torch.randn(config.get("width", _WIDTH)))
    momentum = config.get("momentum", 0.9)
    _report(config, weight, torch.optim.SGD([weight], lr=config["lr"], momentum=momentum))


def deciding(config: dict[str, Any]) -> None:
    """Decide in the trial, at each step; the scheduler only records it."""
    torch.set_num_threads(1)
    weight = torch.nn.Parameter(torch.randn(_WIDTH))
    _report(config, weight, SGD([weight], lr=config["lr"], momentum=0.9))


def saving(config: dict[str, Any]) -> None:
    """Report with checkpoints, after steps on as many coordinates as a sample has."""
    decided({**config, "width": _SAVED_WIDTH})


def _report(
    config: dict[str, Any], weight: torch.nn.Parameter, optimizer: torch.optim.Optimizer
) -> None:
    trial = attach(optimizer, config)
    for _ in range(config["reports"]):
        for _ in range(config.get("steps", 1)):
            weight.grad = torch.randn(weight.shape) + weight.detach()
            optimizer.step()
        time.sleep(config.get("pause", 0.0))
        trial.report(dict(METRICS), checkpoint=bool(config.get("checkpoint")))
