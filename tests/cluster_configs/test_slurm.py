from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster_configs.files import CONFIGS
from tests.patience import wait_for

SCRIPT = CONFIGS / "slurm/study.sbatch"
STAND_INS = Path(__file__).parent / "slurm_stand_ins"


def directives() -> dict[str, str]:
    found = re.findall(r"^#SBATCH --([\w-]+)(?:=(.*))?$", SCRIPT.read_text(), re.M)
    return dict(found)


def test_the_job_is_told_of_its_end_in_time_and_may_run_again() -> None:
    given = directives()
    # B: the script gets the signal, not the steps, which it needs until the study has stopped.
    assert re.match(r"B:USR1@\d{3}$", given["signal"])
    assert "requeue" in given
    assert given["open-mode"] == "append"
    assert int(given["gpus-per-task"]) == 1


def test_directives_come_before_the_first_command() -> None:
    lines = SCRIPT.read_text().splitlines()
    first = next(i for i, line in enumerate(lines) if line and not line.startswith("#"))
    assert not [line for line in lines[first:] if line.startswith("#SBATCH")]


class Job:
    """A job in a Slurm of one machine: its folder and what was asked of Slurm."""

    def __init__(self, folder: Path, study: str) -> None:
        self.folder = folder
        self.asked = folder / "asked.log"
        self.output = folder / "job.log"
        self.id = free_job_id()
        (folder / "cluster_configs").mkdir()
        (folder / "cluster_configs/study.sh").write_text(study)

    def start(self, *first_in_path: Path) -> subprocess.Popen[str]:
        """Run the script as Slurm does: a copy of it, here with one task."""
        script = shutil.copy(SCRIPT, self.folder / "slurm_script")
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "SLURM_"))}
        path = [*first_in_path, STAND_INS, Path(sys.executable).parent, os.environ["PATH"]]
        environment = {
            **inherited,
            "PATH": ":".join(map(str, path)),
            "TMPDIR": str(self.folder),
            "ASKED_OF_SLURM": str(self.asked),
            "SLURM_JOB_ID": str(self.id),
            "SLURM_JOB_NODELIST": "first,second",
            "SLURM_SUBMIT_DIR": str(self.folder),
            "SLURM_NTASKS": "1",
            "SLURM_CPUS_PER_TASK": "1",
            "SLURM_GPUS_PER_TASK": "1",
        }
        return subprocess.Popen(
            ["bash", script, "--epochs", "2"],
            env=environment,
            stdout=self.output.open("w"),
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def processes(self) -> list[str]:
        """Return the processes that keep Ray's files in the job's folder."""
        lines = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
        return [line for line in lines.splitlines() if f"{self.folder}/ray" in line]


def free_job_id() -> int:
    """Return a job id whose port, which the script takes from it, is free."""
    for job_id in range(os.getpid() % 5000, 10000):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", 20000 + job_id)):
                return job_id
    raise AssertionError("no port is free")


@pytest.fixture
def folder() -> Iterator[Path]:
    # Paths of sockets may have 107 characters, so Ray's files cannot lie under pytest's folder.
    with tempfile.TemporaryDirectory(prefix="gt") as name:
        yield Path(name)


def test_a_head_that_does_not_come_up_ends_the_job_with_a_sentence(folder: Path) -> None:
    job = Job(folder, "touch started")
    (folder / "bin").mkdir()
    (folder / "bin/ray").write_text("#!/bin/sh\nexit 1\n")
    (folder / "bin/ray").chmod(0o755)
    assert job.start(folder / "bin").wait() == 1
    assert "Ray's head must come up on first, but it ended." in job.output.read_text()
    assert not (folder / "started").exists()


@pytest.mark.slow
def test_head_and_worker_come_up_and_go_when_the_job_is_queued_again(folder: Path) -> None:
    job = Job(folder, f"echo $* >{folder}/arguments; exec python {STAND_INS}/look.py {folder}/seen")
    running = job.start()
    try:
        wait_for((folder / "seen").exists, "both nodes", process=running)
        os.kill(running.pid, signal.SIGUSR1)
        assert running.wait() == 0
    finally:
        # The script ends the steps; killed outright it could not.
        running.terminate()
        running.wait()
        print(job.output.read_text())
    assert not job.processes()

    seen = json.loads((folder / "seen").read_text())
    head, worker = seen["driver"], seen["trial"]["node"]
    assert seen["resources"] == {head: {"CPU": 0, "GPU": 0}, worker: {"CPU": 1, "GPU": 1}}
    # A trial asks for one CPU only; the GPU that Slurm bound to the task is there all the same.
    assert seen["trial"]["gpus"] == "0"
    assert seen["token"] == "needed"

    given = (folder / "arguments").read_text().split()
    assert given[0] == f"{folder}/gap_tune_results/slurm-{job.id}"
    assert given[1] == "digits-resnet"
    assert given[-2:] == ["--epochs", "2"]
    asked = job.asked.read_text().splitlines()
    assert asked[-1] == f"scontrol requeue {job.id}"
    assert [line for line in asked if "ray start --head" in line and "--nodelist=first" in line]
    assert [line for line in asked if "--gpus-per-task=1" in line and "--num-gpus=1" in line]
