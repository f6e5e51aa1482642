"""Validation-aware training: held-out gradients judge the candidates (Section 4 of the paper)."""

from __future__ import annotations

import time
from dataclasses import replace

import torch

from gap_tune.errors import UnsupportedError
from gap_tune.gradients import GradientMonitor
from gap_tune.training.batches import Loading, load
from gap_tune.training.learner import Learner
from gap_tune.workloads.base import Samples, Splits, take

_SPLIT_SEED = 0


class HeldOutGradients:
    """Computes gradients on held-out batches for ``GradientMonitor.observe_validation``.

    These gradients are never applied, and nothing else of the training changes by them: buffers
    (the running means of batch norm) and random numbers are put back.

    Args:
        learner: Whose model to take gradients of.
        monitor: Whose candidates they judge.
        samples: The held-out samples.
        every: Steps from one held-out gradient to the next.
        batch_size: Samples per gradient, at most all of them.
        loading: How to collate.
        seed: Fixes which samples are in which batch.

    Attributes:
        seconds: What it has cost since ``take_seconds``.

    Raises:
        UnsupportedError: When the optimizer observes its gradients itself.
    """

    def __init__(
        self,
        learner: Learner,
        monitor: GradientMonitor | None,
        samples: Samples,
        *,
        every: int,
        batch_size: int,
        loading: Loading,
        seed: int,
    ) -> None:
        if monitor is None:
            raise UnsupportedError(
                "validation_every must go with an optimizer that gap_tune observes from outside, "
                f"but got {type(learner.optimizer).__name__}, which tunes itself."
            )
        self.seconds = 0.0
        self._learner = learner
        self._monitor = monitor
        self._samples = samples
        self._every = every
        self._batch_size = min(batch_size, len(samples))
        # For single batches, starting workers would cost more than they fetch.
        self._loading = replace(loading, workers=0)
        self._seed = seed

    def before_step(self, step: int) -> None:
        """Score the candidates, where it is time to; the step's number alone fixes the batch."""
        count, rest = divmod(step, self._every)
        if rest == 0:
            self._observe(count)

    def _observe(self, count: int) -> None:
        placement = self._learner.placement
        placement.wait()
        start = time.perf_counter()
        devices = [placement.device] if placement.on_gpu else []
        with torch.random.fork_rng(devices):
            buffers = [buffer.clone() for buffer in self._learner.model.buffers()]
            self._backward(count)
            self._monitor.observe_validation()
            self._learner.optimizer.zero_grad()
            for buffer, kept in zip(self._learner.model.buffers(), buffers, strict=True):
                buffer.copy_(kept)
        placement.wait()
        self.seconds += time.perf_counter() - start

    def take_seconds(self) -> float:
        """Return what it has cost since the last call."""
        seconds, self.seconds = self.seconds, 0.0
        return seconds

    def _backward(self, count: int) -> None:
        learner = self._learner
        inputs, targets = learner.placement.move(self._batch(count))
        learner.optimizer.zero_grad()
        scale = learner.scaler.get_scale()
        # Half-precision gradients vanish unless scaled; the monitor wants them as they are.
        (learner.loss(inputs, targets) * scale).backward()
        for group in learner.optimizer.param_groups:
            for parameter in group["params"]:
                if scale != 1.0 and parameter.grad is not None:
                    parameter.grad.div_(scale)

    def _batch(self, count: int) -> tuple[object, object]:
        passes, place = divmod(count, len(self._samples) // self._batch_size)
        chance = torch.Generator().manual_seed(self._seed + passes)
        permutation = torch.randperm(len(self._samples), generator=chance)
        chosen = permutation[place * self._batch_size :][: self._batch_size]
        (batch,) = load(self._samples, [chosen], self._loading)
        inputs, targets = batch
        return inputs, targets


def with_held_out(splits: Splits, share: float) -> Splits:
    """Return the splits with held-out samples: the task's own, or a share of train, at least one.

    Args:
        splits: The task's splits.
        share: Share of train in (0, 1) to hold out; the same samples at every seed.
    """
    if splits.held_out is not None:
        return splits
    chance = torch.Generator().manual_seed(_SPLIT_SEED)
    permutation = torch.randperm(len(splits.train), generator=chance)
    count = max(1, round(share * len(splits.train)))
    return replace(
        splits,
        train=take(splits.train, permutation[count:]),
        held_out=take(splits.train, permutation[:count]),
    )
