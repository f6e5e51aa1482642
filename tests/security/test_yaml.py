"""Study files of somebody else: no code, no more memory than they say, one line for a fault."""

from __future__ import annotations

import time
import tracemalloc
from pathlib import Path

import pytest

from gap_tune.errors import InvalidValueError
from gap_tune.study.checked_yaml import read_mapping
from gap_tune.study.files import read_study_file

LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12)
)
MAPPINGS = "a0: &a0 {k: v, l: w}\n" + "".join(
    f"a{i}: &a{i} {{k: *a{i - 1}, l: *a{i - 1}}}\n" for i in range(1, 60)
)


@pytest.mark.parametrize("bomb", [LAUGHS, MAPPINGS], ids=["lists", "mappings"])
@pytest.mark.parametrize("key", ["", "workload: *a11\n"])
def test_bug_aliases_of_aliases_fill_the_memory(tmp_path: Path, bomb: str, key: str) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(bomb + key)
    tracemalloc.start()
    begun = time.process_time()
    try:
        for read in (read_study_file, lambda path: read_mapping(path, "a file")):
            with pytest.raises(InvalidValueError, match="at most 100000 values, aliases written"):
                read(path)
        assert tracemalloc.get_traced_memory()[1] < 50e6
    finally:
        tracemalloc.stop()
    assert time.process_time() - begun < 20


@pytest.mark.parametrize("text", ["a: " + "[" * 20_000, "a: " + "{a: " * 5_000])
def test_bug_a_file_that_nests_deeply_ends_in_a_recursion_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(text)
    with pytest.raises(InvalidValueError, match=r"study\.yaml, line \d+: a study file must"):
        read_study_file(path)


def test_an_alias_within_itself_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text("workload: &a [*a]\n")
    with pytest.raises(InvalidValueError, match=r"study\.yaml, line 1"):
        read_study_file(path)


def test_a_tag_of_python_runs_no_code(tmp_path: Path) -> None:
    path, mark = tmp_path / "study.yaml", tmp_path / "ran"
    path.write_text(f"workload: !!python/object/apply:os.mkdir ['{mark}']\n")
    with pytest.raises(InvalidValueError, match="must be YAML"):
        read_study_file(path)
    assert not mark.exists()


def test_aliases_as_people_use_them_stay(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_text("a: &rates [0.1, 0.2]\nb: *rates\n")
    found = read_mapping(path, "a file")
    assert found["b"] == (2, [0.1, 0.2])
