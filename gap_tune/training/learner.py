"""Learner: one optimizer step, the means over a split, and what of a model is worth saving."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from gap_tune.training.placement import Placement
from gap_tune.workloads.base import Workload


class Learner:
    """Trains a workload's model, one minibatch at a time.

    Args:
        workload: Gives loss, metrics and the rest.
        model: The model, on its device; what torch.compile made of it, where it did.
        optimizer: Its optimizer.
        schedule: Its learning-rate schedule.
        placement: Device and precision.
        clip: Largest norm of the gradient; None does not clip.
    """

    def __init__(
        self,
        workload: Workload,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        schedule: Any,
        placement: Placement,
        *,
        clip: float | None = None,
    ) -> None:
        self.optimizer = optimizer
        self.model = model
        self.placement = placement
        self.scaler = placement.scaler()
        self._workload = workload
        self._schedule = schedule
        self._clip = clip

    def step(self, parts: Sequence[Any], augmentation: torch.Generator) -> Tensor:
        """Take an optimizer step on a minibatch.

        Args:
            parts: The minibatch as one or more equal (inputs, targets), computed one by one.
            augmentation: Where random changes of the inputs come from.

        Returns:
            The mean loss, 0-d, on the device: nothing waits for it.
        """
        self.optimizer.zero_grad()
        losses = []
        for batch in parts:
            inputs, targets = self.placement.move(batch)
            loss = self.loss(self._workload.augment(inputs, augmentation), targets)
            losses.append(loss.detach())
            share = loss if len(parts) == 1 else loss / len(parts)
            self.scaler.scale(share).backward()
        if self._clip is not None:
            self.scaler.unscale_(self.optimizer)
            groups = self.optimizer.param_groups
            nn.utils.clip_grad_norm_([p for group in groups for p in group["params"]], self._clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self._schedule.step()
        # The mean of one is that one; small models feel every operation.
        return losses[0] if len(losses) == 1 else torch.stack(losses).mean()

    def loss(self, inputs: Any, targets: Any) -> Tensor:
        """Return the loss of a batch on the device, in the placement's precision."""
        with self.placement.precision():
            return self._workload.loss(self._outputs(inputs), targets)

    @torch.no_grad()
    def evaluate(self, batches: Iterable[Any], split: str) -> Mapping[str, float]:
        """Return the workload's metrics over a split's batches, named ``<split>_<metric>``.

        Each batch counts by ``workload.weight``; only one is in memory at a time.
        """
        with averaged(self.optimizer):
            return self._evaluate(batches, split)

    def _evaluate(self, batches: Iterable[Any], split: str) -> Mapping[str, float]:
        self.model.eval()
        means: dict[str, float] = {}
        total = 0
        for batch in batches:
            inputs, targets = self.placement.move(batch)
            with self.placement.precision():
                metrics = self._workload.metrics(self._outputs(inputs), targets)
            weight = self._workload.weight(targets)
            total += weight
            for name, value in metrics.items():
                mean = means.get(name, 0.0)
                means[name] = mean + (value - mean) * (weight / total)
        self.model.train()
        return {f"{split}_{name}": mean for name, mean in means.items()}

    def _outputs(self, inputs: Any) -> Any:
        return self._workload.forward(self.model, self.placement.arrange(inputs))


@contextmanager
def averaged(optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """Put the weights that an optimizer is judged by into the model, for the time of the context.

    Schedule-free optimizers train at other weights than those that they return, and have ``eval``
    and ``train`` to change over; for others nothing happens. Changing over and back rounds, so the
    training weights are kept beside: how often a run is evaluated must not change its course.
    Checkpoints hold the training weights.
    """
    change_over = getattr(optimizer, "eval", None)
    if change_over is None:
        yield
        return
    weights = [p for group in optimizer.param_groups for p in group["params"]]
    kept = [weight.detach().clone() for weight in weights]
    change_over()
    try:
        yield
    finally:
        optimizer.train()  # type: ignore[attr-defined]
        with torch.no_grad():
            torch._foreach_copy_(weights, kept)


class TrainedPart:
    """A model's buffers and the parameters that are trained, for checkpoints.

    Frozen parameters come from where the model came from; saving those of a language model that
    trains a LoRA adapter would make each checkpoint a thousand times larger.

    Args:
        model: The model, initialised as in the trial that saves.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        # A tied weight has two names.
        named = model.named_parameters(remove_duplicate=False)
        self._frozen = {name for name, p in named if not p.requires_grad}

    def state_dict(self) -> dict[str, Any]:
        """Return the model's state but for frozen parameters."""
        state = self._model.state_dict()
        for name in self._frozen:
            state.pop(name, None)
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Load what ``state_dict`` returned."""
        self._model.load_state_dict({**self._model.state_dict(), **state})
