"""Any task of the simulation as a training function of Ray, which sleeps for the task's seconds.

A process that starts imports this module and the task's, and not gap_tune as a whole: starting is
most of what these studies cost.
"""

from __future__ import annotations

import os
import pickle
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ray import tune

from gap_tune.simulation.task import Task, Training
from gap_tune.tune.ray_private import delivery

_FILE = "training.pkl"


def train(config: Mapping[str, Any], task: Task, begun: Path, together: int) -> None:
    """Train as a trial of Ray: sleep, report with a checkpoint, do what the scheduler says.

    Args:
        config: The trial's configuration.
        task: What to train.
        begun: A folder for a file of each process that has started.
        together: How many processes wait for each other. How long they take to start depends on
            who else uses the machine; where a trial ends before, Ray gives its process to
            another, whose own it throws away as it starts.
    """
    (begun / str(os.getpid())).touch()
    while sum(1 for _ in begun.iterdir()) < together:
        time.sleep(0.02)
    name = tune.get_context().get_trial_id()
    training = _restored(config) or task.begin(config)
    _follow(name, training)
    while not training.done:
        started = time.perf_counter()
        report = training.advance()
        time.sleep(max(0.0, report.seconds - (time.perf_counter() - started)))
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, _FILE).write_bytes(pickle.dumps(training))
            checkpoint = tune.Checkpoint.from_directory(folder)
            tune.report({**report.metrics}, checkpoint=checkpoint)
        _follow(name, training)


def _restored(config: Mapping[str, Any]) -> Training | None:
    checkpoint = tune.get_checkpoint()
    if checkpoint is None:
        return None
    with checkpoint.as_directory() as folder:
        training: Training = pickle.loads(Path(folder, _FILE).read_bytes())
    # Population based training goes on from another trial's checkpoint, with a new configuration.
    if dict(config) != getattr(training, "config", config):
        training.change(config)
    return training


def _follow(name: str, training: Training) -> None:
    """Do what the scheduler has sent while the trial waited in its report."""
    directive = delivery.take(name)
    if directive is not None and directive.decision is not None:
        training.follow(directive.decision)
