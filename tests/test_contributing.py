"""What CONTRIBUTING.md and the pages name is there; additions cost what they say."""

from __future__ import annotations

import ast
import hashlib
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import pytest
import torch
import typer

import gap_tune
from gap_tune import cli
from gap_tune.rules import describe_rule, get_rule
from gap_tune.study import parse_arm
from gap_tune.theory.families import family_of, register
from gap_tune.training.local import run
from gap_tune.workloads import get_workload
from tests.docs.pages import TEXTS as PAGES
from tests.layout.imports import Sources

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "gap_tune"
DOCUMENTS = ("CONTRIBUTING.md", *(page for page in PAGES if page != "docs/rule-log.md"))
TEXTS = {name: (ROOT / name).read_text() for name in DOCUMENTS}
# Not what there happens to be: what is gone must be noticed.
_TOPS = r"gap_tune|tests|examples|cluster_configs|docs|\.ci|\w+\.md|\w+\.toml|\w+\.txt"


def quoted(pattern: str) -> list[str]:
    """Return all that stands in backticks in the documents and matches as a whole."""
    found = [text for each in TEXTS.values() for text in re.findall(r"`([^`\n]+)`", each)]
    return sorted({text for text in found if re.fullmatch(pattern, text)})


@cache
def defined(path: Path) -> frozenset[str]:
    """Return the functions and classes of a file or folder, methods as "Class.method"."""
    files = path.rglob("*.py") if path.is_dir() else [path]
    return frozenset(name for file in files for name in names(ast.parse(file.read_text()).body))


def names(body: list[ast.stmt], prefix: str = "") -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            yield prefix + node.name
        if isinstance(node, ast.ClassDef):
            yield from names(node.body, f"{prefix}{node.name}.")


def test_every_path_in_the_documents_exists() -> None:
    paths = quoted(rf"(?:{_TOPS})(?:/[\w./<>-]*)?")
    assert len(paths) > 50
    for path in paths:
        # What is to be written has a name in angle brackets, in a folder that is there.
        there = ROOT / (Path(path).parent if "<" in path else path)
        assert there.exists(), f"{path} is not there"


def test_every_function_in_the_documents_exists_where_they_say() -> None:
    found = quoted(r"(?:gap_tune|tests|examples)[\w./]*:[\w.]+")
    assert len(found) > 50
    for each in found:
        path, _, name = each.partition(":")
        assert name in defined(ROOT / path), f"{each} is not there"


def test_every_dotted_name_in_the_documents_can_be_imported() -> None:
    # Entry points' groups are named alike.
    groups = {"gap_tune.rules", "gap_tune.search_methods", "gap_tune.workloads"}
    found = set(quoted(r"gap_tune(?:\.\w+)+")) - groups - {"gap_tune.pt"}
    assert len(found) > 5
    for name in found:
        resolve_name(name)


def test_every_command_in_the_documents_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    made = quoted(r"make [a-z]+")
    assert made
    for command in made:
        assert command.removeprefix("make ") in targets, command
    commands = typer.main.get_command(cli.app).commands  # type: ignore[attr-defined]
    asked = quoted(r"gap-tune [a-z]+")
    assert asked
    for command in asked:
        assert command.removeprefix("gap-tune ") in commands, command


def rows(text: str, heading: str) -> list[list[str]]:
    """Return the cells of the first table below a heading, without its head."""
    below = text.split(f"\n## {heading}\n", 1)[1]
    lines = below.split("\n## ", 1)[0].splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("|"))
    found = []
    for line in lines[first + 2 :]:
        if not line.startswith("|"):
            break
        found.append([cell.strip() for cell in line.strip("|").split(" | ")])
    return found


def test_the_layout_names_every_folder_and_allows_what_it_imports() -> None:
    table = {
        re.findall(r"`gap_tune/(\w+)`", folder)[0]: set(re.findall(r"`(\w+)`", allowed))
        for folder, _, allowed in rows(TEXTS["docs/design.md"], "Layout")
    }
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert set(table) == folders
    imported: dict[str, set[str]] = {folder: set() for folder in folders}
    for each in Sources.of(PACKAGE).imports():
        (here, there) = (name.split(".")[1:2] for name in (each.module, each.target))
        if here and here[0] in folders and each.target.startswith("gap_tune."):
            imported[here[0]] |= {*there} & folders - {*here}
    assert not {f: more for f, names in imported.items() if (more := names - table[f])}


def additions() -> dict[str, tuple[str, str]]:
    table = rows(TEXTS["CONTRIBUTING.md"], "What to change to add something")
    return {what: (outside, inside) for what, outside, inside in table}


def count(cell: str) -> int:
    return int(cell.split(":")[0])


def test_the_table_counts_the_files_that_it_names() -> None:
    for what, (outside, inside) in additions().items():
        files = set(re.findall(r"`(gap_tune/[\w./<>]+)`", inside))
        assert count(inside) == len(files), what
        assert outside == "-" or count(outside) == 0, what


