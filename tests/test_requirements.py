"""What pyproject.toml declares: each dependency with a lower bound that ``make lowest`` tries."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
TOOLS = ("dev", "docs")


def declared(*, tools: bool) -> Iterator[Requirement]:
    """Yield the requirements of the package and its extras, other than the package itself."""
    project = PROJECT["project"]
    extras = project["optional-dependencies"]
    texts = [*project["dependencies"]]
    texts += [text for name in extras if tools or name not in TOOLS for text in extras[name]]
    texts += PROJECT["build-system"]["requires"] if tools else []
    for text in texts:
        requirement = Requirement(text)
        if requirement.name != project["name"]:
            yield requirement


def bound(requirement: Requirement) -> Version | None:
    """Return the version at which a requirement begins, if it says so."""
    bounds = [Version(s.version) for s in requirement.specifier if s.operator == ">="]
    return bounds[0] if len(bounds) == 1 else None


def test_every_dependency_has_a_lower_bound() -> None:
    assert [str(r) for r in declared(tools=True) if bound(r) is None] == []


def test_the_versions_that_make_installs_are_within_the_bounds() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    exact = dict(line.split("==") for line in lines if "==" in line)
    for requirement in declared(tools=True):
        if requirement.name in exact:
            assert requirement.specifier.contains(exact[requirement.name]), requirement


def test_one_library_is_declared_with_one_bound() -> None:
    bounds: dict[str, set[str]] = {}
    for requirement in declared(tools=False):
        bounds.setdefault(requirement.name, set()).add(str(requirement.specifier))
    assert [name for name, found in bounds.items() if len(found) > 1] == []


@pytest.mark.skipif(Path(sys.prefix).name != ".venv-lowest", reason="make lowest runs it")
def test_bug_the_declared_bounds_are_the_versions_that_are_tried() -> None:
    tried = {r.name: Version(version(r.name)) for r in declared(tools=False)}
    assert tried == {r.name: bound(r) for r in declared(tools=False)}
    python = Requirement(f"python{PROJECT['project']['requires-python']}")
    assert bound(python) == Version(f"{sys.version_info.major}.{sys.version_info.minor}")
