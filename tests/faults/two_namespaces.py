"""Cuts the link between two nodes for a while, then kills one: python -m ... FOLDER NAMESPACES."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["RAY_AUTH_MODE"] = "disabled"

import ray
from ray import tune

from tests.faults.namespaces import HEAD, WORKER, Network, inside
from tests.faults.studies import courses_to_json, tuner
from tests.faults.two_machines import kill, wait_until_up

_CUT_S = 20.0
_PORT = 6399
_RESOURCES = {"cpu": 1.0}


class CutThenKill(tune.Callback):  # type: ignore[misc]
    """Adds the worker, cuts it off when its trial has reported twice, kills it at a report after.

    Args:
        network: What joins the nodes.
        join: Starts the worker.
        hold: While this file is there, the trial on the head keeps the head busy.
    """

    def __init__(
        self, network: Network, join: Callable[[], subprocess.Popen[bytes]], hold: Path
    ) -> None:
        self._network, self._join, self._hold = network, join, hold
        self._head = ray.get_runtime_context().get_node_id()
        self._mended = threading.Event()
        self.worker: subprocess.Popen[bytes] | None = None
        self.cut = self.killed = False
        self.restarts_by_the_cut = 0

    def __getstate__(self) -> dict[str, Any]:
        # Ray saves callbacks with the study; a network cannot be saved.
        return {}

    def on_trial_result(
        self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        if self.worker is None:
            # Only now, so that the first trial is on the head and the second on the worker.
            self.worker = self._join()
        if result["node"] == self._head or self.killed:
            return
        if not self.cut and result["training_iteration"] >= 2:
            self.cut = True
            self._network.cut()
            mend = threading.Timer(_CUT_S, self._mend)
            mend.daemon = True
            mend.start()
        elif self._mended.is_set():
            self.killed = True
            kill(self.worker)
            self._hold.unlink(missing_ok=True)

    def on_trial_recover(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self.restarts_by_the_cut += not self.killed

    def _mend(self) -> None:
        self._network.mend()
        self._mended.set()
        # A worker that the cut has ended cannot be killed: the trial on the head is to go on.
        assert self.worker is not None
        self.worker.wait()
        self._hold.unlink(missing_ok=True)


def start(namespace: str, address: str, *arguments: str) -> subprocess.Popen[bytes]:
    """Run ``ray start`` in a namespace, so that what it starts stays its children."""
    ray_ = str(Path(sys.executable).parent / "ray")
    command = [ray_, "start", "--block", "--num-cpus=1", f"--node-ip-address={address}"]
    return subprocess.Popen(inside(namespace, *command, *arguments), stdout=subprocess.DEVNULL)


def main(folder: Path, network: Network) -> None:
    address = f"{HEAD}:{_PORT}"
    # Paths of sockets may have 107 characters, so Ray's files cannot lie under the test's folder.
    with tempfile.TemporaryDirectory(prefix="gap_tune") as ray_files:
        options = ("--include-dashboard=false", f"--temp-dir={ray_files}")
        head = start(network.head, HEAD, "--head", f"--port={_PORT}", *options)
        trouble = None
        try:
            wait_until_up(address, head)
            ray.init(
                address=address, _node_ip_address=HEAD, log_to_driver=False, logging_level="error"
            )
            hold = folder / "hold"
            hold.touch()
            trouble = CutThenKill(
                network, lambda: start(network.worker, WORKER, f"--address={address}"), hold
            )
            run(folder, trouble, hold)
        finally:
            ray.shutdown()
            for process in (trouble and trouble.worker, head):
                if process is not None:
                    kill(process)


def run(folder: Path, trouble: CutThenKill, hold: Path) -> None:
    """Run two trials, one per node, through the cut and the kill; write what came of them."""
    plan: list[dict[str, Any]] = [
        {"seed": 0, "pause_s": 0.3, "hold": str(hold)},
        {"seed": 1, "pause_s": 0.3},
    ]
    disturbed = tuner(folder / "disturbed", plan, resources=_RESOURCES, callbacks=[trouble])
    grid = disturbed.fit()
    assert not grid.errors, grid.errors
    nodes = {
        result.config["seed"]: result.metrics_dataframe["node"].nunique()  # type: ignore[index]
        for result in grid
    }
    outcome = {
        "cut": trouble.cut,
        "killed": trouble.killed,
        "restarts_by_the_cut": trouble.restarts_by_the_cut,
        "nodes_by_seed": [nodes[0], nodes[1]],
        "courses": courses_to_json(grid),
    }
    (folder / "outcome.json").write_text(json.dumps(outcome))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Network(*sys.argv[2:]))
