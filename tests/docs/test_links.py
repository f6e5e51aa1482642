"""Links and anchors of every page lead somewhere; README stays a page that is read."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, FENCED, README, ROOT, TEXTS

# README, as PyPI and GitHub show it, is one screen of story, and all else is in docs/.
MOST_WORDS = 1000


def anchors(text: str) -> set[str]:
    """Return the anchors of a page: those of its headings, and of what mkdocstrings puts there."""
    heads = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    found = {re.sub(r"[^\w -]", "", head.lower()).strip().replace(" ", "-") for head in heads}
    return found | set(re.findall(r"^::: (\S+)$", text, re.MULTILINE))


@pytest.mark.parametrize(
    "page", [*TEXTS, "CHANGELOG.md", "CONTRIBUTING.md", "cluster_configs/README.md"]
)
def test_links_lead_somewhere(page: str) -> None:
    text = FENCED.sub("", (ROOT / page).read_text())
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        if "://" in target:
            continue
        file = (ROOT / page).parent / path if path else ROOT / page
        # The site makes these from files of the repository.
        assert file.exists(), target
        assert not anchor or anchor in anchors(file.read_text()), target


@pytest.mark.parametrize("page", TEXTS)
def test_scripts_are_there_and_linked_to(page: str) -> None:
    for script in re.findall(r"\b\d\d_\w+\.py", TEXTS[page]):
        assert (ROOT / "examples" / script).is_file(), script


def test_readme_is_one_screen_of_story() -> None:
    assert len(README.read_text().split()) <= MOST_WORDS


def test_every_page_can_be_reached_from_readme() -> None:
    seen: set[Path] = set()
    waiting = [README]
    while waiting:
        page = waiting.pop()
        seen.add(page)
        text = FENCED.sub("", page.read_text())
        for target in re.findall(r"\]\(([^)\s#]+\.md)", text):
            linked = (page.parent / target).resolve()
            if linked.is_relative_to(DOCS) and linked not in seen:
                waiting.append(linked)
    # The site's own front page says what README says.
    assert {*DOCS.rglob("*.md")} - seen <= {DOCS / "index.md"}


def test_the_tables_of_results_are_those_of_the_files(monkeypatch: pytest.MonkeyPatch) -> None:
    # As Python does for a script.
    monkeypatch.syspath_prepend(str(DOCS / "results"))
    build = runpy.run_path(str(DOCS / "results/build.py"))
    for page in build["PAGES"]:
        assert page.read_text() == build["written"](page.read_text()), page
    for name, figure in build["FIGURES"].items():
        assert (DOCS / "results" / name).read_text() == figure()
