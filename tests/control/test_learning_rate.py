"""The coupling of learning rate and momentum, by the papers' formulas written out here."""

from __future__ import annotations

import math

import pytest
import torch

from gap_tune.control import MomentumControl
from gap_tune.control.bias_correction import Part
from gap_tune.control.learning_rate import Substitution, coupling
from gap_tune.gradients.step_hooks import hook_step


@pytest.mark.parametrize(("beta", "reference"), [(0.5, 0.9), (0.99, 0.9), (0.0, 0.8), (0.95, 0.0)])
def test_sums_of_gradients_are_coupled_by_corollary_5_and_averages_by_corollary_6(
    beta: float, reference: float
) -> None:
    size = math.sqrt((1.0 - beta**2) / (1.0 - reference**2))
    sums = {"momentum": beta, "reference_momentum": reference}
    assert coupling(sums) == pytest.approx(size, rel=1e-12)
    averages = {"betas": (beta, 0.999), "reference_momentum": reference}
    expected = size * (1.0 - reference) / (1.0 - beta)
    assert coupling(averages) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("group", [{"momentum": 0.7}, {"betas": (0.7, 0.99)}])
def test_without_a_reference_the_learning_rate_is_as_set(group: dict[str, object]) -> None:
    assert coupling(group) == 1.0
    assert coupling({**group, "reference_momentum": 0.7}) == 1.0


class Stepped:
    """Adam over groups of named parameters; the momentum is applied after three steps."""

    def __init__(self, *groups: str) -> None:
        self.weights = {
            name: torch.nn.Parameter(torch.ones(2)) for group in groups for name in group
        }
        self.optimizer = torch.optim.AdamW(
            [{"params": [self.weights[name] for name in group]} for group in groups], lr=0.1
        )
        self.control = MomentumControl(self.optimizer)
        hook_step(
            self.optimizer,
            before=lambda *_: self.control.before_step(),
            after=lambda *_: self.control.after_step(),
        )
        for i in range(6):
            if i == 3:
                self.control.apply(0.5)
            for name, weight in self.weights.items():
                # One begins late, and so has been averaged with fewer momenta.
                weight.grad = None if name == "c" and i < 2 else torch.full((2,), float(ord(name)))
            self.optimizer.step()


def test_groups_that_step_as_one_and_as_several_step_together() -> None:
    together = Stepped("a", "bc", "d")
    for name, weight in together.weights.items():
        (alone,) = Stepped(name).weights.values()
        assert torch.equal(weight, alone)
    assert [len(group["params"]) for group in together.optimizer.param_groups] == [1, 2, 1]


def test_a_learning_rate_that_a_hook_writes_stays_where_a_group_steps_as_several() -> None:
    stepped = Stepped("bc")
    optimizer, (group,) = stepped.optimizer, stepped.optimizer.param_groups

    def warm_up(*_: object) -> None:
        for each in optimizer.param_groups:
            each["lr"] = 0.2

    optimizer.register_step_pre_hook(warm_up)
    optimizer.step()
    assert optimizer.param_groups == [group]
    assert group["lr"] == 0.2
    assert group["params"] == list(stepped.weights.values())


@pytest.mark.parametrize(
    ("options", "decoupled"),
    [
        ({}, False),
        ({"decoupled_weight_decay": True}, True),
        # As pytorch_optimizer calls it, whose fixed decay is not times the learning rate.
        ({"weight_decouple": True}, True),
        ({"weight_decouple": False}, False),
        ({"weight_decouple": True, "fixed_decay": True}, False),
    ],
)
@pytest.mark.parametrize("decouples", [False, True])
def test_decoupled_weight_decay_stays_that_of_the_learning_rate_that_was_set(
    options: dict[str, bool], decoupled: bool, decouples: bool
) -> None:
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([weight], lr=0.2, weight_decay=0.1)
    (group,) = optimizer.param_groups
    group.update(options)
    substitution = Substitution(optimizer, decouples=decouples)
    substitution.put_in([[Part(0.5, [weight])]])
    expected = 0.2 if decoupled or (decouples and not options) else 0.1
    assert (group["lr"], group["weight_decay"]) == (0.1, expected)
    substitution.take_out(stepped=True)
    assert (group["lr"], group["weight_decay"]) == (0.2, 0.1)
