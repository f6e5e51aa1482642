"""Ray that does not start: one sentence, in processes where it does not run yet."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

START = """
import gap_tune.tune.starting as starting
try:
    starting.start_ray(num_cpus=1, logging_level="error", {options})
except starting.RayStartError as error:
    print(error)
"""


def told(address: str = "", options: str = "") -> str:
    """Return what a process says whose Ray does not start."""
    environment = {**os.environ, "RAY_ADDRESS": address}
    command = [sys.executable, "-c", START.format(options=options)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return done.stdout


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_bug_a_cluster_that_has_gone_was_asked_for_many_minutes(scheme: str) -> None:
    address = f"{scheme}127.0.0.1:{free_port()}"
    assert told(address) == (
        f"RAY_ADDRESS must be the address of a Ray cluster that runs, but got {address}: "
        "Connection refused. Without it Ray starts on this machine.\n"
    )


def test_what_ray_raises_is_one_sentence(tmp_path: Path) -> None:
    # Sockets' names have 107 characters at most.
    said = told(options=f'_temp_dir="{tmp_path / ("deep" * 30)}"')
    assert said.startswith("Ray must start on this machine, but it got OSError: ")
    assert said.count("\n") == 1


@pytest.mark.slow
def test_what_answers_but_is_no_cluster_is_given_up() -> None:
    with socket.create_server(("0.0.0.0", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        said = told(address, options="limit_s=2.0")
    assert said.startswith(f"Ray must join the cluster of RAY_ADDRESS={address} within 2 s, but")


def test_a_study_whose_ray_does_not_start_ends_with_one_line_and_status_1(tmp_path: Path) -> None:
    script = Path(sys.executable).parent / "gap-tune"
    command = [script, "compare", "quadratic", "--out", str(tmp_path / "out")]
    environment = {**os.environ, "RAY_ADDRESS": f"127.0.0.1:{free_port()}"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("gap-tune: error: RAY_ADDRESS must be the address of a Ray")
    assert done.stderr.count("\n") == 1


def test_bug_the_word_local_is_no_cluster_whose_cores_count(tmp_path: Path) -> None:
    # Where it would be joined, the number of cores that was asked for would be dropped.
    said = told("local", options=f'_temp_dir="{tmp_path / ("deep" * 30)}"')
    assert said.startswith("Ray must start on this machine, but it got OSError: ")
