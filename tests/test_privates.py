"""Tests go by what users see: names with an underscore belong to whoever wrote them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent
# Their subject is what Ray does not promise, or the cost of a step's parts.
FREE = ("contracts", "benchmarks")
# What remains, by file, each with the reason why there is no other way.
EXCEPTIONS = {
    # Ray checks files of its cluster launcher nowhere else.
    "cluster_configs/test_cloud.py": {"_private", "_default_utilization_scorer"},
    # xdist's schedules are extended by overriding this, and by nothing else.
    "conftest.py": {"_split_scope"},
    # Gradients that torch knows to be zero have no data: users meet them, and cannot make them.
    "gradients/test_layouts.py": {"_efficientzerotensor"},
    # Accelerate keeps one state in a process, and takes it back nowhere else.
    "gradients/test_wrappers.py": {"_reset_state"},
    "tune/integrations/test_accelerate.py": {"_reset_state"},
    # torch counts the graphs of its default compiler nowhere else.
    "optim/test_compile.py": {"_dynamo"},
    # Torch's kernel itself has no counterpart for tensors without data.
    "optim/test_switch_training.py": {"_fused_sgd_"},
    # The constructor of the channel needs a worker of Ray Train, which takes half a minute.
    "docs/messages.py": {"_patience_s", "_unanswered", "_warned", "_wait"},
    # Ray's own manager of checkpoints says which it deletes; as a study, that takes a minute.
    "study/methods/test_pbt.py": {"_CheckpointManager", "_TrainingResult", "_internal"},
    # What entry points there are is remembered, as long as a process lives.
    "study/methods/test_table.py": {"_entry_point"},
    # How long to wait is nothing that users set, and ten seconds are too long for a test. Ray
    # leaves what makes a process a worker, and takes it back nowhere.
    "tune/integrations/test_torch_trainer.py": {"_PATIENCE_S", "_internal", "_train_fn_utils"},
    # pyarrow's file system in memory has no other name, nor Ray's manager its storage.
    "tune/ray_private/storage/test_uploading.py": {"_MockFileSystem", "_storage"},
    # What suggest() notes of ten thousand trials, without choosing as many seeds.
    "tune/search/test_seeds.py": {"_seeder"},
    # Torch has no other count of an optimizer's hooks.
    "tune/trial/test_report_checkpoint.py": {"_optimizer_step_pre_hooks"},
    # Torch keeps the versions of modules in a state dict under this name.
    "tune/trial/test_session_checkpoints.py": {"_metadata"},
}


def private(name: str) -> bool:
    return name.startswith("_") and not (name.startswith("__") and name.endswith("__"))


def privates(tree: ast.AST) -> Iterator[str]:
    """Yield the private names of others: attributes, imports, and what is patched by its name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and private(node.attr):
            own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
            if not own:
                yield node.attr
        elif isinstance(node, ast.ImportFrom):
            parts = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
            yield from filter(private, parts)
        elif isinstance(node, ast.Import):
            yield from (p for a in node.names for p in a.name.split(".") if private(p))
        elif isinstance(node, ast.Call) and _accesses(node.func):
            texts = (a.value for a in node.args[:2] if isinstance(a, ast.Constant))
            yield from (p for t in texts for p in str(t).split(".") if private(p))


def _accesses(function: ast.expr) -> bool:
    """Tell whether a call reads or writes an attribute by its name."""
    name = getattr(function, "id", getattr(function, "attr", ""))
    return name in ("getattr", "hasattr", "setattr", "delattr", "setitem")


def found_in(folder: Path) -> dict[str, set[str]]:
    found = {}
    for path in sorted(folder.rglob("*.py")):
        place = path.relative_to(folder)
        names = set(privates(ast.parse(path.read_text())))
        if names and place.parts[0] not in FREE and path != Path(__file__):
            found[place.as_posix()] = names
    return found


def test_tests_reach_into_nobodys_privates() -> None:
    # Both ways: an exception that nothing needs any more is taken off the list.
    assert found_in(ROOT) == EXCEPTIONS


def test_every_way_to_a_private_name_is_found(tmp_path: Path) -> None:
    lines = (
        "scheduler._a.rule",
        "log._b[path] = 1",
        "from gap_tune import _c",
        "from gap_tune._d import e",
        "import ray._e.session",
        "monkeypatch.setattr(module, '_f', 1)",
        "monkeypatch.setattr('gap_tune.module._g', 1)",
        "getattr(thing, '_h')",
    )
    for number, line in enumerate(lines):
        (tmp_path / f"{number}.py").write_text(line)
    assert sorted(name for names in found_in(tmp_path).values() for name in names) == [
        *("_a", "_b", "_c", "_d", "_e", "_f", "_g", "_h")
    ]
    (tmp_path / "fine.py").write_text("self._mine = cls._ours = thing.__dict__")
    assert "fine.py" not in found_in(tmp_path)
