"""Whatever an optimizer is wrapped in, it is watched where its steps happen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from unittest.mock import MagicMock

import pytest
import torch

from gap_tune import GradientMonitor
from gap_tune.errors import UnsupportedError
from gap_tune.gradients.wrappers import unwrapped
from gap_tune.tune.probe import measure


class Skipping(torch.optim.Optimizer):
    """Passes for an optimizer without torch's constructor, as Accelerate's wrapper does."""

    def __init__(self, name: str, inner: Any) -> None:
        setattr(self, name, inner)

    def step(self, closure: Any = None) -> Any:
        return next(iter(vars(self).values())).step(closure)


class Delegating:
    """No optimizer, but shows everything that the wrapped one has."""

    def __init__(self, inner: Any) -> None:
        self._hidden = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_hidden"], name)


class Shared(torch.optim.Optimizer):
    """Sharpness-aware minimisation's shape: torch's constructor, and another one's groups."""

    def __init__(self, inner: torch.optim.Optimizer) -> None:
        super().__init__(inner.param_groups, {})
        self.base_optimizer = inner
        self.param_groups = inner.param_groups

    def second_step(self) -> None:
        self.base_optimizer.step()


def sgd() -> tuple[torch.nn.Parameter, torch.optim.SGD]:
    weight = torch.nn.Parameter(torch.ones(3))
    return weight, torch.optim.SGD([weight], lr=0.1, momentum=0.9)


@pytest.mark.parametrize("name", ["optimizer", "_optimizer", "optim", "base_optimizer", "mine"])
def test_bug_a_wrapper_without_torch_s_constructor_raised_attribute_error(name: str) -> None:
    weight, optimizer = sgd()
    wrapped = Skipping(name, Delegating(Skipping(name, optimizer)))
    monitor = GradientMonitor(wrapped)
    for _ in range(3):
        weight.grad = torch.ones(3)
        wrapped.step()
    assert monitor.statistics().steps == 3
    assert unwrapped(optimizer) is optimizer


def test_the_optimizer_that_steps_the_shared_groups_is_watched() -> None:
    weight, optimizer = sgd()
    wrapper = Shared(optimizer)
    monitor = GradientMonitor(wrapper)
    weight.grad = torch.ones(3)
    wrapper.second_step()
    assert monitor.statistics().steps == 1


@pytest.mark.parametrize("name", ["Lookahead", "TRAC", "OrthoGrad"])
def test_third_party_wrappers_are_followed(name: str) -> None:
    import pytorch_optimizer

    weight, optimizer = sgd()
    wrapper = getattr(pytorch_optimizer, name)(optimizer)
    monitor = GradientMonitor(wrapper)
    for _ in range(2):
        weight.grad = torch.ones(3)
        wrapper.step()
    assert unwrapped(wrapper) is optimizer
    assert monitor.statistics().steps == 2


def test_lightning_s_wrapper_is_followed() -> None:
    from lightning.pytorch.core.optimizer import LightningOptimizer

    _, optimizer = sgd()
    assert unwrapped(LightningOptimizer(optimizer)) is optimizer


def test_an_optimizer_whose_class_got_another_step_is_itself() -> None:
    weight, optimizer = sgd()

    def step(self: Any, closure: Any = None) -> Any:
        return super(kind, self).step(closure)

    kind = type("Patched", (torch.optim.SGD,), {"step": step})
    optimizer.__class__ = kind
    monitor = GradientMonitor(optimizer)
    weight.grad = torch.ones(3)
    optimizer.step()
    assert monitor.statistics().steps == 1


def circle() -> Any:
    first = Skipping("optimizer", None)
    first.optimizer = Skipping("optimizer", first)
    return first


@pytest.mark.parametrize(
    ("thing", "complaint"),
    [
        ([], r"must be a torch\.optim\.Optimizer, but got list"),
        (None, "but got NoneType"),
        (torch.optim.SGD, "but got type"),
        (torch.nn.Linear(2, 2), "but got Linear"),
        (MagicMock(), "but got MagicMock"),
        (circle(), "but got Skipping, which does neither"),
        (Skipping("optimizer", None), "but got Skipping, which does neither"),
    ],
)
def test_what_no_optimizer_is_in_is_refused_in_one_sentence(thing: Any, complaint: str) -> None:
    with pytest.raises(UnsupportedError, match=complaint):
        GradientMonitor(thing)


def test_a_wrapper_of_two_optimizers_is_refused() -> None:
    both = Skipping("first", sgd()[1])
    both.second = sgd()[1]  # type: ignore[attr-defined]
    with pytest.raises(UnsupportedError, match="Skipping, which wraps 2: SGD, SGD"):
        unwrapped(both)


@pytest.fixture(params=["no", "bf16"])
def accelerator(request: pytest.FixtureRequest) -> Iterator[Any]:
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    yield Accelerator(cpu=True, gradient_accumulation_steps=3, mixed_precision=request.param)
    AcceleratorState._reset_state(True)


def test_bug_accelerate_s_optimizer_could_not_be_watched(accelerator: Any) -> None:
    torch.manual_seed(0)
    model = torch.nn.Linear(4, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    data = torch.utils.data.TensorDataset(torch.randn(24, 4))
    loader = torch.utils.data.DataLoader(data, batch_size=2)
    prepared, wrapper, batches = accelerator.prepare(model, optimizer, loader)
    monitor = GradientMonitor(wrapper, decay=1.0, sample=None)
    power = 0.0
    for (inputs,) in batches:
        with accelerator.accumulate(prepared):
            accelerator.backward(prepared(inputs).pow(2).mean())
            if accelerator.sync_gradients:
                power += sum(float(p.grad.pow(2).sum()) for p in model.parameters())  # type: ignore[union-attr]
            wrapper.step()
            wrapper.zero_grad()
    # Twelve batches, of which three make a step.
    assert monitor.statistics().steps == 4
    assert monitor.statistics().power == pytest.approx(power, rel=1e-5)


def test_bug_probe_refused_accelerate_s_optimizer(accelerator: Any) -> None:
    def setup() -> Any:
        weight, optimizer = sgd()
        wrapper = accelerator.prepare(optimizer)

        def train_step() -> None:
            weight.grad = torch.ones(3)
            wrapper.step()

        return wrapper, train_step

    _, by_beta2 = measure(setup, 4, {})
    assert by_beta2[None].steps == 4
