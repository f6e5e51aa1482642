"""What an optimizer's momentum filters, against the updates that torch really makes."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from gap_tune.control.momentum import group_momentum, set_momentum
from gap_tune.gradients import GradientMonitor, used_filter
from gap_tune.gradients.banks.whitening import Whitening
from gap_tune.gradients.used_filter import UsedFilter

IMPLEMENTATIONS = ({"foreach": False}, {"foreach": True}, {"fused": True})
# Once at the start, once later, once for a single step, and never again.
COURSE = (0.0, 0.9, 0.9, 0.0, 0.0, 0.8, 0.5, 0.0, 0.9, 0.9, 0.9, 0.9)
DECAY, LR = 0.3, 0.1


def parameters() -> list[torch.nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    shapes = ((3,), (2, 2), (5,))
    return [
        torch.nn.Parameter(torch.randn(s, generator=generator, dtype=torch.float64)) for s in shapes
    ]


def joined(tensors: list[Tensor]) -> Tensor:
    return torch.cat([each.detach().reshape(-1) for each in tensors])


class Run:
    """SGD whose filter is asked for products, and the products with torch's real updates."""

    def __init__(self, groups: Any, params: list[torch.nn.Parameter], **options: Any) -> None:
        self.params = params
        self.optimizer = torch.optim.SGD(groups, lr=LR, weight_decay=DECAY, **options)
        self.monitor = GradientMonitor(self.optimizer, sample=None)
        self.filter = UsedFilter(self.monitor, self.optimizer, 0.99)
        self.optimizer.register_step_pre_hook(self.take)
        self.updates = torch.zeros(sum(p.numel() for p in params), dtype=torch.float64)
        self.found: list[float] = []
        self.expected: list[float] = []

    def take(self, *_: Any) -> None:
        groups = self.optimizer.param_groups
        products = self.filter.products({p: group_momentum(g) for g in groups for p in g["params"]})
        assert products is not None
        self.found.append(float(products[0]))

    def step(self, step: int, absent: int | None = None) -> None:
        generator = torch.Generator().manual_seed(100 + step)
        for i, p in enumerate(self.params):
            fresh = torch.randn(p.shape, generator=generator, dtype=p.dtype)
            p.grad = None if i == absent else fresh
        before = [p.detach().clone() for p in self.params]
        gradient = joined(
            [
                torch.zeros_like(p) if p.grad is None else p.grad + DECAY * p.detach()
                for p in self.params
            ]
        )
        self.expected.append(float(gradient @ self.updates))
        self.optimizer.step()
        moved = (joined(before) - joined(list(self.params))) / LR
        took_part = joined([torch.full_like(p, p.grad is not None) for p in self.params]).bool()
        self.updates = torch.where(took_part, moved, self.updates)

    def check(self) -> None:
        assert self.found == pytest.approx(self.expected, rel=1e-9, abs=1e-12)


@pytest.fixture(params=["host", "device"])
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the filter do as in host memory, or as on a device."""
    if request.param == "device":
        monkeypatch.setattr(used_filter, "lives_on_host", lambda device: False)


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize("dropped", [False, True])
@pytest.mark.parametrize("options", IMPLEMENTATIONS)
def test_bug_at_momentum_zero_the_filter_does_as_torchs_buffer(
    options: dict[str, bool], dropped: bool
) -> None:
    """Torch leaves its buffer as it was, and starts anew where gap_tune has dropped it."""
    params = parameters()
    run = Run([{"params": params}], params, momentum=COURSE[0], **options)
    for step, momentum in enumerate(COURSE):
        if dropped:
            set_momentum(run.optimizer, run.optimizer.param_groups, momentum)
        else:
            run.optimizer.param_groups[0]["momentum"] = momentum
        run.step(step)
    run.check()


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize("dropped", [False, True])
@pytest.mark.parametrize("options", IMPLEMENTATIONS[:2])
def test_bug_a_group_at_momentum_zero_does_so_alone(
    options: dict[str, bool], dropped: bool
) -> None:
    """One group rests, and now and then a parameter has no gradient."""
    params = parameters()
    groups = [{"params": params[:2]}, {"params": params[2:]}]
    run = Run(groups, params, momentum=0.9, **options)
    for step, momentum in enumerate(COURSE * 2):
        group = run.optimizer.param_groups[step // len(COURSE)]
        if dropped:
            set_momentum(run.optimizer, [group], momentum)
        else:
            group["momentum"] = momentum
        run.step(step, absent=step % 5)
    run.check()


@pytest.mark.parametrize("at", range(1, len(COURSE)))
def test_a_filter_that_goes_on_from_a_state_does_so_where_momentum_is_zero(at: int) -> None:
    params = parameters()
    run = Run([{"params": params}], params, momentum=COURSE[0])
    for step, momentum in enumerate(COURSE):
        run.optimizer.param_groups[0]["momentum"] = momentum
        if step == at:
            state = copy.deepcopy(run.filter.state_dict())
            run.filter = UsedFilter(run.monitor, run.optimizer, 0.99)
            run.filter.load_state_dict(state)
        run.step(step)
    run.check()


def test_bug_a_beta2_of_shape_1_is_whitened_with() -> None:
    """torch takes such betas, and on a device nobody asks for their value."""
    whitening, plain = (Whitening((0.9,), torch.ones(5), 1e-8) for _ in range(2))
    whitening.use((torch.tensor([0.99]),))
    plain.use((0.99,))
    ones, finite = torch.ones(5), torch.tensor(True)
    for each in (whitening, plain):
        each.whiten(ones, finite, None)
    torch.testing.assert_close(whitening.tensors(), plain.tensors())


class _WithoutDecay(torch.optim.SGD):
    """A subclass with groups of its own."""

    def __init__(self, parameter: torch.nn.Parameter) -> None:
        torch.optim.Optimizer.__init__(self, [parameter], {"lr": 0.1, "momentum": 0.9})


def test_bug_groups_without_weight_decay_have_none_in_their_gradients() -> None:
    parameter = torch.nn.Parameter(torch.ones(5))
    optimizer = _WithoutDecay(parameter)
    monitor = GradientMonitor(optimizer)
    used = UsedFilter(monitor, optimizer, 0.99)
    parameter.grad = torch.ones(5)
    products = []
    for _ in range(2):
        monitor.observe(parameters=[parameter])
        products.append(used.products(0.9))
    assert products[1] == pytest.approx([5.0, 5.0])
