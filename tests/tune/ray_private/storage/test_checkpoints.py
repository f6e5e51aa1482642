"""A trial whose checkpoint was lost with its driver goes on from what is left of the others."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import PurePosixPath
from types import SimpleNamespace
from typing import Any

import pyarrow.fs
import pytest
from ray.tune.experiment import Trial

from gap_tune.tune.ray_private.storage.checkpoints import replace_lost_checkpoint
from tests.contracts.insides import continue_from

FILES = ("gap_tune.pt", "model/weights.pt")


@pytest.fixture(scope="module")
def object_store() -> Iterator[Any]:
    # It has none where the lowest versions are tried.
    pytest.importorskip("moto")
    from tests.object_storage import filesystem, serving

    with serving() as endpoint:
        fs = filesystem(endpoint)
        fs.create_dir("studies")
        yield fs


@pytest.fixture(params=["folder", "s3"])
def stored(request: pytest.FixtureRequest, tmp_path: Any) -> SimpleNamespace:
    """A trial's folder with three checkpoints and their results; the first is Ray's latest."""
    if request.param == "folder":
        fs, place = pyarrow.fs.LocalFileSystem(), PurePosixPath(tmp_path)
    else:
        fs = request.getfixturevalue("object_store")
        place = PurePosixPath("studies", tmp_path.name)
    rows = []
    for number in range(3):
        name = f"checkpoint_{number:06d}"
        for file in FILES:
            write(fs, place / name / file, "state")
        rows += [
            {"training_iteration": 2 * number + 1, "checkpoint_dir_name": name, "config": {}},
            {"training_iteration": 2 * number + 2, "checkpoint_dir_name": None, "config": {}},
        ]
    write(fs, place / "result.json", "".join(json.dumps(row) + "\n" for row in rows) + '{"half')
    trial = Trial("__fake", stub=True)
    continue_from(trial, place / "checkpoint_000000", {}, fs)
    return SimpleNamespace(fs=fs, place=place, trial=trial)


def write(fs: Any, path: PurePosixPath, text: str) -> None:
    fs.create_dir(str(path.parent), recursive=True)
    with fs.open_output_stream(str(path)) as stream:
        stream.write(text.encode())


def continued(stored: SimpleNamespace) -> tuple[str, int] | None:
    """Return what the trial goes on from: the checkpoint and the report that came with it."""
    replace_lost_checkpoint(stored.trial)
    latest = stored.trial.latest_checkpoint_result
    if latest is None:
        return None
    assert "config" not in latest.metrics
    return PurePosixPath(latest.checkpoint.path).name, latest.metrics.get("training_iteration", 0)


def test_a_whole_checkpoint_stays_the_one_to_go_on_from(stored: SimpleNamespace) -> None:
    assert continued(stored) == ("checkpoint_000000", 0)
    # One that holds less than an older one does is whole, too: what was deleted is older.
    stored.fs.delete_file(str(stored.place / "checkpoint_000001" / FILES[1]))
    assert continued(stored) == ("checkpoint_000000", 0)


@pytest.mark.parametrize("left", [0, 1, None])
def test_bug_a_checkpoint_that_was_half_deleted_failed_the_trial_of_a_restored_study(
    stored: SimpleNamespace, left: int | None
) -> None:
    first = str(stored.place / "checkpoint_000000")
    if left is None:
        stored.fs.delete_dir(first)
    else:
        # Object stores keep an empty folder until its last object has been deleted.
        stored.fs.create_dir(first)
        for file in FILES[left:]:
            stored.fs.delete_file(f"{first}/{file}")
    assert continued(stored) == ("checkpoint_000002", 5)


def test_what_is_left_without_its_result_is_not_gone_on_from(stored: SimpleNamespace) -> None:
    stored.fs.delete_dir(str(stored.place / "checkpoint_000000"))
    # The last one's is no name of Ray's, and leads out of the trial's folder.
    names = ("checkpoint_000000", "checkpoint_000001", "../elsewhere/checkpoint_000002")
    write(stored.fs, stored.place.parent / "elsewhere" / "checkpoint_000002" / FILES[0], "state")
    rows = (
        json.dumps({"training_iteration": number + 1, "checkpoint_dir_name": name})
        for number, name in enumerate(names)
    )
    write(stored.fs, stored.place / "result.json", "\n".join(rows))
    assert continued(stored) == ("checkpoint_000001", 2)


def test_without_another_whole_checkpoint_the_trial_starts_anew(stored: SimpleNamespace) -> None:
    for number in range(3):
        stored.fs.delete_dir(str(stored.place / f"checkpoint_{number:06d}"))
    assert continued(stored) is None


def test_without_results_the_trial_starts_anew(stored: SimpleNamespace) -> None:
    stored.fs.delete_file(str(stored.place / "result.json"))
    stored.fs.delete_dir(str(stored.place / "checkpoint_000000"))
    assert continued(stored) is None
