"""The correction of Adam's averages where an optimizer counts its steps on a device."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings

from gap_tune.control import bias_correction, step_counts
from tests.control.own_adam import (
    Schedule,
    Twins,
    adam,
    controlled,
    follow_schedule,
    parameters,
    schedules,
    step,
)


@pytest.fixture
def on_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Treat the optimizer's counts as if reading them meant waiting for an accelerator."""
    for module in (bias_correction, step_counts):
        monkeypatch.setattr(module, "on_host", lambda tensor: False)


@pytest.mark.usefixtures("on_a_device")
@pytest.mark.parametrize("decay", [0.0, 0.3])
@settings(max_examples=25, deadline=None)
@given(schedule=schedules)
def test_counts_on_a_device_are_followed_without_reading_them_at_a_step(
    decay: float, schedule: Schedule
) -> None:
    params = parameters(4)
    follow_schedule(adam(params, fused=True, weight_decay=decay), params, schedule, decay)


@pytest.mark.usefixtures("on_a_device")
@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_steps_that_the_grad_scaler_skips_on_a_device_are_no_steps(decay: float) -> None:
    params = parameters(2)
    optimizer = adam(params, fused=True, weight_decay=decay)
    control, twins = controlled(optimizer), Twins(params, decay)
    optimizer.grad_scale = torch.ones(())
    for t in range(30):
        if t in (4, 11, 20):
            control.apply({4: 0.5, 11: 0.99, 20: 0.8}[t])
        skipped = t in (0, 5, 6, 12, 13, 21)
        optimizer.found_inf = torch.tensor(float(skipped))
        gradients = {params[0]: 1.0 + t} | ({params[1]: -1.0} if t >= 9 else {})
        step(optimizer, gradients)
        twins.follow({} if skipped else gradients, control.momentum, rtol=1e-5)
