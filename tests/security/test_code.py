"""What of the package runs code that is read: three places, which docs/security.md names."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import gap_tune

PACKAGE = Path(gap_tune.__file__).parent
# A searcher's file is read by a resume alone, a directive comes from the study's own driver, and
# contracts and simulated drivers pickle what they have made themselves.
PICKLES = {
    "simulation/driver.py",
    "tune/search/saved.py",
    "tune/ray_private/delivery.py",
    "testing/rules.py",
    "testing/saving.py",
}
READERS = {"load", "loads", "Unpickler"}


def calls() -> Iterator[tuple[str, str, ast.Call]]:
    """Yield all calls of the package: file, what is called, and the call."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                yield path.relative_to(PACKAGE).as_posix(), ast.unparse(node.func), node


def test_pickles_are_read_where_their_writer_is_trusted_and_nowhere_else() -> None:
    found = set()
    for file, name, _ in calls():
        module, _, function = name.rpartition(".")
        if module.rpartition(".")[2] in ("pickle", "cloudpickle") and function in READERS:
            found.add(file)
    assert found == PICKLES


def test_torch_loads_nothing_that_runs_code() -> None:
    loads = [(file, call) for file, name, call in calls() if name in ("torch.load", "load_file")]
    assert len(loads) >= 4
    for file, call in loads:
        given = {k.arg: ast.unparse(k.value) for k in call.keywords}
        assert given.get("weights_only") == "True", file


def test_nothing_evaluates_text_or_reads_yaml_with_tags_of_python() -> None:
    for file, name, call in calls():
        assert name not in ("eval", "exec", "compile", "os.system", "yaml.load"), file
        assert "allow_pickle" not in {k.arg for k in call.keywords}, file
        assert "shell" not in {k.arg for k in call.keywords if ast.unparse(k.value) == "True"}, file
