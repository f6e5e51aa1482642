"""A trial that trains several models one after another, such as the folds of a cross-validation."""

from __future__ import annotations

from typing import Any

import torch

from gap_tune import attach
from gap_tune.tune.integrations.hugging_face import GapCallback as OfHuggingFace
from gap_tune.tune.integrations.lightning import GapCallback as OfLightning
from tests.tune.functions import Cycle
from tests.tune.in_process import Life, life
from tests.tune.integrations.test_hugging_face import BATCHES as HF_BATCHES
from tests.tune.integrations.test_hugging_face import trainer as hf_trainer
from tests.tune.integrations.test_lightning import BATCHES, EPOCHS, Regression, data, trainer

__all__ = ["life"]

ASKS = {"gap": {"mode": "scheduler"}}
FOLDS = 2


def folds(config: dict[str, Any]) -> None:
    for fold in range(FOLDS):
        weight = torch.nn.Parameter(torch.full((16,), fold + 1.0))
        optimizer = torch.optim.SGD([weight], lr=0.01, momentum=0.9)
        trial = attach(optimizer, config)
        trial.restore(model=torch.nn.ParameterList([weight]))
        for epoch in trial.epochs(3):
            first = weight.mean().item()
            for _ in range(6):
                optimizer.zero_grad()
                (weight.square().sum() / 2).backward()
                optimizer.step()
            metrics = {"fold": fold, "epoch": epoch, "first": first}
            trial.report({**metrics, "loss": weight.mean().item()}, checkpoint=True)


def test_bug_a_second_session_went_on_where_the_first_one_ended(life: Any) -> None:
    reports = life(folds, ASKS).reports(20)
    assert [(r["fold"], r["epoch"]) for r in reports] == [
        (f, e) for f in range(2) for e in range(3)
    ]
    # Each fold starts with weights and statistics of its own.
    assert [r["first"] for r in reports if r["epoch"] == 0] == [1.0, 2.0]
    assert [r["gap/steps"] for r in reports] == [6, 12, 18] * FOLDS
    assert [r["gap/momentum"] for r in reports] == list(Cycle.momenta[:3]) * FOLDS


def test_a_trial_that_died_in_its_first_training_goes_on_in_it(life: Any) -> None:
    whole = life(folds, ASKS).reports(20)
    first: Life = life(folds, ASKS)
    before = first.reports(2)
    second = life(folds, ASKS, continues=first)
    second.answer_again(before[-1])
    after = second.reports(20)
    for name in ("fold", "epoch", "loss", "gap/seq", "gap/statistics"):
        assert [r[name] for r in before + after] == [r[name] for r in whole], name


def test_bug_lightnings_second_fold_was_not_trained(life: Any) -> None:
    def train(config: dict[str, Any]) -> None:
        for _ in range(FOLDS):
            gap = OfLightning(config)
            trainer(gap).fit(Regression(), data(), data(), ckpt_path=gap.checkpoint_path())

    reports = life(train, {"gap": {"mode": "scheduler", "metric": "loss"}}).reports(20)
    steps = [BATCHES * (epoch + 1) for epoch in range(EPOCHS)]
    assert [r["step"] for r in reports] == [r["gap/steps"] for r in reports] == steps * FOLDS


def test_bug_hugging_faces_second_fold_was_not_trained(life: Any) -> None:
    def train(config: dict[str, Any]) -> None:
        for fold in range(FOLDS):
            gap = OfHuggingFace(config)
            made = hf_trainer(gap, f"fold-{fold}", num_train_epochs=2)
            made.train(resume_from_checkpoint=gap.checkpoint_path())

    reports = life(train, {"gap": {"mode": "scheduler", "metric": "eval_loss"}}).reports(20)
    assert [r["step"] for r in reports] == [HF_BATCHES, 2 * HF_BATCHES] * FOLDS
    assert [r["gap/steps"] for r in reports] == [HF_BATCHES, 2 * HF_BATCHES] * FOLDS
