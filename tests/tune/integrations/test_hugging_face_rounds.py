"""One evaluation round of a Hugging Face trainer is one report, with its checkpoint."""

from __future__ import annotations

import pickle
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from transformers import EarlyStoppingCallback, Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_utils import HPSearchBackend

from gap_tune.tune.integrations.hugging_face import GapCallback
from tests.tune.functions import Cycle
from tests.tune.in_process import Life, life
from tests.tune.integrations.test_hugging_face import ASKS, BATCHES, EPOCHS, Tokens, trainer

__all__ = ["life"]

ENDS = [BATCHES * (epoch + 1) for epoch in range(EPOCHS)]
SETS = {"a": Tokens(), "b": Tokens()}


def run(
    life: Any,
    *others: TrainerCallback,
    config: Any = ASKS,
    checkpoint: bool = True,
    first: bool = True,
    eval_dataset: Any = None,
    **options: Any,
) -> list[dict[str, Any]]:
    def train(config: dict[str, Any]) -> None:
        gap = GapCallback(config, checkpoint=checkpoint)
        made = trainer(gap, options.pop("output_dir", f"transformers-{id(gap)}"), **options)
        for other in others:
            made.add_callback(other)
            if not first:
                # Before ours.
                callbacks = made.callback_handler.callbacks
                callbacks.insert(0, callbacks.pop())
            if isinstance(other, Evaluates):
                other.trainer = made
        if eval_dataset is not None:
            made.eval_dataset = eval_dataset
        made.train(resume_from_checkpoint=gap.checkpoint_path())
        made.evaluate()

    found: list[dict[str, Any]] = life(train, config).reports(30)
    return found


class Evaluates(TrainerCallback):
    """The user's own evaluation, at chosen steps."""

    def __init__(self, *steps: int, prefix: str = "other") -> None:
        self.steps = steps
        self.prefix = prefix
        self.trainer: Any = None

    def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        if state.global_step in self.steps:
            self.trainer.evaluate(Tokens(), metric_key_prefix=self.prefix)


@pytest.mark.parametrize("checkpoint", [True, False])
@pytest.mark.parametrize("strategy", ["no", "epoch", "best"])
def test_bug_each_of_several_evaluation_sets_was_a_report(
    life: Any, checkpoint: bool, strategy: str
) -> None:
    config = {"gap": {"mode": "scheduler", "metric": "eval_b_loss"}}
    best = {"metric_for_best_model": "a_loss"} if strategy == "best" else {}
    reports = run(
        life,
        config=config,
        checkpoint=checkpoint,
        eval_dataset=SETS,
        save_strategy=strategy,
        **best,
    )
    assert [r["step"] for r in reports] == ENDS
    assert all(r["eval_a_loss"] == r["eval_b_loss"] > 0 for r in reports)
    assert [r["gap/momentum"] for r in reports] == list(Cycle.momenta)
    assert [bool(r.get("should_checkpoint")) for r in reports] == [checkpoint] * EPOCHS


def test_bug_a_trial_with_several_sets_resumed_differently(life: Any) -> None:
    def train(config: dict[str, Any]) -> None:
        gap = GapCallback(config)
        made = trainer(gap, f"transformers-{id(gap)}")
        made.eval_dataset = SETS
        made.train(resume_from_checkpoint=gap.checkpoint_path())

    config = {"gap": {"mode": "scheduler", "metric": "eval_a_loss"}}
    whole = life(train, config).reports(9)
    first: Life = life(train, config)
    before = first.reports(2)
    second = life(train, config, continues=first)
    second.answer_again(before[-1])
    after = second.reports(9)
    for name in ("eval_a_loss", "eval_b_loss", "step", "gap/seq", "gap/statistics"):
        assert [r[name] for r in before + after] == [r[name] for r in whole], name


@pytest.mark.parametrize("first", [True, False])
def test_bug_an_evaluation_of_the_users_own_was_a_report_without_the_metric(
    life: Any, first: bool
) -> None:
    # At step 2 alone; at step 6 in the step of a round.
    reports = run(life, Evaluates(2, 6), first=first)
    assert [r["step"] for r in reports] == ENDS
    assert ["other_loss" in r for r in reports] == [False, True, False, False]


def test_an_evaluation_of_the_users_own_with_the_metric_is_a_report(life: Any) -> None:
    reports = run(life, Evaluates(2, prefix="eval"))
    assert [r["step"] for r in reports] == [2, *ENDS]
    assert all(r["should_checkpoint"] for r in reports)


def test_evaluations_of_the_users_own_alone_are_reports(life: Any) -> None:
    # The losses that are logged at other steps lack the metric, and a step has one report.
    reports = run(life, Evaluates(3, 9, prefix="eval"), eval_strategy="no")
    assert [r["step"] for r in reports] == [3, 9]
    assert all(r["eval_loss"] > 0 for r in reports)


def test_evaluations_at_other_steps_than_saves_have_checkpoints(life: Any) -> None:
    steps = {"eval_strategy": "steps", "eval_steps": 4, "save_strategy": "steps", "save_steps": 3}
    reports = run(life, **steps)
    assert [r["step"] for r in reports] == [4, 8, 12]
    assert all(r["should_checkpoint"] for r in reports)


def test_an_evaluation_before_training_is_one_report(life: Any) -> None:
    reports = run(life, eval_on_start=True, eval_dataset=SETS)
    assert [r["step"] for r in reports] == [0, *ENDS]
    assert [r["gap/steps"] for r in reports] == [0, *ENDS]


