"""The training loop of all workloads: a Ray Tune function over a trial's configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch

from gap_tune.gradients import GradientMonitor
from gap_tune.training.batches import batches
from gap_tune.training.perturbed import follow_configuration
from gap_tune.training.placement import trial_resources
from gap_tune.training.prepared import Meter, prepare
from gap_tune.training.settings import Settings
from gap_tune.tune import attach

__all__ = ["Trial", "batches", "fit", "report_steps", "train", "use_own_cores"]


class Trial(Protocol):
    """What the loop needs of a ``TrialSession``."""

    @property
    def monitor(self) -> GradientMonitor | None:
        """The monitor on the optimizer."""

    def restore(self, **objects: Any) -> bool:
        """Continue from a checkpoint, if there is one."""

    def report(self, metrics: Mapping[str, Any], *, checkpoint: bool = False) -> None:
        """Send metrics, with a checkpoint or without."""


def train(config: dict[str, Any]) -> None:
    """Train one trial and report to Ray Tune.

    ``config`` holds ``workload``, ``workload_options``, any attribute of ``Settings``, ``lr``,
    ``weight_decay`` and other hyperparameters of the family (``momentum`` for SGD and AdamW), and
    gap_tune's own section; whatever it lacks is the workload's default. The trial computes on the
    CPU cores, or the GPU or share of one, that Ray gave it.

    Every report holds ``epoch``, ``train_loss`` (mean of the epoch so far), the workload's metrics
    as ``validation_...``, ``samples_per_s`` (of training since the last report) and on a GPU
    ``gpu_memory_gib`` (the peak); validation-aware trials add ``held_out_s`` (what held-out
    gradients cost since the last report, in seconds). The last one adds ``test_...``.

    A trial continues after a fault as if nothing had been, from the step of its checkpoint. One
    exception: a dataset whose samples are random themselves does so from the end of an epoch only.
    Where its ``lr`` or fixed ``momentum`` was changed meanwhile, it goes on with the new ones.

    Raises:
        GapTuneError: When the configuration or the data are not what they should be.
    """
    use_own_cores()
    fit(config, attach)


def use_own_cores() -> None:
    """Compute on the CPU cores that Ray gave the trial of this process, if it gave any."""
    resources = trial_resources()
    if resources is not None:
        # More threads than the trial has cores would take those of its neighbours.
        torch.set_num_threads(max(1, int(resources.get("CPU", 1))))


def fit(
    config: Mapping[str, Any], attach: Callable[[torch.optim.Optimizer, Mapping[str, Any]], Trial]
) -> None:
    """Train as ``train`` does, in the trial that ``attach`` makes of the optimizer.

    Args:
        config: As of ``train``.
        attach: ``gap_tune.attach``, or what stands for it outside of Ray Tune.
    """
    run = prepare(config)
    position, settings = run.position, run.settings
    trial = attach(run.learner.optimizer, config)
    held_out = run.held_out(trial.monitor)
    if trial.restore(**run.objects):
        follow_configuration(run.learner.optimizer, run.objects["schedule"], config)
    meter = Meter(run)
    report_at, checkpoint_at = _moments(settings, position.steps_per_epoch)
    for _ in position.epochs(settings.epochs):
        for minibatch in run.minibatches():
            if held_out is not None:
                held_out.before_step(position.total_steps)
            run.step(minibatch)
            if position.total_steps not in report_at:
                continue
            metrics = {**meter.metrics(), **run.evaluate("validation")}
            if held_out is not None:
                metrics["held_out_s"] = held_out.take_seconds()
            if settings.test_at_reports or position.epochs_done == settings.epochs:
                metrics |= run.evaluate("test")
            trial.report(metrics, checkpoint=position.total_steps in checkpoint_at)
            meter.start()


def _moments(settings: Settings, steps_per_epoch: int) -> tuple[set[int], set[int]]:
    """Return how many steps of the run are done at reports, and at those with checkpoints."""
    if settings.reports is not None:
        both = report_steps(settings.epochs * steps_per_epoch, settings.reports)
        return both, both
    saved, reported = (
        {
            epoch * steps_per_epoch + step
            for epoch in range(settings.epochs)
            for step in report_steps(steps_per_epoch, count)
        }
        for count in (settings.checkpoints_per_epoch, settings.reports_per_epoch)
    )
    return saved | reported, saved


def report_steps(steps_per_epoch: int, reports: int) -> set[int]:
    """Return how many steps are done at reports: evenly spread, the end included.

    >>> sorted(report_steps(16, 4))
    [4, 8, 12, 16]
    """
    reports = min(reports, steps_per_epoch)
    return {steps_per_epoch * (i + 1) // reports for i in range(reports)}
