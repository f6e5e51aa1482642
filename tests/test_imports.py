"""The layout: gradients -> rules (using theory) -> control -> {optim, tune} -> study and report."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import gap_tune

ROOT = Path(gap_tune.__file__).parent
# What each package may import of gap_tune besides itself and errors.
ALLOWED = {
    "gradients": set(),
    "dashboards": set(),
    "theory": set(),
    "rules": {"gradients", "theory"},
    "control": {"gradients", "theory"},
    "optim": {"gradients", "theory", "rules", "control"},
    "tune": {"gradients", "theory", "rules", "control"},
    "workloads": {"gradients", "theory", "rules", "control", "optim", "tune"},
    "study": {"gradients", "theory", "rules", "control", "optim", "tune", "workloads"},
    "report": {"gradients", "theory", "rules", "control", "optim", "tune", "workloads", "study"},
    "panel": {
        "gradients",
        "theory",
        "rules",
        "control",
        "optim",
        "tune",
        "workloads",
        "study",
        "report",
    },
}
WITHOUT_RAY = {"gradients", "theory", "rules", "control", "optim"}


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_no_module_imports_leftward() -> None:
    checked = 0
    for package, allowed in ALLOWED.items():
        for path in (ROOT / package).rglob("*.py"):
            for name in imports(path):
                parts = name.split(".")
                if parts[0] == "gap_tune" and len(parts) > 1:
                    checked += 1
                    named = parts[1] in ALLOWED
                    target = parts[1] if named else "errors" if parts[1] == "errors" else "names"
                    fine = (
                        allowed
                        | {package, "errors"}
                        | ({"names"} if package not in WITHOUT_RAY else set())
                    )
                    assert target in fine, f"{path.relative_to(ROOT)} imports {name}"
    assert checked > 50


def test_the_core_does_not_mention_ray() -> None:
    for package in WITHOUT_RAY:
        for path in (ROOT / package).rglob("*.py"):
            assert not [n for n in imports(path) if n.split(".")[0] == "ray"], path


def test_only_delivery_touches_rays_unstable_surface() -> None:
    for path in ROOT.rglob("*.py"):
        if path.name != "delivery.py":
            assert "temporary_state" not in path.read_text(), path


def test_contracts_are_for_tests_alone_and_only_they_need_pytest() -> None:
    for path in ROOT.rglob("*.py"):
        if path.parent.name != "testing":
            named = [
                n for n in imports(path) if n.startswith(("gap_tune.testing", "pytest", "_pytest"))
            ]
            assert not named, f"{path.relative_to(ROOT)} imports {named}"


def test_importing_the_core_needs_torch_and_numpy_only() -> None:
    code = (
        "import sys\n"
        "class Block:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in {'ray', 'scipy', 'pandas', 'optuna', 'rich'}:\n"
        "            raise ImportError(f'{name} must not be imported')\n"
        "sys.meta_path.insert(0, Block())\n"
        "import gap_tune, gap_tune.optim\n"
        "assert 'ray' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
