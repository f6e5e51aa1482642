from __future__ import annotations

import pytest

from tests.faults.studies import Course, course, tuner


@pytest.fixture(scope="session")
def undisturbed(ray_address: str, tmp_path_factory: pytest.TempPathFactory) -> dict[int, Course]:
    """The courses of the seeds 0 to 2, to which nothing happens."""
    plan = [{"seed": seed} for seed in range(3)]
    grid = tuner(tmp_path_factory.mktemp("undisturbed"), plan, reuse_actors=True).fit()
    assert not grid.errors
    return {result.config["seed"]: course(result) for result in grid}
