"""What a release says of itself: one version everywhere, and workflows that run what there is."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import gap_tune

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
FORMS = sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("[!c]*.yml"))


def releases() -> list[tuple[str, str]]:
    """Return the releases of the changelog, newest first, each with its date."""
    text = (ROOT / "CHANGELOG.md").read_text()
    return re.findall(r"^## ([\d.]+) \((\d{4}-\d\d-\d\d)\)$", text, re.MULTILINE)


def steps() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the steps of all jobs, each with its workflow's name."""
    for path in WORKFLOWS:
        for job in yaml.safe_load(path.read_text())["jobs"].values():
            assert job["timeout-minutes"] <= 120
            yield from ((path.name, step) for step in job["steps"])


def test_the_version_has_one_source_which_all_others_follow() -> None:
    assert "version" not in PROJECT
    assert PROJECT["dynamic"] == ["version"]
    assert releases()[0][0] == gap_tune.__version__
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == gap_tune.__version__
    assert str(citation["date-released"]) == releases()[0][1]


def test_bug_images_keep_the_tag_of_an_earlier_version() -> None:
    files = [path for path in (ROOT / "cluster_configs").rglob("*") if path.is_file()]
    tags = re.findall(r"gap-tune:(\d[\w.]*)", "".join(path.read_text() for path in files))
    assert len(tags) >= 5
    assert set(tags) == {gap_tune.__version__}


def test_changes_to_come_stand_above_the_newest_release() -> None:
    heads = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert heads[0] == "Unreleased"
    assert releases() == sorted(releases(), key=lambda each: each[1], reverse=True)


def test_the_citation_has_what_its_format_asks_for() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= citation.keys()
    assert citation["license"] == PROJECT["license"]
    for paper in citation["references"]:
        assert {"type", "title", "authors"} <= paper.keys()
        number = paper["identifiers"][0]["value"].removeprefix("arXiv:")
        assert paper["url"] == f"https://arxiv.org/abs/{number}"
        pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
        assert any(number in page.read_text() for page in pages)


def test_workflows_run_the_suite_on_every_python_that_is_declared() -> None:
    jobs = yaml.safe_load((ROOT / ".github/workflows/tests.yml").read_text())["jobs"]
    tried = jobs["python"]["strategy"]["matrix"]["python"]
    prefix = "Programming Language :: Python :: 3."
    declared = [c for c in PROJECT["classifiers"] if c.startswith(prefix)]
    assert [f"Programming Language :: Python :: {python}" for python in tried] == declared
    assert PROJECT["requires-python"] == f">={tried[0]}"


def test_workflows_call_targets_and_scripts_that_are_there() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    called = [step["run"].split() for _, step in steps() if "run" in step]
    made = [words[1] for words in called if words[0] == "make"]
    assert {"test", "lowest", "docs", "dist", "sbom", "audit"} <= set(made)
    # The site has a target of its own.
    assert set(made) - targets <= {"docs"}
    assert [".ci/run"] in called


def test_workflows_may_read_only_and_use_actions_of_a_named_version() -> None:
    for path in WORKFLOWS:
        assert yaml.safe_load(path.read_text())["permissions"] == {"contents": "read"}
    used = [step["uses"] for _, step in steps() if "uses" in step]
    assert all(re.fullmatch(r"actions/[\w-]+@v\d+", each) for each in used)


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_issue_forms_ask_for_something_and_require_it(path: Path) -> None:
    form = yaml.safe_load(path.read_text())
    assert {"name", "description", "body"} <= form.keys()
    identifiers = [field["id"] for field in form["body"]]
    assert len(set(identifiers)) == len(identifiers)
    assert any(field.get("validations", {}).get("required") for field in form["body"])
    for field in form["body"]:
        assert field["type"] == "textarea"
        assert field["attributes"]["label"]