OUTSIDE = '''
import torch
from torch.utils.data import TensorDataset

from gap_tune import Decision, MomentumRule, Reason
from gap_tune.workloads.base import Splits


class Half(MomentumRule):
    """Momentum 0.5, whatever the gradients say; or another."""

    def __init__(self, wanted: float = 0.5) -> None:
        self.wanted = wanted

    def decide(self, statistics, momentum):
        return Decision(self.wanted, momentum, Reason.BEST_GAIN, "half of it.")


class Line:
    """A line through points."""

    epochs = 2
    batch_size = 8

    def model(self):
        return torch.nn.Linear(1, 1)

    def data(self):
        points = torch.linspace(-1, 1, 32).unsqueeze(1)
        lines = TensorDataset(points, 3 * points)
        return Splits(train=lines, validation=lines, test=lines)

    def loss(self, outputs, targets):
        return (outputs - targets).square().mean()

    def metrics(self, outputs, targets):
        return {"loss": self.loss(outputs, targets).item()}


class Renamed(torch.optim.Optimizer):
    """An optimizer of another library: AdamW by another name."""

    def __init__(self, parameters, lr=0.1, betas=(0.9, 0.999), eps=1e-8):
        super().__init__(parameters, {"lr": lr, "betas": betas, "eps": eps})

    def step(self, closure=None):
        for group in self.param_groups:
            for parameter in group["params"]:
                state = self.state[parameter]
                state["step"] = state.get("step", torch.zeros(())) + 1
                parameter.data.sub_(group["lr"] * parameter.grad.sign())
'''
ENTRY_POINTS = """
[gap_tune.rules]
half = outside_lab:Half

[gap_tune.workloads]
line = outside_lab:Line
"""


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Install a package of somebody else's, as pip would."""
    (tmp_path / "outside_lab.py").write_text(OUTSIDE)
    metadata = tmp_path / "outside_lab-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: outside-lab\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(ENTRY_POINTS)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("outside_lab", None)


@pytest.fixture
def package_stays() -> Iterator[None]:
    """Fail where a file of the package is another when a test is over."""

    def state() -> dict[str, str]:
        files = [path for path in PACKAGE.rglob("*") if path.suffix in (".py", ".toml", ".html")]
        return {str(f): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}

    before = state()
    assert len(before) > 200
    yield
    assert state() == before


def trained(config: dict[str, Any]) -> list[dict[str, Any]]:
    return run({"workload": "line", "lr": 0.1, "momentum": 0.9, **config})


@pytest.mark.usefixtures("outside", "package_stays")
def test_a_rule_from_outside_decides_and_changes_no_file() -> None:
    by_path, by_entry_point = (
        get_rule("outside_lab:Half"),
        get_rule({"name": "half", "wanted": 0.6}),
    )
    assert (by_path.wanted, by_entry_point.wanted) == (0.5, 0.6)  # type: ignore[attr-defined]
    assert describe_rule(by_path) == "outside_lab:Half"
    for spec in ("outside_lab:Half", {"name": "half", "wanted": 0.5}):
        last = trained({"gap": {"mode": "trial", "rule": spec}})[-1]
        assert (last["gap/momentum"], last["gap/decision"]) == (0.5, "half of it.")
    assert count(additions()["a rule"][0]) == 0


@pytest.mark.usefixtures("outside", "package_stays")
def test_a_workload_from_outside_is_trained_and_changes_no_file() -> None:
    assert get_workload("line").epochs == 2
    for name in ("line", "outside_lab:Line"):
        first, *_, last = trained({"workload": name, "gap": {"mode": "fixed"}})
        assert last["test_loss"] < first["validation_loss"]
    assert count(additions()["a workload"][0]) == 0


@pytest.mark.usefixtures("outside", "package_stays")
@pytest.mark.parametrize("name", ["outside_lab:Half", "gap-half", "gap-trial-half"])
def test_an_arm_from_outside_has_its_rule_and_changes_no_file(name: str) -> None:
    arm = parse_arm(name)
    assert arm.is_tuned("sgd")
    configuration = arm.configuration("sgd")
    assert get_rule(configuration["gap"]["rule"]).wanted == 0.5  # type: ignore[attr-defined]
    decides = configuration["gap"].get("mode") == "trial"
    last = trained(configuration)[-1]
    # Alone, without a scheduler, only a trial that decides itself changes.
    assert last["gap/momentum"] == (0.5 if decides else 0.9)
    assert count(additions()["an arm that decides by a rule"][0]) == 0


@pytest.mark.usefixtures("outside", "package_stays")
def test_an_optimizer_class_from_outside_is_tuned_and_changes_no_file() -> None:
    renamed = resolve_name("outside_lab:Renamed")
    weight = torch.nn.Parameter(torch.ones(4))
    optimizer = renamed([weight])
    config = {"gap": {"mode": "trial", "rule": "half"}}
    with pytest.raises(gap_tune.errors.UnsupportedError, match="table of families"):
        gap_tune.attach(optimizer, config)
    register(renamed, like="AdamW")
    family = family_of(optimizer)
    assert family is not None
    assert family.name == "AdamW"
    trial = gap_tune.attach(optimizer, config)
    for _ in range(3):
        optimizer.zero_grad()
        weight.square().sum().backward()
        optimizer.step()
    assert trial.momentum == optimizer.param_groups[0]["betas"][0] == 0.5
    assert count(additions()["an optimizer class whose momentum is to be tuned"][0]) == 0
