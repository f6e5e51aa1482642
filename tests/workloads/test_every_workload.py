"""Every workload on its real loader: two steps, and the same again after a stop."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from gap_tune.training.local import run
from gap_tune.training.prepared import PreparedTrial, prepare
from gap_tune.workloads import WORKLOADS, get_workload
from tests.workloads.data import cases
from tests.workloads.stopping import run_until, untimed

NAMES = sorted(WORKLOADS)


@pytest.mark.parametrize("name", NAMES)
def test_a_workload_trains_and_continues_within_an_epoch_as_if_never_stopped(
    name: str, root: Path, tmp_path: Path
) -> None:
    config = cases(root)[name].config(
        reports_per_epoch=2, checkpoints_per_epoch=2, gap={"mode": "trial"}
    )
    whole = run(config)
    assert len(whole) == 2
    for result in whole:
        numbers = [v for k, v in result.items() if k.startswith(("train_", "validation_"))]
        assert all(map(math.isfinite, numbers))
    assert whole[-1]["epoch"] == 1.0
    assert math.isfinite(whole[-1]["test_loss"])
    stopped = run_until(config, tmp_path / "checkpoint", 1)
    resumed = run(config, tmp_path / "checkpoint")
    assert untimed(stopped + resumed) == untimed(whole)


def weights(run: PreparedTrial) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in run.learner.model.parameters()])


@pytest.mark.parametrize("name", NAMES)
def test_a_step_moves_the_weights_and_the_seed_fixes_them(name: str, root: Path) -> None:
    config = cases(root)[name].config()
    runs = []
    for seed in (3, 3, 4):
        runs.append(prepare({**config, "seed": seed}))
        before = weights(runs[-1])
        runs[-1].step(next(runs[-1].minibatches()))
    once, again, other = map(weights, runs)
    assert torch.equal(once, again)
    assert not torch.equal(other, before)
    assert not torch.equal(once, other)


@pytest.mark.parametrize("name", NAMES)
def test_a_workload_says_what_it_is(name: str) -> None:
    workload = WORKLOADS[name]
    assert workload.name == name
    for text in (workload.description, workload.size, workload.source, workload.needs):
        assert text
    for family in ("sgd", "adamw"):
        assert {"lr", "weight_decay"} == set(workload.recipe(workload, family))  # type: ignore[arg-type]


def test_the_sizes_that_are_told_are_right(root: Path) -> None:
    def size(name: str) -> int:
        model = get_workload(name, cases(root)[name].options).model()
        return sum(p.numel() for p in model.parameters())

    assert size("digits-mlp") == 26_122
    assert size("digits-cnn") == 6_090
    assert size("digits-resnet") == 19_706
    for name, parameters in (("digits-tanh", 10_602), ("digits-attention", 3_754)):
        assert sum(p.numel() for p in get_workload(name).model().parameters()) == parameters
    assert sum(p.numel() for p in get_workload("fashion-mnist").model().parameters()) == 55_050
    assert size("cifar10") == 11_173_962
    assert size("cifar100") == 11_220_132