def test_evaluations_may_begin_late(life: Any) -> None:
    assert [r["step"] for r in run(life, eval_delay=2)] == ENDS[1:]


@pytest.mark.parametrize("first", [True, False])
def test_early_stopping_and_the_best_model_leave_a_report_per_round(life: Any, first: bool) -> None:
    stops = EarlyStoppingCallback(early_stopping_patience=1, early_stopping_threshold=100.0)
    best = {"load_best_model_at_end": True, "save_strategy": "epoch"}
    reports = run(life, stops, first=first, metric_for_best_model="loss", **best)
    assert 1 <= len(reports) < EPOCHS
    assert [r["step"] for r in reports] == ENDS[: len(reports)]
    assert all(r["should_checkpoint"] for r in reports)


def test_logged_losses_alone_have_checkpoints_and_no_summary(life: Any) -> None:
    reports = run(life, config={"gap": {"mode": "scheduler"}}, eval_strategy="no")
    assert [r["step"] for r in reports] == ENDS
    assert all(r["loss"] > 0 and r["should_checkpoint"] for r in reports)
    assert not any("train_runtime" in r for r in reports)


def of_trainer(options: dict[str, Any]) -> dict[str, Any]:
    """Return what a trainer of these options passes to its optimizer."""
    arguments = TrainingArguments("unused", use_cpu=True, **options)
    return dict(Trainer.get_optimizer_cls_and_kwargs(arguments)[1])


@pytest.mark.parametrize(
    ("optimizer", "momentum"), [("adamw_torch", 0.9), ("adamw_torch_fused", 0.9), ("sgd", 0.5)]
)
def test_the_trainers_own_optimizers_are_tuned(life: Any, optimizer: str, momentum: float) -> None:
    options = {
        "optim": optimizer,
        "optim_args": f"momentum={momentum}",
        "lr_scheduler_type": "constant",
    }
    if optimizer != "sgd":
        del options["optim_args"]
    elif "momentum" not in of_trainer(options):
        pytest.skip("this transformers builds its SGD without momentum")
    reports = run(life, **options)
    place = Cycle.momenta.index(momentum)
    expected = [Cycle.momenta[(place + i) % 4] for i in range(EPOCHS)]
    assert [r["gap/momentum"] for r in reports] == expected


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system with place for no model."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(folder)]
    if subprocess.run(mount, stderr=subprocess.DEVNULL).returncode:
        pytest.skip("mounting a file system takes rights that this user lacks")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("strategy", ["no", "epoch"])
def test_bug_a_full_output_folder_ended_the_trial(life: Any, small: Path, strategy: str) -> None:
    reports = run(life, output_dir=small / "trainer", save_strategy=strategy)
    assert [r["step"] for r in reports] == ENDS
    assert not any(r.get("should_checkpoint") for r in reports)
    assert not list(small.glob("trainer/checkpoint-*"))


def test_bug_an_output_folder_that_is_gone_ended_the_trial(life: Any) -> None:
    class Replaces(TrainerCallback):
        def on_train_begin(self, args: Any, *rest: Any, **kept: Any) -> None:
            Path(args.output_dir).rmdir()
            Path(args.output_dir).touch()

    reports = run(life, Replaces())
    assert [r["step"] for r in reports] == ENDS
    assert not any(r.get("should_checkpoint") for r in reports)


def test_without_the_trainer_rounds_are_still_one_report(
    life: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gap_tune.tune.integrations.hugging_face.calling_trainer", lambda: None)
    reports = run(life, eval_dataset=SETS, config={"gap": {"mode": "scheduler"}})
    assert [r["step"] for r in reports] == ENDS
    assert all(r["eval_a_loss"] == r["eval_b_loss"] > 0 for r in reports)
    assert all(r["should_checkpoint"] for r in reports)


@pytest.mark.filterwarnings("ignore:report")
def test_a_trainer_has_its_own_methods_back_and_its_callback_pickles(tmp_path: Path) -> None:
    gap = GapCallback({"gap": {"mode": "trial"}}, checkpoint=False)
    made = trainer(gap, tmp_path)
    made.train()
    assert not {"_save_checkpoint", "_report_to_hp_search"} & set(vars(made))

    class Fails(TrainerCallback):
        def on_step_end(self, *args: Any, **rest: Any) -> None:
            raise ValueError("a bug")

    made.add_callback(Fails())
    with pytest.raises(ValueError, match="a bug"):
        made.train()
    assert gap.trial is not None
    assert pickle.loads(pickle.dumps(gap)).trial is None


@pytest.mark.parametrize(
    "missing", ["_tune_save_checkpoint", "_report_to_hp_search", "the trainer"]
)
def test_a_search_of_another_transformers_goes_on_without_gap_tune(
    missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    if missing == "the trainer":
        monkeypatch.setattr("gap_tune.tune.integrations.hugging_face.calling_trainer", lambda: None)
    else:
        monkeypatch.delattr(Trainer, missing)
    gap = GapCallback()
    made = trainer(gap, tmp_path, eval_strategy="no")
    made.hp_search_backend = HPSearchBackend.RAY
    made.train(trial={"learning_rate": 1e-3})
    told = [r.getMessage() for r in caplog.records if "_report_to_hp_search" in r.getMessage()]
    assert len(told) == 1
    assert gap.trial is None
