"""A real Lightning trainer, tuned by a real scheduler."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from gap_tune.errors import UnsupportedError
from gap_tune.tune.integrations.lightning import GapCallback
from tests.tune.functions import Cycle
from tests.tune.in_process import Life, life

__all__ = ["life"]

ASKS = {"gap": {"mode": "scheduler", "metric": "loss"}}
EPOCHS, BATCHES = 4, 5


class Regression(pl.LightningModule):
    def __init__(self, optimizers: int = 1) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(8, 1)
        self.optimizer_count = optimizers
        self.used: list[float] = []

    def loss(self, batch: Any) -> torch.Tensor:
        return (self.layer(batch[0]) - batch[0][:, :1]).square().mean()

    def training_step(self, batch: Any, index: int) -> torch.Tensor:
        self.used.append(self.trainer.optimizers[0].param_groups[0]["momentum"])
        loss = self.loss(batch)
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: Any, index: int) -> None:
        self.log("loss", self.loss(batch))
        self.log("used", self.used[-1] if self.used else -1.0)

    def configure_optimizers(self) -> Any:
        made = [torch.optim.SGD(self.parameters(), lr=0.02, momentum=0.9) for _ in "ab"]
        return made[: self.optimizer_count]


def data() -> DataLoader[Any]:
    inputs = torch.randn(8 * BATCHES, 8, generator=torch.Generator().manual_seed(0))
    return DataLoader(TensorDataset(inputs), batch_size=8)


def trainer(callback: GapCallback, **options: Any) -> pl.Trainer:
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    return pl.Trainer(
        max_epochs=EPOCHS,
        accelerator="cpu",
        callbacks=[callback],
        enable_model_summary=False,
        default_root_dir="lightning",
        **quiet,
        **options,
    )


def train(config: dict[str, Any]) -> None:
    torch.manual_seed(0)
    gap = GapCallback(config)
    trainer(gap).fit(Regression(), data(), data(), ckpt_path=gap.checkpoint_path())


def without_validation(config: dict[str, Any]) -> None:
    gap = GapCallback(config, checkpoint=False)
    trainer(gap).fit(Regression(), data())


def test_momentum_changes_at_every_validation_and_a_restored_trial_goes_on_alike(life: Any) -> None:
    whole = life(train, ASKS).reports(9)
    assert [r["used"] for r in whole] == pytest.approx(Cycle.momenta)
    assert [r["gap/seq"] for r in whole] == [0, 1, 2, 3]
    # Without the sanity check before training.
    assert [r["gap/steps"] for r in whole] == [BATCHES * (i + 1) for i in range(EPOCHS)]
    assert [r["epoch"] for r in whole] == [0, 1, 2, 3]

    first: Life = life(train, ASKS)
    before = first.reports(2)
    # The scheduler has answered the second report, but this life ends before it trains with it.
    second = life(train, ASKS, continues=first)
    second.answer_again(before[-1])
    after = second.reports(9)
    for name in ("loss", "used", "epoch", "gap/seq", "gap/statistics", "gap/momentum"):
        assert [r[name] for r in before + after] == [r[name] for r in whole], name


def test_without_validation_every_training_epoch_is_reported(life: Any) -> None:
    reports = life(without_validation, ASKS).reports(9)
    assert [r["gap/momentum"] for r in reports] == list(Cycle.momenta)
    assert all(isinstance(r["train_loss"], float) for r in reports)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.filterwarnings("ignore:report")
def test_gradients_are_seen_as_they_are_applied_clipped(precision: Any, tmp_path: Path) -> None:
    gap = GapCallback({"gap": {"mode": "trial"}}, checkpoint=False)
    trainer(gap, gradient_clip_val=0.01, precision=precision).fit(Regression(), data(), data())
    assert gap.trial is not None
    statistics = gap.trial.statistics()
    assert statistics.steps == EPOCHS * BATCHES
    assert statistics.power / statistics.weight == pytest.approx(0.01**2, rel=1e-3)
    assert gap.trial.seq > 0


def test_a_module_with_two_optimizers_is_refused() -> None:
    module = Regression(optimizers=2)
    module.automatic_optimization = False
    with pytest.raises(UnsupportedError, match="must have one optimizer, but got 2"):
        trainer(GapCallback()).fit(module, data())


def test_without_lightning_the_extra_to_install_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("lightning", "lightning.pytorch", "pytorch_lightning"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "gap_tune.tune.integrations.lightning")
    with pytest.raises(UnsupportedError, match=r"pip install 'gap-tune\[lightning\]'"):
        importlib.import_module("gap_tune.tune.integrations.lightning")
