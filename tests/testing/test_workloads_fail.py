"""The contract of workloads can fail: each of its tests finds the fault that it looks for."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from gap_tune.testing import WorkloadContract
from gap_tune.workloads import Splits, Workload


class Line(Workload):
    """A workload without a fault: a straight line through points."""

    lr = 0.05
    batch_size = 8

    def __init__(self, *, slope: float = 2.0) -> None:
        self.slope = slope

    def model(self) -> nn.Module:
        return nn.Linear(1, 1)

    def points(self, count: int, seed: int) -> TensorDataset:
        x = torch.rand(count, 1, generator=torch.Generator().manual_seed(seed))
        return TensorDataset(x, self.slope * x)

    def data(self) -> Splits:
        return Splits(*(self.points(count, seed) for seed, count in enumerate((64, 16, 16))))

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs - targets).square().mean()

    def metrics(self, outputs: Tensor, targets: Tensor) -> dict[str, float]:
        return {"loss": float(self.loss(outputs, targets))}


class TakesATensor(Line):
    def __init__(self, *, slope: Any = 2.0) -> None:
        super().__init__(slope=float(slope[0]) if isinstance(slope, tuple) else slope)


class HasANegativeRate(Line):
    lr = -0.1


class DrawsItsData(Line):
    def points(self, count: int, seed: int) -> TensorDataset:
        x = torch.rand(count, 1)
        return TensorDataset(x, self.slope * x)


class Leaks(Line):
    def data(self) -> Splits:
        splits = super().data()
        return Splits(splits.train, splits.validation, splits.validation)


class SeedsItself(Line):
    def model(self) -> nn.Module:
        torch.seed()
        return super().model()


class Sums(Line):
    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs - targets).square().sum()


class KeepsTheBatch(Line):
    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs - targets).square().mean(1)


class ReportsAnotherLoss(Line):
    def metrics(self, outputs: Tensor, targets: Tensor) -> dict[str, float]:
        return {"loss": 0.5}


class AugmentsFromAnywhere(Line):
    def augment(self, inputs: Tensor, generator: torch.Generator) -> Tensor:
        return inputs + torch.randn_like(inputs)


class Diverges(Line):
    lr = 1e4


FAULTS: list[tuple[type, str]] = [
    (TakesATensor, "test_options_are_plain_json"),
    (HasANegativeRate, "test_its_defaults_are_settings_to_train_with"),
    (DrawsItsData, "test_the_data_are_the_same_at_every_call"),
    (Leaks, "test_splits_have_samples_of_their_own"),
    (SeedsItself, "test_initial_weights_follow_torchs_seed"),
    (KeepsTheBatch, "test_the_loss_is_a_number_that_gradients_come_from"),
    (ReportsAnotherLoss, "test_metrics_are_finite_numbers_and_hold_the_loss"),
    (Sums, "test_means_of_two_batches_weigh_as_much_as_weight_says"),
    (AugmentsFromAnywhere, "test_augmentation_draws_from_the_generator_alone"),
    (Diverges, "test_an_epoch_of_training_stays_finite_and_lowers_the_loss"),
]


def contract(kind: type) -> WorkloadContract:
    options = {"slope": (2.0,)} if kind is TakesATensor else {}

    class Contract(WorkloadContract):
        def config(self) -> dict[str, Any]:
            return {"workload": f"{__name__}:{kind.__name__}", "workload_options": options}

    return Contract()


@pytest.mark.parametrize(("kind", "test"), FAULTS)
def test_a_workload_with_a_fault_breaks_its_contract(kind: type, test: str) -> None:
    getattr(contract(Line), test)()
    with pytest.raises(AssertionError):
        getattr(contract(kind), test)()
