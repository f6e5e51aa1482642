from __future__ import annotations

import os

# Only tests may turn authentication off; it must be set before Ray is imported.
os.environ["RAY_AUTH_MODE"] = "disabled"
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

# What of Ray makes a failure of waiting: its own limits, and the niceness, 15, at which its workers
# starve beside other busy processes.
os.environ.setdefault("RAY_worker_niceness", "0")
os.environ.setdefault("RAY_worker_register_timeout_seconds", "3600")
os.environ.setdefault("RAY_gcs_server_port_wait_time_s", "3600")
os.environ.setdefault("RAY_gcs_server_request_timeout_seconds", "3600")
os.environ.setdefault("RAY_DASHBOARD_STARTUP_TIMEOUT_S", "3600")
os.environ.setdefault("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "3600")

from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
import torch

from tests.chromium import chromium as chromium
from tests.patience import pytest_timeout_set_timer as pytest_timeout_set_timer

torch.set_num_threads(1)

# Examples and their making have no deadlines either; see patience.
hypothesis.settings.register_profile(
    "patient", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("patient")


# Folders whose files share what is costly to start, such as a study that a Prometheus watches.
_TOGETHER = ("tests/dashboards/",)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Have one process run all files of such a folder, with ``--dist loadfile``."""
    if config.getoption("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            folders = (folder for folder in _TOGETHER if nodeid.startswith(folder))
            return next(folders, None) or super()._split_scope(nodeid)

    return Scheduling(config, log)


@pytest.fixture(scope="session")
def ray_address() -> Iterator[str]:
    """Start Ray once in this process; return its address for drivers in others."""
    import ray

    context = ray.init(
        address="local",
        # Two: more trials at once start more processes, which costs more than it saves.
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="error",
    )
    yield context.address_info["gcs_address"]
    ray.shutdown()


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def comes_back() -> Iterator[None]:
    """Bring the process back to its folder: Ray's trainables, made in it, go to their trial's."""
    before = os.getcwd()
    yield
    os.chdir(before)
