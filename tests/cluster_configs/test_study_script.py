from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.cluster_configs.files import CONFIGS
from tests.patience import wait_for

ARGUMENTS = ["digits-resnet", "--arms", "gap,fixed:0.9", "--seeds", "1", "--epochs", "3"]


def start(folder: Path, address: str) -> subprocess.Popen[bytes]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.Popen(
        ["bash", CONFIGS / "study.sh", folder, *ARGUMENTS],
        env={**os.environ, "PATH": path, "RAY_ADDRESS": address},
    )


def results(folder: Path) -> list[dict[str, Any]]:
    """Return what trials have reported so far, without a line that is being written."""
    files = (folder / "experiment").glob("*/result.json")
    lines = [line for file in files for line in file.read_text().splitlines(keepends=True)]
    return [json.loads(line) for line in lines if line.endswith("\n")]


def fifth(folder: Path) -> list[dict[str, Any]]:
    return [result for result in results(folder) if result["training_iteration"] == 5]


def parent(pid: int) -> str:
    """Return the command line of the process that started a process."""
    status = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return Path(f"/proc/{status[1]}/cmdline").read_text().replace("\0", " ")


@pytest.mark.slow
def test_the_study_runs_on_the_cluster_and_the_same_command_continues_it(
    ray_address: str, tmp_path: Path
) -> None:
    folder = tmp_path / "study"
    running = start(folder, ray_address)
    try:
        # Past the first checkpoint, after four reports.
        reports = wait_for(partial(fifth, folder), "a fifth report", process=running)
        assert f"--gcs-address={ray_address}" in parent(reports[0]["pid"])
        # As the batch script of Slurm does before the time limit.
        running.send_signal(signal.SIGUSR1)
        running.wait()
        assert len(results(folder)) < 24

        running = start(folder, ray_address)
        assert running.wait() == 0
    finally:
        running.kill()
        running.wait()
    after = [(r["config"]["arm"], r["training_iteration"]) for r in results(folder)]
    assert set(after) == {(arm, i + 1) for arm in ("fixed:0.9", "gap") for i in range(12)}
    # Continued from the checkpoint, not started over.
    assert after.count((reports[0]["config"]["arm"], 1)) == 1
    assert (folder / "report.html").exists()
