"""The file system of temporary files is full: results go on, checkpoints wait."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray.train
import torch
from ray import tune
from ray.train.torch import TorchTrainer
from ray.tune.integration.ray_train import TuneReportCallback
from ray.tune.result import TRIAL_INFO

from gap_tune import FixedMomentum, GapScheduler, GapSearch, GapTrainable, attach
from gap_tune.study.methods.plan import PlannedTrials
from gap_tune.tune.trial.storage import is_storage_fault
from tests.contracts.insides import StorageContext
from tests.tune.functions import Cycle
from tests.tune.in_process import Life, life

__all__ = ["life"]

ASKS: dict[str, Any] = {"gap": {"mode": "scheduler", "metric": "loss"}}


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file system of 256 KiB for temporary files."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    if subprocess.run(mount, stderr=subprocess.DEVNULL).returncode:
        pytest.skip("mounting a file system takes rights that this user lacks")
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    with (folder / "filler").open("wb", buffering=0) as filler:
        try:
            while True:
                filler.write(b"0" * 4096)
        except OSError:
            return folder / "filler"


def test_what_torch_and_safetensors_say_of_a_full_disk_is_recognised(tiny: Path) -> None:
    from safetensors.torch import save_file

    fill(tiny)
    state = {"weight": torch.zeros(100_000)}
    for save in (torch.save, save_file):
        with pytest.raises(Exception, match=r".") as error:
            save(state, tiny / "file")
        assert is_storage_fault(error.value), error.value
        (tiny / "file").unlink(missing_ok=True)


def reports(config: dict[str, Any]) -> None:
    """Report five times with a checkpoint; the second and third find no room."""
    model = torch.nn.Linear(10, 10)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    trial = attach(optimizer, config)
    trial.restore(model=model)
    for epoch in trial.epochs(5):
        if epoch == 1:
            fill(Path(config["tiny"]))
        if epoch == 3:
            (Path(config["tiny"]) / "filler").unlink()
        trial.report({"loss": 1.0, "epoch": epoch}, checkpoint=True)


def test_bug_a_full_disk_for_temporary_files_ended_the_trial(
    life: Callable[..., Life], tiny: Path
) -> None:
    rows = life(reports, {**ASKS, "tiny": str(tiny)}).reports(9)
    assert [row["epoch"] for row in rows] == [0, 1, 2, 3, 4]
    kept = [bool(row.get("should_checkpoint")) for row in rows]
    assert kept == [True, False, False, True, True]
    # torch keeps a folder of its own there.
    assert not list(tiny.glob("tmp*"))


class Big(GapTrainable):
    """A class trainable with weights of its own to save, too large for the disk on request."""

    def setup(self, config: dict[str, Any]) -> None:
        self.model = torch.nn.Linear(10, 10)
        optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1, momentum=0.9)
        self.attach(optimizer, saved={"model": self.model})

    def step(self) -> dict[str, Any]:
        return {"loss": 1.0}

    def save_checkpoint(self, checkpoint_dir: str) -> None:  # type: ignore[override]
        torch.save(torch.zeros(self.config["size"]), Path(checkpoint_dir) / "own.pt")

    def load_checkpoint(self, checkpoint: Any) -> None:
        torch.load(Path(checkpoint) / "own.pt")


@pytest.mark.parametrize(("size", "kept"), [(10, True), (1_000_000, False)])
def test_bug_a_full_disk_ended_a_class_trainable(
    size: int,
    kept: bool,
    tiny: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    ray_address: str,
) -> None:
    monkeypatch.setenv("RAY_CHDIR_TO_TRIAL_DIR", "0")
    storage = StorageContext(str(tmp_path), experiment_dir_name="s", trial_dir_name="t")
    info = SimpleNamespace(trial_id="1", trial_name="1", trial_resources=None)
    actor = Big({**ASKS, "size": size, TRIAL_INFO: info}, storage=storage)
    actor.train()
    assert (actor.save().checkpoint is not None) == kept
    # Ray would leave what it could not save.
    assert not list(tiny.glob("tmp*"))
    if not kept:
        with pytest.raises(Exception, match=r".") as error:
            actor.save(str(tiny / "asked for"))
        assert is_storage_fault(error.value)


def worker(config: dict[str, Any]) -> None:
    """Report from each rank; rank 0 fails to make its second checkpoint, and to store its third."""
    torch.set_num_threads(1)
    rank = ray.train.get_context().get_world_rank()
    model = torch.nn.Linear(10, 10)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=config["momentum"])
    trial = attach(optimizer, config)
    trial.restore(model=model)
    broken = Path(config["notes"]) / "broken"
    if rank == 0:
        broken.mkdir()
        (broken / "gone").symlink_to(broken / "nowhere")
    for epoch in trial.epochs(5):
        for _ in range(6):
            model(torch.randn(4, 10)).square().mean().backward()
            optimizer.step()
        temporary = tempfile.tempdir
        if rank == 0 and epoch == 1:
            tempfile.tempdir = str(Path(config["notes"]) / "gone")
        # Ray cannot copy this one to the storage.
        checkpoint = broken if rank == 0 and epoch == 2 else True
        trial.report({"loss": 1.0, "epoch": epoch}, checkpoint=checkpoint)
        tempfile.tempdir = temporary
        note = Path(config["notes"]) / f"{rank}-{epoch}"
        note.write_text(str(optimizer.param_groups[0]["momentum"]))


def run_workers(config: dict[str, Any]) -> None:
    os.environ["RAY_TRAIN_HEALTH_CHECK_INTERVAL_S"] = "0.05"
    TorchTrainer(
        worker,
        train_loop_config=config,
        scaling_config=ray.train.ScalingConfig(
            num_workers=2, resources_per_worker={"CPU": 0.5}, placement_strategy="PACK"
        ),
        run_config=ray.train.RunConfig(
            name="inner", storage_path=config["notes"], callbacks=[TuneReportCallback()]
        ),
    ).fit()


@pytest.mark.slow
def test_a_rank_that_cannot_store_its_checkpoint_reports_with_the_others(
    ray_address: str, tmp_path: Path
) -> None:
    grid = tune.Tuner(
        tune.with_resources(run_workers, {"CPU": 0.5}),
        param_space={"notes": str(tmp_path)},
        tune_config=tune.TuneConfig(
            metric="loss",
            mode="min",
            search_alg=GapSearch(PlannedTrials([{}]), rule=FixedMomentum()),
            scheduler=GapScheduler(rule=Cycle()),
        ),
        run_config=tune.RunConfig(storage_path=str(tmp_path / "tune"), verbose=0),
    ).fit()
    assert not grid.errors
    rows = grid[0].metrics_dataframe.to_dict("records")  # type: ignore[union-attr]
    assert [row["epoch"] for row in rows] == [0, 1, 2, 3, 4]
    for rank in (0, 1):
        used = [float((tmp_path / f"{rank}-{epoch}").read_text()) for epoch in range(4)]
        assert used == [0.5, 0.99, 0.8, 0.9]
