"""Momentum that is set once, by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gap_tune import apply_momentum
from tests.control.own_adam import LR, adam, controlled, parameters, step


@pytest.mark.parametrize("kind", [torch.optim.AdamW, torch.optim.Adamax, torch.optim.RAdam])
def test_bug_momentum_set_once_by_hand_must_not_enlarge_the_steps(
    kind: type[torch.optim.Optimizer],
) -> None:
    def run(change: bool) -> torch.Tensor:
        params = parameters(2)
        optimizer = adam(params, kind)
        for t in range(30):
            if change and t == 10:
                apply_momentum(optimizer, 0.99)
            step(optimizer, {params[0]: 1.0} | ({params[1]: 1.0} if t >= 8 else {}))
        return torch.stack([p.detach() for p in params])

    torch.testing.assert_close(run(True), run(False))


def test_momentum_set_by_hand_is_the_control_s_where_there_is_one() -> None:
    (parameter,) = parameters(1)
    optimizer = adam([parameter])
    control = controlled(optimizer)
    for _ in range(10):
        step(optimizer, {parameter: 1.0})
    apply_momentum(optimizer, 0.99)
    before = parameter.detach().clone()
    step(optimizer, {parameter: 1.0})
    assert control.momentum == 0.99
    np.testing.assert_allclose((before - parameter.detach()).numpy(), LR, rtol=1e-6)


@pytest.mark.parametrize("options", [{"foreach": False}, {"foreach": True}])
@pytest.mark.parametrize("first", [0.0, 0.9])
def test_bug_rmsprop_failed_when_momentum_came_back_from_zero(
    first: float, options: dict[str, bool]
) -> None:
    """It expects the buffers of its first step; they start from zero."""
    (parameter,) = parameters(1)
    optimizer = torch.optim.RMSprop([parameter], lr=LR, momentum=first, alpha=0.5, **options)
    weight, square, buffer = 1.0, 0.0, 0.0
    for t, momentum in enumerate((first, first, 0.0, 0.0, 0.9, 0.5, 0.5)):
        if t:
            apply_momentum(optimizer, momentum)
        gradient = 1.0 + t
        step(optimizer, {parameter: gradient})
        square = 0.5 * square + 0.5 * gradient**2
        buffer = momentum * buffer + gradient / (square**0.5 + 1e-8)
        weight -= LR * buffer
        if momentum == 0.0:
            buffer = 0.0
        assert parameter.tolist() == pytest.approx([weight] * 3, rel=1e-9)
