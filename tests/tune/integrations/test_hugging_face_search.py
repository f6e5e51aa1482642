"""Hugging Face's own hyperparameter_search on a real Ray, tuned by a real scheduler."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from ray import tune
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainerCallback, TrainingArguments

from gap_tune import FixedMomentum, GapScheduler, GapSearch
from gap_tune.study.methods.plan import PlannedTrials
from gap_tune.tune.integrations.hugging_face import GapCallback
from gap_tune.tune.trial.checkpointing import FILE
from tests.tune.functions import Cycle
from tests.tune.integrations.test_hugging_face import BATCHES, EPOCHS, Tokens

ENDS = [BATCHES * (epoch + 1) for epoch in range(EPOCHS)]


def new_model() -> GPT2LMHeadModel:
    sizes = {"vocab_size": 100, "n_positions": 8, "n_embd": 16, "n_layer": 2, "n_head": 2}
    return GPT2LMHeadModel(GPT2Config(**sizes, bos_token_id=0, eos_token_id=0))


def space(trial: Any) -> dict[str, Any]:
    return {"learning_rate": tune.loguniform(1e-4, 1e-2)}


class Dies(TrainerCallback):
    """Kills its process once, as the kernel would, in the step after a report."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        if state.global_step == ENDS[1] + 1 and not self.marker.exists():
            self.marker.touch()
            os.kill(os.getpid(), 9)


class Used(TrainerCallback):
    """Puts the momentum of the step before into the evaluation."""

    def __init__(self) -> None:
        self.used = -1.0

    def on_step_end(self, args: Any, state: Any, control: Any, **of_trainer: Any) -> None:
        group = of_trainer["optimizer"].param_groups[0]
        self.used = group["betas"][0] if "betas" in group else group["momentum"]

    def on_evaluate(self, args: Any, state: Any, control: Any, **of_trainer: Any) -> None:
        of_trainer["metrics"]["eval_used"] = self.used


def eval_loss(metrics: dict[str, float]) -> float:
    return metrics["eval_loss"]


def search(
    folder: Path,
    *others: TrainerCallback,
    plan: list[dict[str, Any]] | None = None,
    momentum: str = "adam_beta1",
    gap: Any = None,
    eval_dataset: Any = None,
    **options: Any,
) -> list[list[dict[str, Any]]]:
    """Run a search of one trial for each plan; return the results of each."""
    arguments = {
        "num_train_epochs": EPOCHS,
        "per_device_train_batch_size": 4,
        "eval_strategy": "epoch",
        "save_strategy": "no",
        "report_to": [],
        "use_cpu": True,
        "disable_tqdm": True,
        **options,
    }
    trainer = Trainer(
        model_init=new_model,
        args=TrainingArguments(output_dir=str(folder / "trainer"), **arguments),
        train_dataset=Tokens(),
        eval_dataset=eval_dataset or Tokens(),
        callbacks=[GapCallback() if gap is None else gap, Used(), *others],
    )
    plan = [{"learning_rate": 1e-3}] if plan is None else plan
    best = trainer.hyperparameter_search(
        backend="ray",
        hp_space=lambda trial: {},
        compute_objective=eval_loss if eval_dataset is None else None,
        n_trials=len(plan),
        direction="minimize",
        metric="objective",
        mode="min",
        search_alg=GapSearch(PlannedTrials(plan), momentum=momentum, rule=FixedMomentum()),
        scheduler=GapScheduler(rule=Cycle()),
        storage_path=str(folder / "ray"),
        max_failures=1,
        verbose=0,
    )
    tables = best.run_summary.trial_dataframes.values()
    return [table.to_dict("records") for table in tables]


def files(folder: Path, name: str) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.glob(f"ray/*/*/{name}"))


@pytest.mark.slow
def test_bug_hyperparameter_search_ended_with_the_first_report(
    ray_address: str, tmp_path: Path
) -> None:
    plan = [{"learning_rate": 1e-3}, {"learning_rate": 1e-4, "per_device_train_batch_size": 4}]
    trials = search(tmp_path, plan=plan, save_strategy="epoch", load_best_model_at_end=True)
    assert len(trials) == 2
    for results in trials:
        # One result for each round, which holds the study's metric and ours.
        assert [r["gap/steps"] for r in results] == ENDS
        assert [r["objective"] for r in results] == [r["eval_loss"] for r in results]
        assert [r["gap/momentum"] for r in results] == list(Cycle.momenta)
        assert [r["eval_used"] for r in results] == pytest.approx(Cycle.momenta)
    assert trials[0][-1]["objective"] < trials[1][-1]["objective"]
    assert len(files(tmp_path, f"checkpoint_*/{FILE}")) == 2 * EPOCHS
    assert len(files(tmp_path, "checkpoint_*/checkpoint-*/optimizer.pt")) == 2 * EPOCHS
    # The trainer's own, as it was asked: two folders of four.
    assert len(list(tmp_path.glob("trainer/run-*/checkpoint-*"))) == 2 * EPOCHS


@pytest.mark.slow
def test_bug_a_search_resumed_without_momentum_and_statistics(
    ray_address: str, tmp_path: Path
) -> None:
    (whole,) = search(tmp_path / "whole")
    (killed,) = search(tmp_path / "killed", Dies(tmp_path / "died"))
    assert (tmp_path / "died").exists()
    assert len(killed) == len(whole) == EPOCHS
    for name in ("objective", "eval_used", "gap/seq", "gap/momentum", "gap/statistics"):
        assert [r[name] for r in killed] == [r[name] for r in whole], name


@pytest.mark.slow
def test_bug_a_search_without_evaluation_reported_without_statistics(
    ray_address: str, tmp_path: Path
) -> None:
    (results,) = search(tmp_path, eval_strategy="no", logging_strategy="epoch")
    assert [r["gap/steps"] for r in results] == [ENDS[-1]]
    assert results[0]["objective"] == results[0]["eval_loss"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("momentum", "optimizer"),
    [
        ("momentum", "sgd"),
        ("beta1", "adamw_torch_fused"),
        ("heavy_ball", "sgd"),
        ("first_beta", "adamw_torch"),
    ],
)
def test_bug_a_search_trained_with_another_momentum_than_it_suggested(
    momentum: str, optimizer: str, ray_address: str, tmp_path: Path
) -> None:
    plan = [{"learning_rate": 1e-3, momentum: 0.5}]
    fixed = {**plan[0], "gap": {"mode": "fixed"}}
    gap = GapCallback(checkpoint=False)
    sets = {"a": Tokens(), "b": Tokens()}
    (results,) = search(
        tmp_path, plan=[fixed], momentum=momentum, optim=optimizer, gap=gap, eval_dataset=sets
    )
    assert [r["gap/momentum"] for r in results] == [0.5] * EPOCHS
    assert all(r["eval_a_loss"] == r["eval_b_loss"] for r in results)
    assert not files(tmp_path, "checkpoint_*")
