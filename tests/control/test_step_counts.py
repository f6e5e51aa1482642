"""How many steps an optimizer has taken, wherever it keeps that."""

from __future__ import annotations

import torch

from gap_tune.control.step_counts import StepCounts


def test_steps_are_those_of_the_parameter_or_else_of_its_group_or_none() -> None:
    own, of_group, new = (torch.nn.Parameter(torch.ones(2)) for _ in range(3))
    optimizer = torch.optim.Adam([own])
    for _ in range(3):
        own.grad = torch.ones(2)
        optimizer.step()
    counts = StepCounts(optimizer)
    (group,) = optimizer.param_groups
    assert (counts.of(own, group), counts.of(new, group)) == (3, 0)
    # Others count by group.
    counting = {**group, "params": [own, of_group], "step": 7}
    assert (counts.of(own, counting), counts.of(of_group, counting)) == (3, 7)
    assert counts.of_all(counting) == [3, 7]
