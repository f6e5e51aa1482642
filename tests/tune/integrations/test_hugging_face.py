"""A real Hugging Face Trainer on a tiny model of random weights, tuned by a real scheduler."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments

from gap_tune import optim
from gap_tune.errors import UnsupportedError
from gap_tune.tune.integrations.hugging_face import GapCallback
from tests.tune.functions import Cycle
from tests.tune.in_process import Life, life

__all__ = ["life"]

ASKS = {"gap": {"mode": "scheduler", "metric": "eval_loss"}}
EPOCHS, BATCHES = 4, 3


class Tokens(torch.utils.data.Dataset[dict[str, torch.Tensor]]):
    """A dozen short sequences of a hundred tokens' vocabulary."""

    def __len__(self) -> int:
        return 4 * BATCHES

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        tokens = (torch.arange(8) * (index + 1)) % 100
        return {"input_ids": tokens, "labels": tokens}


def trainer(callback: GapCallback, folder: Path | str, **options: Any) -> Trainer:
    torch.manual_seed(0)
    sizes = {"vocab_size": 100, "n_positions": 8, "n_embd": 16, "n_layer": 2, "n_head": 2}
    model = GPT2LMHeadModel(GPT2Config(**sizes, bos_token_id=0, eos_token_id=0))
    kind = options.pop("optimizer", None)
    optimizer = None if kind is None else kind(model.parameters(), lr=1e-3)
    arguments = {
        "output_dir": str(folder),
        "num_train_epochs": EPOCHS,
        "per_device_train_batch_size": 4,
        "learning_rate": 1e-3,
        "eval_strategy": "epoch",
        "save_strategy": "no",
        "save_total_limit": 1,
        "logging_strategy": "epoch",
        "report_to": [],
        "use_cpu": True,
        "disable_tqdm": True,
        **options,
    }
    return Trainer(
        model=model,
        args=TrainingArguments(**arguments),
        train_dataset=Tokens(),
        eval_dataset=Tokens(),
        callbacks=[callback],
        optimizers=(optimizer, None),
    )


def train(config: dict[str, Any]) -> None:
    gap = GapCallback(config)
    made = trainer(gap, f"transformers-{id(gap)}")
    made.train(resume_from_checkpoint=gap.checkpoint_path())
    # Evaluating once more is no report.
    made.evaluate()


def without_evaluation(config: dict[str, Any]) -> None:
    gap = GapCallback(config, checkpoint=False)
    trainer(gap, "transformers", eval_strategy="no").train()


def test_beta1_changes_at_every_evaluation_and_a_restored_trial_goes_on_alike(life: Any) -> None:
    whole = life(train, ASKS).reports(9)
    assert [r["gap/momentum"] for r in whole] == list(Cycle.momenta)
    assert [r["gap/seq"] for r in whole] == [0, 1, 2, 3]
    assert [r["gap/steps"] for r in whole] == [BATCHES * (i + 1) for i in range(EPOCHS)]
    assert [r["step"] for r in whole] == [BATCHES * (i + 1) for i in range(EPOCHS)]

    first: Life = life(train, ASKS)
    before = first.reports(2)
    # The scheduler has answered the second report, but this life ends before it trains with it.
    second = life(train, ASKS, continues=first)
    second.answer_again(before[-1])
    after = second.reports(9)
    for name in ("eval_loss", "step", "gap/seq", "gap/statistics", "gap/momentum"):
        assert [r[name] for r in before + after] == [r[name] for r in whole], name


def test_without_evaluation_the_logged_training_loss_is_reported(life: Any) -> None:
    reports = life(without_evaluation, {"gap": {"mode": "scheduler"}}).reports(9)
    assert [r["gap/momentum"] for r in reports] == list(Cycle.momenta)
    assert [r["step"] for r in reports] == [BATCHES * (i + 1) for i in range(EPOCHS)]
    assert all(r["loss"] > 0 for r in reports)


class Watching(GapCallback):
    """Notes at each evaluation whose statistics are reported."""

    def __init__(self) -> None:
        super().__init__(checkpoint=False)
        self.seen: list[tuple[Any, bool]] = []

    def on_evaluate(self, args: Any, state: Any, control: Any, *rest: Any, **kept: Any) -> Any:
        assert self.trial is not None
        own = kept["optimizer"].optimizer.statistics()
        self.seen.append((self.trial.monitor, own == self.trial.statistics()))
        return super().on_evaluate(args, state, control, *rest, **kept)


@pytest.mark.filterwarnings("ignore:report")
def test_a_self_tuning_optimizer_keeps_its_own_statistics(tmp_path: Path) -> None:
    gap = Watching()
    trainer(gap, tmp_path, optimizer=optim.AdamW).train()
    assert gap.seen == [(None, True)] * EPOCHS


def test_without_transformers_the_extra_to_install_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    monkeypatch.delitem(sys.modules, "gap_tune.tune.integrations.hugging_face")
    with pytest.raises(UnsupportedError, match=r"pip install 'gap-tune\[language\]'"):
        importlib.import_module("gap_tune.tune.integrations.hugging_face")
