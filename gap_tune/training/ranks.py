"""Ranks: the processes that train one model together, each on its share of every minibatch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from gap_tune.errors import InvalidValueError
from gap_tune.tune.ray_private.workers import is_worker


@dataclass(frozen=True)
class Ranks:
    """This process's place among those that train together.

    Attributes:
        rank: Its number, from 0.
        count: How many there are; 1 where a trial trains in its own process.

    >>> Ranks(rank=1, count=2).share_of(torch.arange(6)).tolist()
    [1, 3, 5]
    """

    rank: int = 0
    count: int = 1

    def share_of(self, indices: Tensor) -> Tensor:
        """Return this rank's part of a minibatch: every ``count``-th of its samples."""
        return indices[self.rank :: self.count]

    def check_parts(self, size: int) -> None:
        """Check that parts of a minibatch can be shared equally, so that ranks count equally.

        Raises:
            InvalidValueError: When they cannot.
        """
        if size % self.count:
            raise InvalidValueError(
                f"batch_size / accumulate must be a multiple of the number of ranks, {self.count}, "
                f"but got {size}."
            )

    def join(self, model: nn.Module) -> nn.Module:
        """Return a model whose gradients are means over all ranks."""
        return DistributedDataParallel(model) if self.count > 1 else model

    def mean(self, value: float) -> float:
        """Return the mean of a number over all ranks, every one of which must ask."""
        if self.count == 1:
            return value
        # NCCL takes tensors on a GPU only.
        on_gpu = torch.distributed.get_backend() == "nccl"
        total = torch.tensor(value, device="cuda" if on_gpu else "cpu")
        torch.distributed.all_reduce(total)
        return total.item() / self.count


def find_ranks() -> Ranks:
    """Return the place of this process: among the workers of a ``TorchTrainer``, or alone."""
    if not is_worker():
        return Ranks()
    import ray.train

    context = ray.train.get_context()
    return Ranks(context.get_world_rank(), context.get_world_size())
