"""What is imported only when it is needed, and that nobody notices."""

from __future__ import annotations

import ast
import inspect
import pickle
import pkgutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

import gap_tune
from gap_tune import cli

HEAVY = {"torch", "ray", "pandas", "plotly", "scipy", "optuna", "sklearn", "pyarrow", "numpy"}
REFUSING = f"""\
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {HEAVY}:
            raise ImportError(f"{{name}} must not be imported")
sys.meta_path.insert(0, Refuse())
"""
LAZY = [
    "gap_tune",
    "gap_tune.dashboards",
    "gap_tune.gradients",
    "gap_tune.study",
    "gap_tune.tune",
    "gap_tune.workloads",
]
EAGER = [
    "gap_tune.control",
    "gap_tune.optim",
    "gap_tune.report",
    "gap_tune.rules",
    "gap_tune.testing",
    "gap_tune.theory",
]
COMMANDS = [
    *(command.name or command.callback.__name__ for command in cli.app.registered_commands),
    *(group.name for group in cli.app.registered_groups),
]


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_gap_tune_imports_a_handful_of_modules() -> None:
    code = "import sys, typing; before = set(sys.modules); import gap_tune\n"
    added = run(f"{REFUSING}{code}print(*sorted(set(sys.modules) - before))").split()
    # Milliseconds, on any machine: its own three, and what importing modules itself takes.
    assert [name for name in added if name.startswith("gap_tune")] == [
        "gap_tune",
        "gap_tune._lazy",
        "gap_tune._moved",
    ]
    assert len(added) < 40


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], [], *([name, "--help"] for name in COMMANDS)], ids=str
)
def test_help_and_version_import_nothing_heavy(arguments: list[str]) -> None:
    said = run(f"{REFUSING}sys.argv[1:] = {arguments}\nfrom gap_tune.cli import main\nmain()")
    assert "gap-tune" in said


@pytest.mark.parametrize("name", LAZY)
def test_every_name_is_there_and_is_the_one_that_types_promise(name: str) -> None:
    package = import_module(name)
    promised = promises(package)
    assert sorted(package.__all__) == sorted(n for n in promised if not is_package(promised[n], n))
    for public, module in promised.items():
        assert public in dir(package)
        found = getattr(package, public)
        assert found is getattr(import_module(module), public)
        # From then on without another look.
        assert vars(package)[public] is found


def promises(package: ModuleType) -> dict[str, str]:
    """Return the modules of the names that a package imports for type checkers only."""
    (block,) = (
        node
        for node in ast.parse(inspect.getsource(package)).body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    found = {}
    for statement in block.body:
        assert isinstance(statement, ast.ImportFrom)
        assert statement.module is not None
        for alias in statement.names:
            assert alias.asname == alias.name
            found[alias.name] = statement.module
    return found


def is_package(module: str, name: str) -> bool:
    return isinstance(getattr(import_module(module), name), ModuleType)


@pytest.mark.parametrize("name", [*LAZY, *EAGER])
def test_no_name_is_hidden_by_a_module_of_its_package(name: str) -> None:
    package = import_module(name)
    modules = {module.name for module in pkgutil.iter_modules(package.__path__)}
    assert not modules & set(package.__all__)


@pytest.mark.parametrize("name", ["probe", "tuner"])
def test_a_function_is_itself_whatever_was_imported_before(name: str) -> None:
    code = f"import gap_tune.tune.{name}, gap_tune; print(gap_tune.{name}.__qualname__)"
    assert run(code) == f"{name}\n"


def test_a_name_that_is_not_there_is_told_as_python_tells_it() -> None:
    with pytest.raises(AttributeError, match="module 'gap_tune' has no attribute 'Sudy'") as told:
        _ = gap_tune.Sudy  # type: ignore[attr-defined]
    assert (told.value.name, told.value.obj) == ("Sudy", gap_tune)
    with pytest.raises(ImportError, match="cannot import name 'Sudy'"):
        exec("from gap_tune import Sudy")


def test_packages_are_attributes_without_an_import_of_their_own() -> None:
    assert run("import gap_tune; print(gap_tune.optim.SGD.__name__)") == "SGD\n"


def test_what_was_pickled_loads_in_a_process_that_has_imported_nothing(tmp_path: Path) -> None:
    things = (gap_tune.AlignmentRule(), gap_tune.FixedMomentum, gap_tune.GapSearch, gap_tune.probe)
    (tmp_path / "things").write_bytes(pickle.dumps(things))
    code = f"import pickle; print(pickle.load(open({str(tmp_path / 'things')!r}, 'rb')))"
    assert "AlignmentRule(lag_zero_weight=0.3" in run(code)


def test_a_star_brings_all_names() -> None:
    names = "from gap_tune import *; print(GapScheduler.__name__, AlignmentRule.__name__)"
    assert run(names) == "GapScheduler AlignmentRule\n"
