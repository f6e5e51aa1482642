"""The scale is the same again: resumed, late, repeated."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from gap_tune import TrustRegion
from gap_tune.control.scale import ScaleControl
from gap_tune.gradients import GradientMonitor, used_filter
from tests.control.scaled import MAKERS, parameters, train


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("steps", [0, 1, 7, 25])
def test_a_run_that_is_resumed_is_that_run_bit_for_bit(name: str, steps: int) -> None:
    params = parameters()
    optimizer: Any = MAKERS[name](params)
    train(optimizer, params, range(steps))
    others = copy.deepcopy(params)
    resumed: Any = MAKERS[name](others)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    train(optimizer, params, range(steps, steps + 20))
    train(resumed, others, range(steps, steps + 20))
    assert resumed.scale == optimizer.scale
    assert all(torch.equal(a, b) for a, b in zip(params, others, strict=True))


def test_agreement_that_comes_three_steps_late_is_that_of_three_steps_ago(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As on a device, whose numbers nobody waits for."""
    params = parameters()
    optimizer = torch.optim.SGD(params, lr=0.0, momentum=0.9)
    monitors = [GradientMonitor(optimizer, sample=None) for _ in range(2)]
    prompt, late = (ScaleControl(TrustRegion(), [m], optimizer) for m in monitors)
    course: list[tuple[float, float]] = []
    for step in range(30):
        train(optimizer, params, range(step, step + 1))
        prompt.follow(0.9)
        with monkeypatch.context() as patch:
            patch.setattr(used_filter, "lives_on_host", lambda device: False)
            late.follow(0.9)
        course.append((prompt.scale, late.scale))
    prompts, lates = zip(*course, strict=True)
    assert lates[3:] == pytest.approx(prompts[:-3], rel=1e-6)
    assert lates[:3] == (TrustRegion().start,) * 3


def test_two_runs_are_the_same_bit_for_bit() -> None:
    scales = []
    for _ in range(2):
        params = parameters()
        optimizer: Any = MAKERS["adamw"](params)
        train(optimizer, params, range(30))
        scales.append((optimizer.scale, optimizer.agreement))
    assert scales[0] == scales[1]
