"""Minibatches: from tensors by indexing, from any other dataset by a loader with workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset, default_collate

from gap_tune.errors import InvalidValueError
from gap_tune.workloads.base import Samples

Collate = Callable[[list[Any]], Any]


@dataclass(frozen=True)
class Loading:
    """How batches are fetched.

    Attributes:
        collate: Makes (inputs, targets) of a list of samples.
        workers: Processes that fetch ahead; 0 fetches in this one. They start anew at every
            epoch: workers that live on would hold random states that no checkpoint has.
        pinned: Whether batches lie in pinned memory, from which copies to a GPU do not wait.
    """

    collate: Collate = default_collate
    workers: int = 0
    pinned: bool = False


def batches(
    samples: Samples,
    batch_size: int,
    order: torch.Generator,
    *,
    loading: Loading | None = None,
    parts: int = 1,
    skip: int = 0,
    seed: int = 0,
    share: Callable[[Tensor], Tensor] | None = None,
) -> Iterator[Any]:
    """Yield full minibatches in an order drawn from ``order``; the remainder is dropped.

    Args:
        samples: The dataset.
        batch_size: Samples of a minibatch.
        order: Where the order comes from: one draw per call.
        loading: How to fetch.
        parts: Yield each minibatch in so many equal parts, one after the other.
        skip: Minibatches to pass over, at no cost.
        seed: Fixes the random numbers of the loader's workers.
        share: Picks this process's samples of every part; None takes all.
    """
    permutation = torch.randperm(len(samples), generator=order)
    stop = len(samples) - len(samples) % batch_size
    chosen = permutation[skip * batch_size : stop]
    sets = _sets(chosen, batch_size // parts)
    if share is not None:
        sets = [share(part) for part in sets]
    yield from load(samples, sets, loading or Loading(), seed)


def load(
    samples: Samples, indices: Sequence[Tensor], loading: Loading, seed: int = 0
) -> Iterator[Any]:
    """Yield (inputs, targets) of every set of indices."""
    if isinstance(samples, TensorDataset):
        for chosen in indices:
            yield tuple(tensor.index_select(0, chosen) for tensor in samples.tensors)
        return
    yield from DataLoader(
        samples,  # type: ignore[arg-type]
        batch_sampler=[chosen.tolist() for chosen in indices],
        collate_fn=loading.collate,
        num_workers=loading.workers,
        pin_memory=loading.pinned,
        # Without one of its own, a loader's first draw would come from torch's global stream.
        generator=torch.Generator().manual_seed(seed),
    )


def in_order(samples: Samples, batch_size: int, loading: Loading) -> Iterator[Any]:
    """Yield all samples once, in their order, the remainder included."""
    yield from load(samples, _sets(torch.arange(len(samples)), batch_size), loading)


def check_batch_size(samples: Samples, batch_size: int) -> int:
    """Return the number of full minibatches in the samples.

    Raises:
        InvalidValueError: When there is none.
    """
    if batch_size > len(samples):
        raise InvalidValueError(
            f"batch_size must be at most the number of training samples, {len(samples)}, "
            f"but got {batch_size}."
        )
    return len(samples) // batch_size


def _sets(indices: Tensor, size: int) -> list[Tensor]:
    # Tensor.split makes one empty batch of nothing.
    return [indices[start : start + size] for start in range(0, len(indices), size)]
