"""Every value that a Lightning report holds belongs to the moment of the report."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
import torchmetrics
from lightning.pytorch.callbacks import EarlyStopping, LearningRateMonitor, ModelCheckpoint
from ray.tune.integration.pytorch_lightning import TuneReportCheckpointCallback

from gap_tune.errors import InvalidValueError
from gap_tune.tune.integrations.lightning import GapCallback
from tests.tune.in_process import Life, life
from tests.tune.integrations.test_lightning import BATCHES, EPOCHS, Regression, data

__all__ = ["life"]

ASKS = {"gap": {"mode": "scheduler", "metric": "loss"}}


class Watched(Regression):
    """Logs in every way, and keeps what it logged itself: the truth to compare reports with."""

    def __init__(self) -> None:
        super().__init__()
        self.losses: list[float] = []
        self.squares = torchmetrics.MeanSquaredError()

    def training_step(self, batch: Any, index: int) -> torch.Tensor:
        loss = self.loss(batch)
        self.losses.append(loss.item())
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        self.log("both", loss, on_step=True, on_epoch=True)
        self.log("of_step", loss, on_step=True, on_epoch=False)
        self.squares(self.layer(batch[0]), batch[0][:, :1])
        self.log("squares", self.squares, on_step=False, on_epoch=True)
        if self.trainer.current_epoch == 0:
            self.log("first_epoch_only", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: Any, index: int) -> None:
        self.log("loss", self.loss(batch))

    def on_validation_epoch_end(self) -> None:
        self.log("validated_at", float(self.trainer.global_step))

    def on_train_epoch_end(self) -> None:
        self.log("ended_at", float(self.trainer.global_step))

    def mean(self, first: int, last: int) -> float:
        part = self.losses[first:last]
        return sum(part) / len(part)


def fit(
    config: dict[str, Any],
    module: pl.LightningModule,
    *others: pl.Callback,
    validates: bool = True,
    **options: Any,
) -> None:
    gap = GapCallback(config, checkpoint=options.pop("checkpoint", True))
    options = {"max_epochs": EPOCHS, "enable_checkpointing": False, "logger": False, **options}
    trainer = pl.Trainer(
        accelerator="cpu",
        callbacks=[gap, *others],
        enable_model_summary=False,
        enable_progress_bar=False,
        default_root_dir="lightning",
        **options,
    )
    trainer.fit(module, data(), data() if validates else None, ckpt_path=gap.checkpoint_path())


def run(life: Any, config: Any = ASKS, **options: Any) -> tuple[list[dict[str, Any]], Watched]:
    module = Watched()
    return life(lambda config: fit(config, module, **options), config).reports(30), module


def assert_true(report: dict[str, Any], module: Watched, first: int, last: int) -> None:
    """Check what one epoch, or what was trained of it, has logged."""
    names = ("train_loss", "both", "both_epoch", "squares")
    assert [report[n] for n in names] == pytest.approx([module.mean(first, last)] * 4, rel=1e-4)
    for name in ("both_step", "of_step"):
        assert report[name] == pytest.approx(module.losses[last - 1])
    assert report["ended_at"] == last


@pytest.mark.parametrize("validates", [True, False])
def test_bug_the_training_loss_of_the_epoch_before_was_reported(life: Any, validates: bool) -> None:
    reports, module = run(life, validates=validates)
    assert [r["epoch"] for r in reports] == list(range(EPOCHS))
    for epoch, report in enumerate(reports):
        assert_true(report, module, BATCHES * epoch, BATCHES * (epoch + 1))
        assert ("first_epoch_only" in report) == (epoch == 0)
        assert ("validated_at" in report) == validates
        assert report.get("validated_at", report["step"]) == report["step"] == BATCHES * (epoch + 1)


def test_bug_a_validation_inside_an_epoch_reported_the_last_epochs_training_loss(life: Any) -> None:
    # After 2 and 4 of the 5 batches: none closes an epoch.
    reports, module = run(life, val_check_interval=2, max_epochs=3)
    steps = [2, 4, 7, 9, 12, 14]
    assert [r["step"] for r in reports] == [r["validated_at"] for r in reports] == steps
    for report in reports:
        assert not {"train_loss", "both_epoch", "squares", "ended_at"} & set(report)
        assert (
            report["both"] == report["of_step"] == pytest.approx(module.losses[report["step"] - 1])
        )


def test_bug_of_two_validations_the_one_that_closes_the_epoch_lacked_its_loss(life: Any) -> None:
    class Slow(Watched):
        def validation_step(self, batch: Any, index: int) -> None:
            super().validation_step(batch, index)
            self.log("train_loss_seen", float(len(self.losses)))

    module = Slow()
    options: dict[str, Any] = {"limit_train_batches": 4, "val_check_interval": 0.5, "max_epochs": 2}
    reports = life(lambda config: fit(config, module, **options), ASKS).reports(30)
    assert [r["step"] for r in reports] == [2, 4, 6, 8]
    assert [r["train_loss_seen"] for r in reports] == [2, 4, 6, 8]
    assert ["train_loss" in r for r in reports] == [False, True, False, True]
    assert_true(reports[1], module, 0, 4)
    assert_true(reports[3], module, 4, 8)


def test_validation_every_other_epoch_reports_that_epochs_training(life: Any) -> None:
    reports, module = run(life, check_val_every_n_epoch=2)
    assert [r["epoch"] for r in reports] == [1, 3]
    for report in reports:
        last = report["step"]
        assert_true(report, module, last - BATCHES, last)
        assert "first_epoch_only" not in report


def test_validation_across_epochs_holds_no_mean_of_another_epoch(life: Any) -> None:
    options = {"val_check_interval": 7, "check_val_every_n_epoch": None, "max_epochs": 3}
    reports, _ = run(life, **options)
    assert [r["step"] for r in reports] == [7, 14]
    assert not any({"train_loss", "both_epoch", "ended_at"} & set(r) for r in reports)


def test_bug_the_last_steps_of_a_cut_epoch_were_reported_without_their_loss(life: Any) -> None:
    # Step 8 is the third of its epoch; the validation after it ends the training.
    reports, module = run(life, max_epochs=-1, max_steps=8, val_check_interval=3)
    assert [r["step"] for r in reports] == [3, 8]
    assert_true(reports[1], module, 5, 8)


def test_bug_a_study_of_the_training_loss_ended_at_a_validation_inside_an_epoch(life: Any) -> None:
    config = {"gap": {"mode": "scheduler", "metric": "train_loss"}}
    reports, module = run(life, config, val_check_interval=2, max_epochs=2)
    assert [r["step"] for r in reports] == [5, 10]
    for report in reports:
        assert_true(report, module, report["step"] - BATCHES, report["step"])
        # The validation was a step earlier.
        assert "loss" not in report


def test_bug_one_name_for_both_losses_reported_the_training_loss(life: Any) -> None:
    class OneName(Regression):
        def training_step(self, batch: Any, index: int) -> torch.Tensor:
            loss = self.loss(batch)
            self.log("loss", loss + 100, on_epoch=True)
            return loss

        def validation_step(self, batch: Any, index: int) -> None:
            self.log("loss", self.loss(batch))

    reports = life(lambda config: fit(config, OneName()), ASKS).reports(9)
    assert len(reports) == EPOCHS
    assert all(r["loss"] < 100 < r["loss_epoch"] for r in reports)


@pytest.mark.parametrize("validates", [True, False])
def test_bug_a_resumed_trial_stopped_an_epoch_late(life: Any, validates: bool) -> None:
    class Stalling(Watched):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("ended", torch.zeros(()))

        def on_train_epoch_end(self) -> None:
            super().on_train_epoch_end()
            self.ended += 1
            self.log("stalls", self.ended.clamp(max=2) * 0 + 1.0)
            self.log("ended", self.ended)

    def train(config: dict[str, Any]) -> None:
        torch.manual_seed(0)
        stop = EarlyStopping("stalls", patience=3)
        rate = LearningRateMonitor(logging_interval="epoch")
        keep = ModelCheckpoint(dirpath=tempfile.mkdtemp())
        options: dict[str, Any] = {"max_epochs": 9, "enable_checkpointing": True, "logger": True}
        fit(config, Stalling(), keep, stop, rate, validates=validates, **options)

    config = {"gap": {"mode": "scheduler", "metric": "stalls"}}
    whole = life(train, config).reports(30)
    assert [r["ended"] for r in whole] == [1, 2, 3, 4]
    assert all(r["lr-SGD"] > 0 for r in whole)
    first: Life = life(train, config)
    before = first.reports(2)
    second = life(train, config, continues=first)
    second.answer_again(before[-1])
    after = second.reports(30)
    for name in ("train_loss", "ended", "epoch", "step", "gap/seq", "gap/statistics"):
        assert [r[name] for r in before + after] == [r[name] for r in whole], name


@pytest.mark.parametrize("metric", ["train_loss", "loss", None])
def test_bug_a_trial_that_ended_before_its_first_validation_ended_without_a_word(
    metric: str | None, life: Any, caplog: pytest.LogCaptureFixture
) -> None:
    own = {"mode": "scheduler"} if metric is None else {"mode": "scheduler", "metric": metric}
    reports, module = run(life, {"gap": own}, check_val_every_n_epoch=EPOCHS + 1)
    # Ray ends a study over a report without its metric: of a metric unknown, too.
    assert [r["step"] for r in reports] == ([BATCHES * EPOCHS] if metric == "train_loss" else [])
    assert ("a validation must come due" in caplog.text) == (metric != "train_loss")
    for report in reports:
        assert_true(report, module, report["step"] - BATCHES, report["step"])


def test_values_that_are_no_numbers_do_not_raise(life: Any) -> None:
    class Adds(pl.Callback):
        def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
            several = {"matrix": torch.ones(2, 2), "none": None, "note": "fine", "count": 3}
            trainer.callback_metrics.update({**several, "one": torch.ones(1, 1)})

    reports = life(lambda config: fit(config, Watched(), Adds()), ASKS).reports(9)
    assert len(reports) == EPOCHS
    first = {name: reports[0].get(name) for name in ("matrix", "none", "note", "count", "one")}
    assert first == {"matrix": None, "none": None, "note": "fine", "count": 3.0, "one": 1.0}


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Path]:
    """A full file system."""
    folder = tmp_path / "full"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", str(folder)]
    if subprocess.run(mount, stderr=subprocess.DEVNULL).returncode:
        pytest.skip("mounting a file system takes rights that this user lacks")
    (folder / "fills").write_bytes(b"0" * 4096)
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_bug_a_full_temporary_folder_ended_the_trial(
    life: Any, full: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(full))
    reports, _ = run(life)
    assert len(reports) == EPOCHS
    assert not any(r.get("should_checkpoint") for r in reports)


def test_bug_no_temporary_folder_ended_the_trial(
    life: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/proc/no-such-folder")
    reports, _ = run(life)
    assert len(reports) == EPOCHS


@pytest.mark.filterwarnings("ignore:report")
def test_a_second_fit_and_a_copy_start_anew() -> None:
    gap = GapCallback({"gap": {"mode": "trial"}}, checkpoint=False)
    trainer = pl.Trainer(
        accelerator="cpu",
        callbacks=[gap],
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Watched(), data(), data())
    assert pickle.loads(pickle.dumps(gap)).trial is None
    # What reports for it is gone with the fit.
    assert gap in trainer.callbacks
    assert trainer.checkpoint_callback is None
    trainer.fit_loop.epoch_progress.reset()
    trainer.fit(Watched(), data(), data())
    assert gap.trial is not None
    assert gap.trial.statistics().steps == BATCHES


@pytest.mark.slow
def test_bug_a_rank_that_could_not_save_left_the_others_waiting(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.tune.lightning_ranks", str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True)
    for rank in ("0", "1"):
        notes = [json.loads(line) for line in (tmp_path / rank).read_text().splitlines()]
        # Each rank has three batches an epoch, and the second is validated.
        assert notes == [[2, False], [5, False]]


@pytest.mark.parametrize(
    ("metrics", "names"),
    [
        ({"mean": "loss", "training": "train_loss"}, {"mean": "loss", "training": "train_loss"}),
        (["loss"], {"loss": "loss"}),
        ("loss", {"loss": "loss"}),
    ],
)
def test_metrics_are_reported_under_the_names_that_rays_own_callback_gives_them(
    life: Any, metrics: Any, names: dict[str, str]
) -> None:
    asks = {"gap": {"mode": "fixed", "metric": next(iter(names))}}

    def train(callback: Any) -> list[dict[str, Any]]:
        def function(config: dict[str, Any]) -> None:
            torch.manual_seed(0)
            pl.Trainer(
                max_epochs=2,
                accelerator="cpu",
                callbacks=[callback(config)],
                enable_checkpointing=False,
                enable_model_summary=False,
                enable_progress_bar=False,
                logger=False,
            ).fit(Regression(), data(), data())

        return life(function, asks).reports(30)

    options = {"save_checkpoints": False, "on": "train_epoch_end"}
    theirs = train(lambda _: TuneReportCheckpointCallback(metrics, **options))
    ours = train(lambda config: GapCallback(config, metrics=metrics, checkpoint=False))
    assert len(theirs) == len(ours) == 2
    for own, other in zip(ours, theirs, strict=True):
        assert {name: own[name] for name in names} == {name: other[name] for name in names}
        logged = {"loss", "train_loss", "used"}
        assert own.keys() & {*names, *logged} == {*names}


def test_a_name_that_the_module_never_logs_is_said_once(
    life: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def train(config: dict[str, Any]) -> None:
        gap = GapCallback(config, metrics={"loss": "loss", "f1": "ptl/f1"}, checkpoint=False)
        trainer = pl.Trainer(
            max_epochs=3,
            accelerator="cpu",
            callbacks=[gap],
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=False,
            logger=False,
        )
        trainer.fit(Regression(), data(), data())

    reports = life(train, ASKS).reports(30)
    assert len(reports) == 3
    assert not any("f1" in report for report in reports)
    said = [r.getMessage() for r in caplog.records if "ptl/f1" in r.getMessage()]
    assert said == [
        "metrics must name what the module logs, but got ['ptl/f1']: it logs "
        "['loss', 'train_loss', 'used']."
    ]


@pytest.mark.parametrize("metrics", [3, [3], [["loss"]], {"loss": None}])
def test_metrics_of_another_kind_are_refused(metrics: Any) -> None:
    with pytest.raises(InvalidValueError, match="metrics must be names that the module logs"):
        GapCallback(metrics=metrics)
