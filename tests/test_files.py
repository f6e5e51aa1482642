"""Files are old or new, never half; half lines are passed over and spoil no other."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gap_tune.errors import InvalidValueError
from gap_tune.files import (
    Claim,
    end_line,
    json_lines,
    remove_abandoned,
    remove_drafts,
    replacing,
    write_text,
    write_whole,
)

WRITER = """
import sys
from gap_tune.files import replacing
with replacing(sys.argv[1]) as draft:
    draft.write_text("half")
    print(draft, flush=True)
    sys.stdin.read()
"""


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Have another process write the file, until it is killed; give its draft."""
    command = [sys.executable, "-c", WRITER, str(path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as writer:  # type: ignore[call-overload]
        try:
            yield Path(writer.stdout.readline().rstrip())
        finally:
            writer.kill()


def test_bug_drafts_of_killed_writers_were_never_removed(tmp_path: Path) -> None:
    path, other = tmp_path / "file[1]", tmp_path / ".file1.0123"
    other.touch()
    with writing(path) as draft:
        assert draft.read_text() == "half"
        # It is in use.
        remove_drafts(path)
        assert draft.read_text() == "half"
        # Two may write one file.
        write_text(path, "whole")
    remove_drafts(path)
    assert {p.name for p in tmp_path.iterdir()} == {"file[1]", other.name}


def test_folders_are_removed_once_nobody_claims_them(tmp_path: Path) -> None:
    def make() -> Path:
        (tmp_path / "own").mkdir()
        (tmp_path / "own" / "file").touch()
        return tmp_path / "own"

    claim = Claim(make)
    remove_abandoned(tmp_path, "o*")
    assert (claim.path / "file").exists()
    claim.end()
    remove_abandoned(tmp_path, "p*")
    assert (claim.path / "file").exists()
    remove_abandoned(tmp_path, "o*")
    assert not claim.path.exists()
    # Where nothing is, there is nothing to do.
    remove_abandoned(tmp_path / "nowhere", "*")


def test_where_files_cannot_be_locked_none_passes_for_abandoned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any) -> None:
        raise OSError("no locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    path, draft = tmp_path / "file", tmp_path / ".file.0123"
    draft.touch()
    write_text(path, "whole")
    remove_drafts(path)
    assert path.read_text() == "whole"
    assert draft.exists()


@pytest.mark.parametrize("removed", [True, False])
def test_a_draft_that_was_taken_for_abandoned_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, removed: bool
) -> None:
    import fcntl

    lock, taken = fcntl.flock, list[Path]()

    def late(handle: int, how: int) -> None:
        if taken:
            lock(handle, how)
            return
        # Another process was faster, and has removed it or is about to.
        taken.extend(tmp_path.iterdir())
        if removed:
            taken[0].unlink()
            lock(handle, how)
        else:
            raise BlockingIOError

    monkeypatch.setattr(fcntl, "flock", late)
    with replacing(tmp_path / "file") as draft:
        assert len(taken) == 1
        assert draft not in taken
        draft.write_text("whole")
    assert (tmp_path / "file").read_text() == "whole"


def test_a_file_is_replaced_whole_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "probe.json"
    path.write_text("old")
    with pytest.raises(InvalidValueError, match=r"but got .*/nowhere/probe\.json"):
        write_whole(tmp_path / "nowhere" / "probe.json", b"new")
    with pytest.raises(TypeError):
        write_whole(path, "text instead of bytes")  # type: ignore[arg-type]
    assert path.read_text() == "old"
    write_whole(path, b"new")
    assert path.read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["probe.json"]


def test_a_writer_that_raises_leaves_the_old_file_and_no_draft(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def half() -> None:
        with replacing(path) as draft:
            assert draft.parent == tmp_path
            draft.write_text("ne")
            assert path.read_text() == "old"
            raise RuntimeError("half")

    with pytest.raises(RuntimeError, match="half"):
        half()
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {"file": "old"}


def test_a_text_makes_its_folder_and_may_hold_any_character(tmp_path: Path) -> None:
    path = write_text(tmp_path / "a" / "b.txt", "\udc80 é")
    assert path.read_text(encoding="utf-8") == "? é"
    with pytest.raises(InvalidValueError, match="path must lie in a folder that can be written"):
        write_text(path / "c", "")


def test_lines_that_are_no_json_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    assert list(json_lines(path)) == []
    path.write_bytes(b'{"a": 1}\n' + b"[" * 100_000 + b'\n\n[2]\n{"b": "\xc3')
    assert list(json_lines(path)) == [{"a": 1}, [2]]


@pytest.mark.parametrize(("before", "after"), [(b"", b""), (b"a\n", b"a\n"), (b"a\nb", b"a\nb\n")])
def test_half_a_line_is_closed(tmp_path: Path, before: bytes, after: bytes) -> None:
    path = tmp_path / "lines"
    path.write_bytes(before)
    end_line(path)
    assert path.read_bytes() == after
