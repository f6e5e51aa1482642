"""Where and in which precision a trial computes: the device that Ray gives, AMP, memory format."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import ray.train.torch
import torch
from ray import tune
from torch import nn

from gap_tune.errors import InvalidValueError
from gap_tune.tune.ray_private.workers import is_worker

PRECISIONS = {"bf16": torch.bfloat16, "fp16": torch.float16}
DEVICES = ("auto", "cpu", "cuda")


@dataclass(frozen=True)
class Placement:
    """A device with a precision.

    Attributes:
        device: Where the model is.
        amp: "bf16" or "fp16" for mixed precision; None computes in the model's own.
        channels_last: Whether images lie with their channels last, as tensor cores like them.
    """

    device: torch.device
    amp: str | None = None
    channels_last: bool = False

    @property
    def on_gpu(self) -> bool:
        """Whether the device is a GPU."""
        return self.device.type == "cuda"

    def place(self, model: nn.Module) -> nn.Module:
        """Move a model to the device."""
        placed = model.to(self.device)
        # Named by keyword, torch knows no overload for both at once.
        return placed.to(memory_format=torch.channels_last) if self.channels_last else placed

    def move(self, batch: Any) -> Any:
        """Return tensors, or lists, tuples and mappings of them, on the device."""
        if isinstance(batch, torch.Tensor):
            return batch.to(self.device, non_blocking=True)
        if isinstance(batch, Mapping):
            return {name: self.move(part) for name, part in batch.items()}
        if isinstance(batch, list | tuple):
            return type(batch)(self.move(part) for part in batch)
        return batch

    def arrange(self, inputs: Any) -> Any:
        """Return images of shape (n, c, h, w) in the memory format; anything else as it is."""
        if self.channels_last and isinstance(inputs, torch.Tensor) and inputs.dim() == 4:
            return inputs.contiguous(memory_format=torch.channels_last)
        return inputs

    def precision(self) -> AbstractContextManager[Any]:
        """Return the context to run the model and its loss in."""
        if self.amp is None:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=PRECISIONS[self.amp])

    def scaler(self) -> torch.amp.GradScaler:
        """Return a loss scaler, which does nothing but for fp16."""
        return torch.amp.GradScaler(self.device.type, enabled=self.amp == "fp16")

    def wait(self) -> None:
        """Wait until the device has done its work."""
        if self.on_gpu:
            torch.cuda.synchronize(self.device)


def find_device(wish: str = "auto") -> torch.device:
    """Return the device to train on.

    In a Ray Tune trial it is a GPU exactly when the trial's resources hold one, or a share of one;
    elsewhere when the machine has one. A worker of a ``TorchTrainer`` has its own.

    Args:
        wish: "auto", "cpu", or "cuda" to fail where there is no GPU.

    Raises:
        InvalidValueError: When a GPU is asked for where none is.
    """
    # Ray's local mode, without a process group, leaves a context behind that names no device.
    if is_worker() and torch.distributed.is_initialized():
        device = ray.train.torch.get_device()
        if wish == "cuda" and device.type != "cuda":
            raise InvalidValueError(
                'device "cuda" must come with a GPU for each worker, but got none: '
                "say use_gpu=True."
            )
        return torch.device("cpu") if wish == "cpu" else device
    granted = trial_resources()
    share = None if granted is None else granted.get("GPU", 0.0)
    if wish == "cuda" and share == 0.0:
        raise InvalidValueError(
            'device "cuda" must come with a GPU of the trial, but got none: '
            'use tune.with_resources(train, {"cpu": 4, "gpu": 1}), or device "auto".'
        )
    if (wish == "cuda" or share) and not torch.cuda.is_available():
        raise InvalidValueError(
            "a GPU must be visible to torch where one is asked for, but got none: install torch "
            'with CUDA and check nvidia-smi, or leave out device "cuda" and resources of "gpu".'
        )
    if wish == "cpu" or share == 0.0 or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda")


def trial_resources() -> Mapping[str, float] | None:
    """Return what Ray gave the trial that this process runs, by "CPU", "GPU" and others.

    None where the process runs no trial.
    """
    with warnings.catch_warnings():
        # Ray warns about a question that is meant seriously here.
        warnings.simplefilter("ignore")
        resources = tune.get_context().get_trial_resources()
    if resources is None:
        return None
    required: Mapping[str, float] = resources.required_resources
    return required
