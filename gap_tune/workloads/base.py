"""Workload: what a training loop needs to know about a task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from torch import Generator, Tensor, nn
from torch.utils.data import Subset, TensorDataset, default_collate

# Learning rate and weight decay, by optimizer family.
Recipes = Mapping[str, Mapping[str, float]]


class Samples(Protocol):
    """A map-style dataset: any ``torch.utils.data.Dataset`` with a length."""

    def __len__(self) -> int:
        """Return the number of samples."""

    def __getitem__(self, index: int) -> Any:
        """Return a sample: inputs and target."""


def take(samples: Samples, indices: Tensor) -> Samples:
    """Return the samples at the indices, as a dataset."""
    if isinstance(samples, TensorDataset):
        return TensorDataset(*(tensor[indices] for tensor in samples.tensors))
    chosen: Samples = Subset(samples, indices.tolist())  # type: ignore[arg-type]
    return chosen


@dataclass(frozen=True)
class Splits:
    """A task's data: train to fit, validation to compare, test to report once at the end.

    Attributes:
        train: Samples to fit.
        validation: Samples to compare trials by.
        test: Samples that nothing is chosen by.
        held_out: Samples for validation-aware training only; None lets the loop take a share of
            train where it needs them.
    """

    train: Samples
    validation: Samples
    test: Samples
    held_out: Samples | None = None


class Workload(ABC):
    """A task: model, data, loss and metrics. Subclasses set the defaults as class attributes.

    Options of a workload are keyword arguments of its constructor, plain JSON values: a trial's
    configuration holds them as ``workload_options``.

    Attributes:
        name: What users call it.
        description: One line: model and task.
        size: How much data, in words.
        source: Where the data come from.
        needs: What to install or to provide.
        family: Default optimizer family.
        lr: Default learning rate of that family, meant for momentum 0.9.
        weight_decay: Default weight decay of that family.
        recipes: Learning rate and weight decay of other families, by family.
        schedule: Default learning-rate schedule: "cosine", "step" or "none".
        warmup_epochs: Default length of the linear warm-up.
        batch_size: Default minibatch size.
        evaluation_batch_size: Minibatch size where nothing is trained; None takes that of training.
        epochs: Default number of epochs.
    """

    name: ClassVar[str] = ""
    description: ClassVar[str] = ""
    size: ClassVar[str] = ""
    source: ClassVar[str] = ""
    needs: ClassVar[str] = "nothing"
    family: ClassVar[str] = "sgd"
    lr: ClassVar[float] = 0.1
    weight_decay: ClassVar[float] = 0.0
    recipes: ClassVar[Recipes] = {}
    schedule: ClassVar[str] = "cosine"
    warmup_epochs: ClassVar[float] = 0.0
    batch_size: ClassVar[int] = 32
    evaluation_batch_size: ClassVar[int | None] = None
    epochs: ClassVar[int] = 10

    @abstractmethod
    def model(self) -> nn.Module:
        """Return a freshly initialised model; the caller has seeded torch."""

    @abstractmethod
    def data(self) -> Splits:
        """Return the splits, the same at every call."""

    @abstractmethod
    def loss(self, outputs: Any, targets: Any) -> Tensor:
        """Return the mean loss of a batch, 0-d."""

    @abstractmethod
    def metrics(self, outputs: Any, targets: Any) -> dict[str, float]:
        """Return the means over a batch by name, the loss included as ``loss``."""

    def recipe(self, family: str) -> dict[str, float]:
        """Return the learning rate and weight decay to start with in an optimizer family."""
        return {
            "lr": self.lr,
            "weight_decay": self.weight_decay,
            **self.recipes.get(family, {}),
        }

    def forward(self, model: nn.Module, inputs: Any) -> Any:
        """Return the model's outputs on a batch; by default ``model(inputs)``."""
        return model(inputs)

    def collate(self, samples: Sequence[Any]) -> Any:
        """Return (inputs, targets) of a batch of samples; by default torch's own way.

        A ``TensorDataset`` is indexed instead, which is the same and faster.
        """
        return default_collate(list(samples))

    def augment(self, inputs: Any, generator: Generator) -> Any:
        """Return a training batch's inputs, changed at random; by default as they are.

        Args:
            inputs: The batch's inputs, on the device where the model is.
            generator: Where all random numbers must come from, on the CPU: checkpoints hold it.
        """
        return inputs

    def weight(self, targets: Any) -> int:
        """Return how many terms the means of a batch are taken over; by default its samples."""
        return len(targets)
