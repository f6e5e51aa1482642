"""Regression, deep tanh networks and attention over rows."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from gap_tune.training.local import run
from gap_tune.workloads import get_workload
from gap_tune.workloads.transformer import TransformerBlock


def tensors(samples: Any) -> tuple[torch.Tensor, torch.Tensor]:
    inputs, targets = samples.tensors
    return inputs, targets


@pytest.mark.parametrize(("table", "samples"), [("diabetes", 442), ("teacher", 1000)])
def test_regression_is_standardised_by_its_training_samples(table: str, samples: int) -> None:
    options = {"table": table, "samples": 1000, "noise": 0.0}
    splits = get_workload("regression", options).data()
    parts = [tensors(samples) for samples in (splits.train, splits.validation, splits.test)]
    assert sum(len(inputs) for inputs, _ in parts) == samples
    for values in parts[0]:
        torch.testing.assert_close(values.mean(0), torch.zeros(values.shape[1]), atol=1e-5, rtol=0)
        torch.testing.assert_close(values.std(0), torch.ones(values.shape[1]))


def test_linear_regression_comes_to_the_least_squares_solution() -> None:
    options = {"table": "diabetes", "width": 0}
    train, test = (
        tensors(getattr(get_workload("regression", options).data(), split))
        for split in ("train", "test")
    )
    ones = torch.ones(len(train[0]), 1)
    solution = torch.linalg.lstsq(torch.cat([train[0], ones], 1).double(), train[1].double())
    fitted = test[0].double() @ solution.solution[:-1] + solution.solution[-1]
    expected = (fitted - test[1]).square().mean().item()
    config = {"workload": "regression", "workload_options": options, "gap": {"mode": "fixed"}}
    last = run({**config, "batch_size": 265, "epochs": 2000, "lr": 0.02, "schedule": "none"})[-1]
    assert last["test_loss"] == pytest.approx(expected, rel=1e-2)


def test_the_teachers_noise_is_in_training_alone_and_of_the_size_that_is_told() -> None:
    told, noisy = (
        get_workload("regression", {"table": "teacher", "noise": noise}).data()
        for noise in (0.0, 0.3)
    )
    difference = tensors(noisy.train)[1] - tensors(told.train)[1]
    assert difference.std().item() == pytest.approx(0.3, rel=0.05)
    for split in ("validation", "test"):
        for one, other in zip(
            tensors(getattr(told, split)), tensors(getattr(noisy, split)), strict=True
        ):
            assert torch.equal(one, other)


def test_the_signal_of_a_deep_tanh_network_neither_dies_out_nor_grows() -> None:
    torch.manual_seed(0)
    model = get_workload("digits-tanh", {"depth": 20}).model()
    *hidden, _ = model.children()
    x = torch.randn(64, 1, 8, 8)
    first, last = torch.nn.Sequential(*hidden[:3])(x), torch.nn.Sequential(*hidden)(x)
    assert 0.2 < (last.std() / first.std()).item() < 1.0
    weights = next(p for name, p in model.named_parameters() if name.endswith("weights"))
    assert weights.shape == (20, 32, 32)


def test_only_causal_blocks_leave_what_comes_later_out() -> None:
    torch.manual_seed(0)
    tokens = torch.randn(2, 6, 8)
    changed = tokens.clone()
    changed[:, 4:] = torch.randn(2, 2, 8)
    for causal in (True, False):
        block = TransformerBlock(2, 8, 0.0, causal=causal)
        before = (block(tokens) - block(changed))[:, :4].abs().max().item()
        assert (before < 1e-5) == causal


def test_attention_tells_digits_apart_and_knows_where_rows_stand() -> None:
    config = {"workload": "digits-attention", "gap": {"mode": "fixed"}, "epochs": 8}
    assert run(config)[-1]["validation_accuracy"] > 0.6
    torch.manual_seed(0)
    model = get_workload("digits-attention").model()
    images = torch.randn(4, 1, 8, 8)
    assert not torch.allclose(model(images), model(images.flip(2)), atol=1e-4)
    assert model(images).logsumexp(1).mean().item() == pytest.approx(math.log(10), abs=1.0)
