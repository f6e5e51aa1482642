"""Sums over ranks: each rank observes its own coordinates, all ranks decide alike."""

from __future__ import annotations

import torch
from torch import Tensor
from torch import distributed as dist

from gap_tune.gradients.banks.base import STEPS, VALIDATION_WEIGHT, WEIGHT


def sum_over_ranks(
    sums: Tensor,
    validation: Tensor,
    counters: Tensor,
    sizes: Tensor,
    group: dist.ProcessGroup | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Add a filter bank's totals over the ranks that hold different coordinates.

    Inner products over disjoint coordinates add up; steps do not, since all ranks took the same
    ones: counters are averaged. (They differ only when NaN appeared in some shards and not in
    others; then the ranks still end with the same numbers.) One all_reduce of a few hundred bytes.

    Args:
        sums: Sums per judge, shape (M, K + L + 2).
        validation: Validation sums per judge, shape (M, K).
        counters: Weight, validation weight, steps.
        sizes: What else adds up over ranks, shape (any,).
        group: The ranks; None for all.

    Returns:
        The same four, equal on all ranks; the arguments stay as they are.
    """
    parts = (sums, validation, counters / dist.get_world_size(group), sizes.to(sums))
    packed = torch.cat([part.reshape(-1) for part in parts])
    dist.all_reduce(packed, group=group)
    pieces = packed.split([part.numel() for part in parts])
    return tuple(piece.view_as(part) for piece, part in zip(pieces, parts, strict=True))


def read_counters(counters: list[float], seen: int) -> dict[str, float | int]:
    """Return the counters by their names in ``AlignmentStatistics``."""
    steps = round(counters[STEPS])
    return {
        "weight": counters[WEIGHT],
        "validation_weight": counters[VALIDATION_WEIGHT],
        "steps": steps,
        "skipped_steps": seen - steps,
    }
