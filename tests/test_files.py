"""Files are old or new, never half; half lines are passed over and spoil no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from gap_tune.errors import InvalidValueError
from gap_tune.files import end_line, json_lines, replacing, write_text, write_whole


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
