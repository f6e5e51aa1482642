from __future__ import annotations

import os

# Only tests may turn authentication off; it must be set before Ray is imported.
os.environ["RAY_AUTH_MODE"] = "disabled"
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

from collections.abc import Iterator

import pytest
import torch

from tests.chromium import chromium as chromium

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def ray_address() -> Iterator[str]:
    """Start Ray once for the whole run; return its address for drivers in other processes."""
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
