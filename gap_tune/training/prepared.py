"""PreparedTrial: everything that a trial's configuration stands for, ready to be trained."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from gap_tune.errors import UnsupportedError
from gap_tune.gradients import GradientMonitor
from gap_tune.training.batches import Loading, batches, check_batch_size, in_order
from gap_tune.training.families.table import get_family
from gap_tune.training.held_out import HeldOutGradients, with_held_out
from gap_tune.training.learner import Learner, TrainedPart
from gap_tune.training.placement import Placement, find_device
from gap_tune.training.position import Position
from gap_tune.training.ranks import Ranks, find_ranks
from gap_tune.training.schedules import make_schedule
from gap_tune.training.settings import Settings
from gap_tune.workloads.base import Samples, Splits, Workload
from gap_tune.workloads.registry import get_workload


@dataclass(frozen=True)
class PreparedTrial:
    """A workload with its data, model, optimizer and place in the data: see ``prepare``.

    Attributes:
        workload: The task.
        settings: How to train it.
        splits: Its data.
        loading: How batches are fetched.
        learner: Model and optimizer, on their device.
        position: Where the run is in its data.
        objects: What a checkpoint holds besides the optimizer, by name.
        ranks: The processes that train it together.
    """

    workload: Workload
    settings: Settings
    splits: Splits
    loading: Loading
    learner: Learner
    position: Position
    objects: Mapping[str, Any]
    ranks: Ranks

    def minibatches(self) -> Iterator[tuple[Any, ...]]:
        """Yield the minibatches of the present epoch that are still to do, each in its parts."""
        count = self.settings.accumulate
        parts = batches(
            self.splits.train,
            self.settings.batch_size,
            self.position.order,
            loading=self.loading,
            parts=count,
            skip=self.position.step,
            # It is the epoch's: a run that continues has the workers' random numbers again.
            seed=self.settings.seed + (self.position.epoch << 32),
            share=self.ranks.share_of if self.ranks.count > 1 else None,
        )
        return zip(*[parts] * count, strict=True)

    def step(self, minibatch: tuple[Any, ...]) -> None:
        """Train on a minibatch and count it."""
        self.position.advance(self.learner.step(minibatch, self.position.augmentation))

    def evaluate(self, split: str) -> Mapping[str, float]:
        """Return the metrics on the split of that name: "validation" or "test"."""
        samples: Samples = getattr(self.splits, split)
        own = self.workload.evaluation_batch_size
        batch_size = own or self.settings.batch_size // self.settings.accumulate
        return self.learner.evaluate(in_order(samples, batch_size, self.loading), split)

    def held_out(self, monitor: GradientMonitor | None) -> HeldOutGradients | None:
        """Return what computes held-out gradients for a monitor; None unless they are asked for."""
        if self.settings.validation_every is None or self.splits.held_out is None:
            return None
        if self.ranks.count > 1:
            raise UnsupportedError(
                "validation_every must go with a trial of one worker, "
                f"but got one of {self.ranks.count}."
            )
        return HeldOutGradients(
            self.learner,
            monitor,
            self.splits.held_out,
            every=self.settings.validation_every,
            batch_size=self.settings.batch_size,
            loading=self.loading,
            seed=self.settings.seed,
        )


class Meter:
    """Measures a run from one report to the next."""

    def __init__(self, run: PreparedTrial) -> None:
        self._run = run
        self.start()

    def start(self) -> None:
        """Measure from here on."""
        self._since = time.perf_counter()
        self._steps = self._run.position.total_steps

    def metrics(self) -> dict[str, float]:
        """Return training loss, speed and the peak of GPU memory; waits for the device."""
        position, placement = self._run.position, self._run.learner.placement
        loss = self._run.ranks.mean(position.mean_loss)
        seconds = time.perf_counter() - self._since
        samples = (position.total_steps - self._steps) * self._run.settings.batch_size
        metrics = {
            "epoch": position.epochs_done,
            "train_loss": loss,
            "samples_per_s": samples / seconds,
        }
        if placement.on_gpu:
            metrics["gpu_memory_gib"] = torch.cuda.max_memory_allocated(placement.device) / 2**30
        return metrics


def prepare(config: Mapping[str, Any]) -> PreparedTrial:
    """Return the run that a configuration, as of ``loop.train``, stands for.

    Raises:
        GapTuneError: When the configuration or the data are not what they should be.
    """
    workload = get_workload(config["workload"], config.get("workload_options"))
    settings = Settings.of(workload, config)
    placement = Placement(find_device(settings.device), settings.amp, settings.channels_last)
    splits = workload.data()
    if settings.hold_out or settings.validation_every is not None:
        splits = with_held_out(splits, settings.held_out_share)
    steps = check_batch_size(splits.train, settings.batch_size)
    ranks = find_ranks()
    ranks.check_parts(settings.batch_size // settings.accumulate)
    torch.manual_seed(settings.seed)
    model = placement.place(workload.model())
    optimizer = _optimizer(workload, settings, model, config)
    schedule = make_schedule(
        optimizer,
        settings.schedule,
        steps=settings.epochs * steps,
        warmup_steps=settings.warmup(steps),
    )
    joined = ranks.join(model)
    forward: Any = torch.compile(joined) if settings.compile else joined
    learner = Learner(workload, forward, optimizer, schedule, placement, clip=settings.clip)
    position = Position(settings.seed, steps, placement.device)
    return PreparedTrial(
        workload,
        settings,
        splits,
        Loading(workload.collate, settings.workers, pinned=placement.on_gpu),
        learner,
        position,
        {
            "model": TrainedPart(model),
            "schedule": schedule,
            "scaler": learner.scaler,
            # Checkpoints have always called it so.
            "progress": position,
        },
        ranks,
    )


def _optimizer(
    workload: Workload, settings: Settings, model: nn.Module, config: Mapping[str, Any]
) -> torch.optim.Optimizer:
    trained = [p for p in model.parameters() if p.requires_grad]
    family = get_family(settings.family)
    return family.make(trained, {**family.recipe(workload), **config})
