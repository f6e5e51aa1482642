"""A study over two nodes with addresses of their own: the link is cut, then the worker is lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import astuple
from pathlib import Path

import pytest

from tests.faults.namespaces import Network, inside, network
from tests.faults.studies import Course, assert_same_courses
from tests.programs import program


@pytest.fixture
def joined() -> Iterator[Network]:
    program("ip")
    try:
        with network() as made:
            yield made
    except PermissionError as error:
        pytest.skip(f"making network namespaces takes rights that this user lacks: {error}")


@pytest.mark.slow
def test_a_link_cut_for_twenty_seconds_and_a_lost_worker_cost_no_results(
    joined: Network, undisturbed: dict[int, Course], tmp_path: Path
) -> None:
    # Ray's own settings. A node counts as lost when five health checks in a row have failed, each
    # after ten seconds, so that it lives through the cut. A connection to a trial may not: that
    # trial starts again from its checkpoint.
    environment = {
        name: value
        for name, value in os.environ.items()
        if name != "RAY_ADDRESS" and not name.startswith(("RAY_health_check", "RAY_grpc"))
    }
    driver = [sys.executable, "-m", "tests.faults.two_namespaces", str(tmp_path)]
    command = inside(joined.head, *driver, *astuple(joined))
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    outcome = json.loads((tmp_path / "outcome.json").read_text())
    assert outcome["cut"]
    assert outcome["killed"], "no trial reported from the worker after the cut"
    assert outcome["restarts_by_the_cut"] <= 1
    assert outcome["nodes_by_seed"] == [1, 2]
    assert_same_courses(outcome["courses"], undisturbed)
