"""Optimizer families: each trains, stops, continues, and says whether gap_tune can tune it."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from gap_tune.errors import InvalidValueError, UnsupportedError
from gap_tune.study.arms import GAP
from gap_tune.study.grammar import parse_arm
from gap_tune.training.families.rivals import RIVALS
from gap_tune.training.families.table import TRAINING_FAMILIES, get_family
from gap_tune.training.learner import averaged
from gap_tune.training.local import run
from gap_tune.training.prepared import PreparedTrial, prepare
from gap_tune.training.settings import Settings
from gap_tune.workloads import get_workload
from tests.workloads.stopping import run_until, untimed

NAMES = sorted(TRAINING_FAMILIES)
ARMS = Path(__file__).parents[2] / "docs/reference/arms.md"
SCHEDULE_FREE = ("schedulefree", "schedulefree-adamw")
FIXED = {"gap": {"mode": "fixed"}}


def config(name: str, **changes: Any) -> dict[str, Any]:
    """Return a short run in which the family's defaults make progress."""
    small = {"workload": "quadratic", "workload_options": {"dimension": 20, "samples": 512}}
    # FullTO's matrix has no place for the network; a budget depends on the number of weights.
    task = small if name.startswith("trainable") else {"workload": "digits-mlp"}
    return {**task, "family": name, "batch_size": 64, "epochs": 2, **FIXED, **changes}


@pytest.mark.parametrize("name", NAMES)
def test_a_family_trains_at_its_defaults_and_at_any_point_of_its_space(name: str) -> None:
    family = get_family(name)
    assert set(family.space) == set(family.defaults)
    sampled = {key: domain.sample() for key, domain in family.space.items()}
    for point in ({}, sampled):
        torch.manual_seed(0)
        model = torch.nn.Linear(5, 2)
        optimizer = family.make(model.parameters(), {"lr": 0.01, "weight_decay": 0.0, **point})
        before = model.weight.detach().clone()
        for _ in range(3):
            optimizer.zero_grad()
            model(torch.randn(8, 5)).pow(2).sum().backward()
            optimizer.step()
        assert not torch.equal(model.weight.detach(), before)
        if family.has_momentum:
            assert all("momentum" in g or "betas" in g for g in optimizer.param_groups)


def test_gap_tune_tunes_the_families_that_do_not_tune_themselves() -> None:
    assert [name for name in NAMES if get_family(name).has_momentum] == ["adamw", "sgd"]


@pytest.mark.parametrize("name", NAMES)
def test_a_family_lowers_the_loss_and_continues_after_a_stop_as_if_never_stopped(
    name: str, tmp_path: Path
) -> None:
    short = config(name, reports_per_epoch=2, checkpoints_per_epoch=2)
    whole = run(short)
    assert math.isfinite(whole[-1]["test_loss"])
    assert whole[-1]["validation_loss"] < whole[0]["validation_loss"]
    # In the middle of an epoch, and of what the optimizer has learned.
    stopped = run_until(short, tmp_path / "checkpoint", 3)
    resumed = run(short, tmp_path / "checkpoint")
    assert untimed(stopped + resumed) == untimed(whole)


def steps(made: PreparedTrial, count: int) -> PreparedTrial:
    minibatches = made.minibatches()
    for _ in range(count):
        made.step(next(minibatches))
    return made


def weights(made: PreparedTrial) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in made.learner.model.parameters()])


@pytest.mark.parametrize(("name", "beta"), [("schedulefree", 0.9), ("schedulefree-adamw", 0.9)])
def test_schedule_free_is_evaluated_at_its_averaged_weights(name: str, beta: float) -> None:
    made = steps(prepare(config(name)), 5)
    optimizer = made.learner.optimizer
    before = weights(made)
    z = torch.cat([optimizer.state[p]["z"].flatten() for p in made.learner.model.parameters()])
    with averaged(optimizer):
        # It trains at y = (1 - beta) z + beta x, and x is the average.
        torch.testing.assert_close(weights(made), (before - (1 - beta) * z) / beta)
        inputs, targets = made.splits.validation.tensors  # type: ignore[attr-defined]
        expected = made.workload.metrics(made.learner.model(inputs), targets)
        assert not torch.equal(weights(made), before)
    assert torch.equal(weights(made), before)
    found = made.evaluate("validation")
    assert found["validation_loss"] == pytest.approx(expected["loss"], rel=1e-5)
    assert torch.equal(weights(made), before)


@pytest.mark.parametrize("name", SCHEDULE_FREE)
def test_evaluating_more_often_does_not_change_the_course(name: str) -> None:
    seldom, often = prepare(config(name)), prepare(config(name))
    for _ in range(3):
        often.evaluate("validation")
    steps(seldom, 4)
    minibatches = often.minibatches()
    for _ in range(4):
        often.step(next(minibatches))
        often.evaluate("validation")
    assert torch.equal(weights(seldom), weights(often))


