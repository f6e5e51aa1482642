"""Kills one of two nodes that ``ray start`` made, each on its own: python -m ... FOLDER."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ["RAY_AUTH_MODE"] = "disabled"

import psutil
import ray

from tests.faults.losing import run_and_lose
from tests.patience import wait_for


def start(*arguments: str) -> subprocess.Popen[bytes]:
    """Run ``ray start`` in the foreground, so that what it starts stays its children."""
    command = [str(Path(sys.executable).parent / "ray"), "start", "--block", *arguments]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


def main(folder: Path) -> None:
    # Paths of sockets may have 107 characters, so Ray's files cannot lie under the test's folder.
    with tempfile.TemporaryDirectory(prefix="gap_tune") as ray_files:
        run(folder, ray_files)


def run(folder: Path, ray_files: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    head = start(
        "--head",
        f"--port={port}",
        "--num-cpus=1",
        "--include-dashboard=false",
        f"--temp-dir={ray_files}",
    )
    worker = None
    try:
        address = f"127.0.0.1:{port}"
        wait_until_up(address, head)
        ray.init(address=address, log_to_driver=False, logging_level="error")
        before = {node["NodeID"] for node in ray.nodes()}
        worker = start(f"--address={address}", "--num-cpus=1")
        wait_for(lambda: len(ray.nodes()) == 2, "the second node", process=worker)
        (second,) = {node["NodeID"] for node in ray.nodes()} - before
        stop = worker
        run_and_lose(folder, {"cpu": 1}, lambda: kill(stop), lost=lambda: {second})
    finally:
        ray.shutdown()
        for process in (worker, head):
            if process is not None:
                kill(process)


def wait_until_up(address: str, head: subprocess.Popen[bytes]) -> None:
    """Wait until a head answers, as long as it runs."""
    host, port = address.split(":")

    def answers() -> bool:
        with contextlib.suppress(OSError), socket.create_connection((host, int(port))):
            return True
        return False

    wait_for(answers, "ray start --head", process=head)


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a node with everything that it started, which lies in process groups of its own."""
    with contextlib.suppress(psutil.NoSuchProcess):
        started = psutil.Process(process.pid).children(recursive=True)
        for each in (*started, process):
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
    process.wait()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
