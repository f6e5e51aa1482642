"""Two ranks of a Lightning trainer, the first of which cannot write its checkpoints."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch

from gap_tune.tune.integrations.lightning import GapCallback
from tests.tune.integrations.test_lightning import Regression, data


class Noted(GapCallback):
    """Writes its reports into a file of the rank instead of sending them."""

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        super().on_fit_start(trainer, pl_module)
        notes = Path(sys.argv[1]) / str(trainer.global_rank)
        kept = tempfile.mkdtemp
        if trainer.global_rank == 0:
            tempfile.mkdtemp = lambda: "/proc/no-such-folder"  # type: ignore[assignment]
        self.kept = kept

        def note(metrics: dict[str, Any], checkpoint: Any = False) -> None:
            with notes.open("a") as file:
                file.write(json.dumps([metrics["step"], bool(checkpoint)]) + "\n")

        assert self.trial is not None
        self.trial.report = note  # type: ignore[method-assign]

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        tempfile.mkdtemp = self.kept
        super().teardown(trainer, pl_module, stage)


class OneRankLogs(Regression):
    def validation_step(self, batch: Any, index: int) -> None:
        self.log("loss", self.loss(batch), rank_zero_only=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=2,
        strategy="ddp_spawn",
        max_epochs=2,
        val_check_interval=2,
        callbacks=[Noted({"gap": {"mode": "scheduler", "metric": "loss"}})],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(OneRankLogs(), data(), data())
