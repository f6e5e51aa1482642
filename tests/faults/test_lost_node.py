"""Nodes of a cluster are lost while trials run on them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.studies import Course, assert_same_courses


@pytest.mark.slow
@pytest.mark.parametrize("cluster", ["three_nodes", "two_machines"])
def test_trials_of_a_lost_node_end_elsewhere_as_if_nothing_had_been(
    cluster: str, undisturbed: dict[int, Course], tmp_path: Path
) -> None:
    command = [sys.executable, "-m", f"tests.faults.{cluster}", str(tmp_path)]
    # A cluster of its own: losing nodes must not disturb the one that other tests share.
    environment = {name: v for name, v in os.environ.items() if name != "RAY_ADDRESS"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    outcome = json.loads((tmp_path / "outcome.json").read_text())
    assert outcome["nodes_of_the_moved_trial"] == 2
    assert_same_courses(outcome["courses"], undisturbed)
