"""Position: where a trial is in its data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

# Augmentation has another stream than the data order, which is seeded with the seed itself.
_AUGMENTATION_STREAM = 1 << 32


class Position:
    """Counts epochs and steps, owns the random streams of data order and augmentation.

    Pass it to ``trial.restore`` and go through ``epochs``: a trial continues at the very step after
    which its checkpoint was taken, in the middle of an epoch too.

    Args:
        seed: Seeds both streams.
        steps_per_epoch: Optimizer steps per epoch.
        device: Where losses are.

    Attributes:
        epoch: The epoch in progress.
        step: Steps of it that are done.
        order: The stream of the data order.
        augmentation: The stream of augmentation.
    """

    def __init__(self, seed: int, steps_per_epoch: int, device: torch.device) -> None:
        self.epoch = 0
        self.step = 0
        self.steps_per_epoch = steps_per_epoch
        self.order = torch.Generator().manual_seed(seed)
        self.augmentation = torch.Generator().manual_seed(seed + _AUGMENTATION_STREAM)
        self._order_at_start = self.order.get_state()
        self._losses = torch.zeros(steps_per_epoch, device=device)

    @property
    def total_steps(self) -> int:
        """Steps that are done in all."""
        return self.epoch * self.steps_per_epoch + self.step

    @property
    def epochs_done(self) -> float:
        """Epochs that are done, with the share of the one in progress."""
        return self.epoch + self.step / self.steps_per_epoch

    @property
    def mean_loss(self) -> float:
        """Mean training loss of the epoch so far; waits for the device."""
        return self._losses[: self.step].mean().item()

    def epochs(self, count: int) -> Iterator[int]:
        """Yield the epochs still to do; the data order must be drawn once in each."""
        while self.epoch < count:
            self._order_at_start = self.order.get_state()
            yield self.epoch
            self.epoch, self.step = self.epoch + 1, 0

    def advance(self, loss: Tensor) -> None:
        """Count a step with its loss, 0-d, on the device."""
        self._losses[self.step] = loss
        self.step += 1

    def state_dict(self) -> dict[str, Any]:
        """Return what continuing needs."""
        return {
            "epoch": self.epoch,
            "step": self.step,
            "order": self._order_at_start,
            "augmentation": self.augmentation.get_state(),
            "losses": self._losses[: self.step].clone(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what ``state_dict`` returned."""
        self.epoch, self.step = state["epoch"], state["step"]
        # The epoch's order is drawn anew, and the steps that are done are passed over.
        self.order.set_state(state["order"])
        self.augmentation.set_state(state["augmentation"])
        self._losses[: self.step] = state["losses"]
