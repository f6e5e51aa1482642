"""The weight that averages lack, in states that are loaded and let go."""

from __future__ import annotations

import copy

import pytest
import torch

from gap_tune.control.average_weight import notes_of_groups
from gap_tune.control.bias_correction import BiasCorrection


class Trained:
    """Adam, whose steps a correction follows without being put in."""

    def __init__(self) -> None:
        self.weight = torch.nn.Parameter(torch.ones(3))
        self.optimizer = torch.optim.Adam([self.weight], betas=(0.9, 0.9))
        self.correction = BiasCorrection(self.optimizer)

    def steps(self, count: int, **betas: tuple[float, float]) -> Trained:
        self.optimizer.param_groups[0].update(betas)
        for _ in range(count):
            self.weight.grad = torch.ones(3)
            self.correction.follow()
            self.optimizer.step()
        return self

    def factor(self) -> float:
        (part,) = self.correction.parts(self.optimizer.param_groups[0])
        assert isinstance(part.factor, float)
        return part.factor


def test_what_is_let_go_has_the_weight_that_torch_divides_it_by() -> None:
    trained = Trained().steps(3).steps(2, betas=(0.5, 0.6))
    state = trained.optimizer.state[trained.weight]
    # Gradients of ones: an average is its weight, 1 less the product of all betas.
    for name, first, then in (("exp_avg", 0.9, 0.5), ("exp_avg_sq", 0.9, 0.6)):
        assert state[name].tolist() == pytest.approx([1 - first**3 * then**2] * 3, rel=1e-5)
    trained.correction.release()
    for name, beta in (("exp_avg", 0.5), ("exp_avg_sq", 0.6)):
        assert state[name].tolist() == pytest.approx([1 - beta**5] * 3, rel=1e-5)
    assert trained.factor() == 1.0


def test_what_never_stepped_is_let_go_as_it_is() -> None:
    trained = Trained()
    trained.steps(0, betas=(0.5, 0.6))
    trained.correction.release()
    assert not trained.optimizer.state


def test_an_earlier_state_than_the_one_that_training_went_on_from_has_its_notes() -> None:
    first = Trained().steps(5).steps(3, betas=(0.5, 0.9))
    earlier, factor = copy.deepcopy(first.optimizer.state_dict()), first.factor()
    first.steps(2)
    later, notes = first.optimizer.state_dict(), first.correction.state_dict()
    second = Trained()
    second.optimizer.load_state_dict(later)
    second.correction.load_state_dict(notes)
    assert second.factor() == first.factor() != 1.0
    second.optimizer.load_state_dict(earlier)
    second.correction.reread()
    assert second.factor() == factor != 1.0


def test_notes_by_group_hold_for_all_its_parameters_once_it_has_stepped() -> None:
    groups = [{"params": ["a", "b"]}, {"params": ["c"]}, {"params": ["d"]}]
    notes = notes_of_groups({0: (5, 0.75), 2: (0, 0.0)}, groups)
    assert notes == [[(5, 0.25), (5, 0.25)], [None], [None]]
