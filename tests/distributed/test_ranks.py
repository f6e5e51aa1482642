"""Two real gloo processes, which do all tasks one after another."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from typing import Any

import pytest

Ranks = dict[str, tuple[dict[str, Any], dict[str, Any]]]


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> Ranks:
    """What each rank wrote, by task."""
    folder = tmp_path_factory.mktemp("ranks")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tests.distributed.workers"]
    both = [subprocess.Popen([*command, str(r), str(port), str(folder)]) for r in (0, 1)]
    assert [rank.wait() for rank in both] == [0, 0]
    first, second = (json.loads((folder / f"{r}.json").read_text()) for r in (0, 1))
    return {task: (first[task], second[task]) for task in first}


def test_ddp_ranks_choose_the_same_momentum(ranks: Ranks) -> None:
    first, second = ranks["ddp"]
    assert first["momenta"] == second["momenta"]
    assert first["statistics"] == second["statistics"]
    assert len(set(first["momenta"])) > 1
    assert first["scales"] == second["scales"]
    assert len(set(first["scales"])) > 1


def test_shards_have_the_scale_of_the_whole(ranks: Ranks) -> None:
    first, second = ranks["scaled"]
    for name in ("SGD", "AdamW"):
        sharded, whole = first[name]["sharded"], first[name]["whole"]
        assert sharded == second[name]["sharded"]
        assert sharded == pytest.approx(whole, rel=1e-4)
        assert max(whole) > 2 * min(whole)


def test_shards_have_the_statistics_of_the_whole(ranks: Ranks) -> None:
    first, second = ranks["fsdp"]
    assert first["sharded"]["statistics"] == second["sharded"]["statistics"]
    sharded, whole = first["sharded"]["statistics"], first["whole"]["statistics"]
    assert sharded.keys() == whole.keys()
    for name in ("alignment", "autocorrelation"):
        assert sharded[name] == pytest.approx(whole[name], rel=1e-4), name
    for name in ("steps", "weight", "dimension", "sampled", "skipped_steps"):
        assert sharded[name] == pytest.approx(whole[name]), name
    # One all_reduce of a few hundred bytes.
    assert 0 < first["sharded"]["bytes"] < 1000
    assert first["whole"]["bytes"] == 0


def test_shards_that_are_unfrozen_later_have_the_statistics_of_the_whole(ranks: Ranks) -> None:
    first, second = ranks["unfreezing"]
    assert first["sharded"] == second["sharded"]
    sharded, whole = first["sharded"]["statistics"], first["whole"]["statistics"]
    for name in ("alignment", "autocorrelation", "whitening"):
        assert sharded[name] == pytest.approx(whole[name], rel=1e-3), name
    for name in ("steps", "weight", "dimension", "sampled", "skipped_steps"):
        assert sharded[name] == pytest.approx(whole[name]), name
    assert whole["steps"] == 24
    assert first["sharded"]["placeholder"] == first["whole"]["placeholder"] == 0


def test_ranks_without_a_gradient_decide_with_the_others(ranks: Ranks) -> None:
    first, second = ranks["experts"]
    assert first["chosen"] == second["chosen"]
    assert len(first["chosen"]) == 30
    ours, theirs = first["statistics"], second["statistics"]
    assert ours == theirs
