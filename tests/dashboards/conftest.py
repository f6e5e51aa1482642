from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gap_tune.dashboards import Addresses, write_dashboards
from tests.dashboards.servers import (
    Prometheus,
    free_port,
    prometheus_at,
    stand_in_for_grafana,
)
from tests.patience import wait_for

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class RunningStudy:
    """A study in a process of its own.

    Attributes:
        folder: Holds ``dashboards``, which gap_tune wrote, and what tells the study to end.
        temporary: Ray's folder.
        metrics_port: Where Ray exports metrics.
        addresses: Where Prometheus and Grafana are.
        environment: What the study was started with.
        url: Address of Ray's dashboard.
        link: What the terminal says of it.
    """

    folder: Path
    temporary: Path
    metrics_port: int
    addresses: Addresses
    environment: dict[str, str]
    url: str
    link: str

    def end(self, arm: str | None = None) -> None:
        """Tell one arm's trials to end, or all."""
        Path(self.folder, "end" if arm is None else f"end-{arm}").touch()


@pytest.fixture(scope="package")
def running_study(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStudy]:
    """Start a study with Ray's dashboard, its token and a metrics port."""
    folder = tmp_path_factory.mktemp("study")
    # Short: sockets lie in it, whose paths may not be long.
    temporary = Path(tempfile.mkdtemp(prefix="ray", dir="/tmp"))
    port, prometheus, grafana = free_port(), free_port(), free_port()
    addresses = Addresses(
        grafana=f"http://127.0.0.1:{grafana}",
        prometheus=f"http://127.0.0.1:{prometheus}",
        targets=[f"127.0.0.1:{port}"],
    )
    write_dashboards(folder / "dashboards", addresses)
    environment = _environment(folder)
    command = [sys.executable, "-m", "tests.dashboards.driver", str(folder), str(temporary)]
    with (folder / "log.txt").open("w") as log:
        driver = subprocess.Popen(
            [*command, str(port)], cwd=ROOT, env=environment, stdout=log, stderr=log
        )
    try:
        said = wait_for(lambda: _session(folder, driver), "the study's session")
        with stand_in_for_grafana(grafana):
            yield RunningStudy(folder, temporary, port, addresses, environment, **said)
    finally:
        (folder / "end").touch()
        try:
            driver.wait()
        finally:
            driver.kill()
            shutil.rmtree(temporary, ignore_errors=True)


@pytest.fixture(scope="package")
def prometheus(
    running_study: RunningStudy, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    """A Prometheus that asks the study's metrics port, as static.yml says."""
    port = int(running_study.addresses.prometheus.rpartition(":")[2])
    configuration = running_study.folder / "dashboards/prometheus/static.yml"
    with prometheus_at(port, configuration, tmp_path_factory.mktemp("prometheus")) as server:
        yield server


def _environment(folder: Path) -> dict[str, str]:
    """Return what a user has: authentication, a token in the home folder, our settings."""
    kept = {k: v for k, v in os.environ.items() if k not in ("RAY_AUTH_MODE", "RAY_ADDRESS")}
    lines = (folder / "dashboards/ray.env").read_text().splitlines()
    settings = dict(line.split("=", 1) for line in lines if not line.startswith("#"))
    # Ray's processes send what they count every ten seconds by default.
    quick = {"RAY_metrics_report_interval_ms": "2000"}
    return {**kept, **settings, **quick, "HOME": str(folder)}


def _session(folder: Path, driver: subprocess.Popen[bytes]) -> dict[str, Any] | None:
    if driver.poll() is not None:
        pytest.fail(f"the study ended:\n{(folder / 'log.txt').read_text()}")
    path = folder / "session.json"
    return json.loads(path.read_text()) if path.exists() else None
