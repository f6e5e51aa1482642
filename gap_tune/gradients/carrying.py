"""Carrying a filter bank's state over to another choice of coordinates."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import torch
from torch import Tensor

from gap_tune.gradients.reading import GradientReader

State = dict[str, Tensor]


def carried(state: State, old: GradientReader, new: GradientReader) -> State:
    """Return a bank's state for the coordinates of another reader.

    What both read goes on as it was, sums included. What only the new one reads starts from zero,
    as an optimizer's own buffers do for a parameter that begins to train. Where all coordinates
    are read, the result is exact; a sample that grows by parameters chooses others in the old
    ones too, and those that it had not read so far need some steps to fill.

    Args:
        state: What the bank's ``state_dict`` returned.
        old: What the state was read with.
        new: What will be read from now on.
    """
    into, out_of = _overlap(old, new)
    into, out_of = into.to(new.device), out_of.to(new.device)
    weights = old.weights.to(new.device)[out_of].to(new.dtype)
    # Gradients come times the roots of their sampling weights.
    factor = (new.weights[into] / weights).sqrt()

    def moved(rows: Tensor, factor: Tensor | float) -> Tensor:
        rows = rows.to(new.device, torch.promote_types(rows.dtype, new.dtype))
        fresh = rows.new_zeros(len(rows), new.size)
        fresh[:, into] = rows[:, out_of] * factor
        return fresh

    result = {**state, "rows": moved(state["rows"], factor)}
    if "moment" in state:
        result["moment"] = moved(state["moment"], factor.square())
        mass = state["mass"]
        # Whoever joins later has its own bias correction: torch, too, counts per parameter.
        result["mass"] = moved(mass.expand(-1, old.size), 1.0) if new.size else mass[:, :1]
    return result


def _overlap(old: GradientReader, new: GradientReader) -> tuple[Tensor, Tensor]:
    """Return the places of the coordinates that both read, in the new one and in the old one."""
    runs = defaultdict(list)
    for tensor, start, length, place in _runs(old):
        runs[tensor].append((start, length, place))
    into, out_of = [torch.zeros(0, dtype=torch.int64)], [torch.zeros(0, dtype=torch.int64)]
    for tensor, start, length, place in _runs(new):
        for other_start, other_length, other_place in runs[tensor]:
            first = max(start, other_start)
            count = min(start + length, other_start + other_length) - first
            if count > 0:
                into.append(torch.arange(count) + place + first - start)
                out_of.append(torch.arange(count) + other_place + first - other_start)
    return torch.cat(into), torch.cat(out_of)


def _runs(reader: GradientReader) -> Iterator[tuple[int, int, int, int]]:
    """Yield each run of coordinates: whose it is, its start and length there, its place."""
    place = 0
    for piece in reader.slices:
        yield id(reader.parameters[piece.tensor]), piece.start, piece.length, place
        place += piece.length