def test_an_evaluation_that_fails_leaves_the_training_weights() -> None:
    made = steps(prepare(config("schedulefree")), 3)
    before = weights(made)
    with pytest.raises(KeyboardInterrupt), averaged(made.learner.optimizer):
        raise KeyboardInterrupt
    assert torch.equal(weights(made), before)
    steps(made, 1)
    assert not torch.equal(weights(made), before)


def learning_rate(name: str, **changes: Any) -> float:
    rate = prepare(config(name, **changes)).learner.optimizer.param_groups[0]["lr"]
    return float(rate)


def test_a_family_starts_at_the_learning_rate_that_it_is_meant_for() -> None:
    own = get_workload("digits-mlp").recipe
    for factor in ("prodigy", "yellowfin", "dadapt", "dadapt-adamw"):
        assert learning_rate(factor) == 1.0
    for name in ("switch", "hypergradient", "nesterov"):
        assert learning_rate(name) == own("sgd")["lr"]
    for averaging in ("adai", "adaptive-memory"):
        assert learning_rate(averaging) == pytest.approx(10 * own("sgd")["lr"])
    for name in ("switch", "hypergradient", "nesterov", "adaptive-memory"):
        assert learning_rate(f"{name}-adamw") == own("adamw")["lr"]
    assert learning_rate("prodigy", lr=0.5) == 0.5


def test_a_workloads_own_recipe_goes_before_the_familys(monkeypatch: pytest.MonkeyPatch) -> None:
    workload = get_workload("digits-mlp")
    monkeypatch.setattr(type(workload), "recipes", {"prodigy": {"lr": 0.3}, "adai": {"lr": 2.0}})
    assert get_family("prodigy").recipe(workload)["lr"] == 0.3
    assert get_family("adai").recipe(workload)["lr"] == 2.0
    assert get_family("adai").recipe(workload)["weight_decay"] == workload.weight_decay


def test_a_schedule_free_run_has_no_schedule_unless_one_is_asked_for() -> None:
    workload = get_workload("digits-mlp")
    assert Settings.of(workload, {}).schedule == "cosine"
    assert Settings.of(workload, {"family": "schedulefree"}).schedule == "none"
    asked = {"family": "schedulefree", "schedule": "step"}
    assert Settings.of(workload, asked).schedule == "step"


def test_every_rival_names_where_it_is_published() -> None:
    named = {rival.name: rival.source for rival in RIVALS}
    assert "" not in named.values()
    # A reader finds the paper beside the arm, whatever family the study has.
    rows = [line for line in ARMS.read_text().splitlines() if line.startswith("| `")]
    for name, source in named.items():
        arm = name.removesuffix("-adamw")
        assert any(f"`{arm}" in row and source in row for row in rows), f"{arm}: {source}"


def test_a_warm_up_in_steps_goes_before_one_in_epochs() -> None:
    workload = get_workload("digits-mlp")
    assert Settings.of(workload, {"warmup_epochs": 1.5}).warmup(10) == 15
    assert Settings.of(workload, {"warmup_epochs": 1.5, "warmup_steps": 4}).warmup(10) == 4
    arm = parse_arm("warmup:0.9")
    made = prepare({**config("sgd"), "lr": 0.5, "schedule": "none", **arm.configuration()})
    minibatches = made.minibatches()
    rates = []
    for _ in range(3):
        rates.append(made.learner.optimizer.param_groups[0]["lr"])
        made.step(next(minibatches))
    assert rates == pytest.approx([0.01, 0.02, 0.03])
    with pytest.raises(InvalidValueError, match="warmup_steps must be an integer of at least 0"):
        Settings.of(workload, {"warmup_steps": -1})


def test_nesterovs_arms_look_ahead_and_keep_their_momentum() -> None:
    made = prepare({**config("sgd"), **parse_arm("nesterov:0.7").configuration()})
    (group,) = made.learner.optimizer.param_groups
    assert (group["momentum"], group["nesterov"]) == (0.7, True)
    made = prepare({**config("adamw"), **parse_arm("nesterov:0.7").configuration("adamw")})
    assert isinstance(made.learner.optimizer, torch.optim.NAdam)
    (group,) = made.learner.optimizer.param_groups
    assert (group["betas"], group["decoupled_weight_decay"]) == ((0.7, 0.999), True)


def test_a_missing_package_is_named_with_the_extra_that_brings_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "pytorch_optimizer", None)
    for name in (*SCHEDULE_FREE, "prodigy", "adai", "dadapt", "dadapt-adamw"):
        with pytest.raises(UnsupportedError, match=r"pip install 'gap-tune\[baselines\]'"):
            prepare(config(name))
    prepare(config("yellowfin"))


def test_an_arm_of_a_family_is_never_tuned() -> None:
    arm = parse_arm("trainable-diagonal")
    assert arm.configuration()["gap"] == {"mode": "fixed"}
    assert arm.configuration()["family"] == "trainable-diagonal"
    assert GAP.configuration() == {"arm": "gap"}
    assert parse_arm("fixed:0.5").configuration() == {"arm": "fixed:0.5", "momentum": 0.5}


def test_an_unknown_family_is_refused() -> None:
    with pytest.raises(InvalidValueError, match="family must be one of"):
        get_family("adagrad")
