"""Adam by hand, for tests that compare an optimizer with an average that knows its own weight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st

from gap_tune.control import MomentumControl
from gap_tune.gradients.step_hooks import hook_step

LR, BETA2, EPS = 0.01, 0.99, 1e-8


class OwnAdam:
    """Adam on one parameter, by hand: averages are divided by the weights that they really hold."""

    def __init__(self, weight: float, decay: float = 0.0, eps: float = EPS) -> None:
        self.weight, self.decay, self.eps = weight, decay, eps
        self.mean = self.square = self.mass = self.square_mass = 0.0

    def step(self, gradient: float, beta1: float, beta2: float = BETA2) -> None:
        self.weight *= 1 - LR * self.decay
        self.mean = beta1 * self.mean + (1 - beta1) * gradient
        self.mass = beta1 * self.mass + (1 - beta1)
        self.square = beta2 * self.square + (1 - beta2) * gradient**2
        self.square_mass = beta2 * self.square_mass + (1 - beta2)
        divisor = np.sqrt(self.square / self.square_mass) + self.eps
        self.weight -= LR * self.mean / self.mass / divisor


def parameters(count: int) -> list[torch.nn.Parameter]:
    return [torch.nn.Parameter(torch.ones(3, dtype=torch.float64)) for _ in range(count)]


def adam(groups: Any, kind: type[torch.optim.Optimizer] = torch.optim.AdamW, **options: Any) -> Any:
    defaults: dict[str, Any] = {"lr": LR, "betas": (0.9, BETA2), "eps": EPS, "weight_decay": 0.0}
    return kind(groups, **{**defaults, **options})


def controlled(optimizer: torch.optim.Optimizer) -> MomentumControl:
    control = MomentumControl(optimizer)
    hook_step(optimizer, before=control.before_step, after=control.after_step)
    optimizer.register_load_state_dict_post_hook(control.after_load)
    return control


def step(optimizer: Any, gradients: dict[torch.nn.Parameter, float]) -> None:
    optimizer.zero_grad()
    for parameter, value in gradients.items():
        parameter.grad = torch.full_like(parameter, value)
    optimizer.step()


class Twins:
    """Parameters under an optimizer, each beside an ``OwnAdam`` that gets the same gradients."""

    def __init__(
        self, parameters: Sequence[torch.nn.Parameter], decay: float = 0.0, eps: float = EPS
    ) -> None:
        self.pairs = [(parameter, OwnAdam(1.0, decay, eps)) for parameter in parameters]

    def follow(
        self,
        gradients: Mapping[torch.nn.Parameter, float],
        beta1: float,
        beta2: float = BETA2,
        *,
        rtol: float = 1e-9,
    ) -> None:
        """Take the step that the optimizer has just taken, and compare."""
        for parameter, own in self.pairs:
            if parameter in gradients:
                own.step(gradients[parameter], beta1, beta2)
            np.testing.assert_allclose(parameter.detach().numpy(), own.weight, rtol=rtol)


# Which of four parameters have a gradient at a step, and the momentum of the step.
Schedule = list[tuple[list[bool], float]]
schedules = st.lists(
    st.tuples(
        st.lists(st.booleans(), min_size=4, max_size=4), st.sampled_from([0.0, 0.5, 0.9, 0.99])
    ),
    min_size=1,
    max_size=30,
)


def follow_schedule(
    optimizer: torch.optim.Optimizer,
    params: list[torch.nn.Parameter],
    schedule: Schedule,
    decay: float,
) -> None:
    """Let an optimizer's momentum change by a schedule, and compare every step."""
    control, twins = controlled(optimizer), Twins(params, decay)
    for t, (present, beta1) in enumerate(schedule):
        if control.differs(beta1):
            control.apply(beta1)
        gradients = {p: float(np.sin(t + i)) for i, p in enumerate(params) if present[i]}
        step(optimizer, gradients)
        twins.follow(gradients, beta1)
