"""The site as readers have it: built strictly, without network, on a desk and on a phone."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import pytest

from tests.chromium import keep
from tests.docs.pages import DOCS, ROOT
from tests.patience import FOREVER_S

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.slow

# What one who knows nothing asks, and the page that answers it.
QUESTIONS: Mapping[str, str] = {
    "Does it help, and when not?": "explanation/when-it-helps.html",
    "How do I install it and see it work?": "start.html",
    "What do I change in my training function?": "how-to/training-function.html",
    "Should I stop sweeping momentum in my own study?": "how-to/compare-in-a-study.html",
    "Who chooses the learning rate?": "how-to/learning-rate.html",
    "Does it work with Adam?": "how-to/adam.html",
    "Does it work with Lightning?": "how-to/lightning.html",
    "Can I use it without Ray?": "how-to/without-ray.html",
    "My study was killed. What now?": "how-to/resume.html",
    "How do I train the best trial again?": "how-to/report.html",
    "What does this error message mean?": "troubleshooting.html",
    "How do I run it on a cluster?": "clusters.html",
    "What does a step cost?": "explanation/cost.html",
    "How is the momentum chosen?": "explanation/method.html",
    "What does GapScheduler take?": "reference/study-parts.html",
    "What does gap-tune compare take?": "reference/command-line.html",
    "How do I write a rule of my own?": "how-to/extend.html",
}
# What one would type into the search, and a page that must be among the first found.
SEARCHES = {
    "killed study": "how-to/resume.html",
    "GapScheduler": "reference/study-parts.html",
    "grid_search": "troubleshooting.html",
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the site, built as ``make docs`` builds it."""
    if not os.environ.get("GAP_TUNE_REQUIRE_PROGRAMS") and not find_spec("mkdocs"):
        pytest.skip("the extra docs is not installed")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(folder)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return folder


class Links(HTMLParser):
    """What a page links to and loads."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag == "a" and found.get("href"):
            self.links.append(str(found["href"]))
        elif target := found.get("src") or (found.get("href") if tag == "link" else None):
            self.loads.append(target)


def links(page: Path) -> Links:
    found = Links()
    found.feed(page.read_text())
    return found


def linked(page: Path) -> Iterator[Path]:
    """Yield the pages of the site that a page links to."""
    for target in links(page).links:
        parts = urlsplit(target)
        if not parts.scheme and parts.path:
            yield (page.parent / unquote(parts.path)).resolve()


def test_every_page_of_docs_is_in_the_site(site: Path) -> None:
    pages = [page.relative_to(DOCS).with_suffix(".html") for page in DOCS.rglob("*.md")]
    assert len(pages) > 40
    assert [page for page in pages if not (site / page).is_file()] == []
    # A page whose menu lacks it can be found by nobody.
    menu = {target.resolve() for target in linked(site / "index.html")}
    assert [page for page in pages if (site / page).resolve() not in menu] == []


def test_nothing_is_loaded_from_the_network(site: Path) -> None:
    for page in site.rglob("*.html"):
        assert [x for x in links(page).loads if urlsplit(x).scheme or x.startswith("//")] == [], (
            page
        )


def test_each_question_is_answered_within_two_clicks(site: Path) -> None:
    first = {*linked(site / "index.html")}
    second = {target for page in first if page.suffix == ".html" for target in linked(page)}
    for question, page in QUESTIONS.items():
        assert (site / page).resolve() in first | second, question
        assert (site / page).is_file(), question


def test_formulas_are_typeset_without_a_script(site: Path) -> None:
    text = (site / "explanation/method.html").read_text()
    assert text.count("<math") > 40
    assert not re.search(r"\\\(|\\\[|\$\$|\\frac|\\sqrt|\\mathrm", text), (
        "a formula is left as LaTeX"
    )


def test_examples_of_docstrings_are_code(site: Path) -> None:
    for page in (site / "reference").glob("*.html"):
        assert not re.search(r"<p>[^<]*&gt;&gt;&gt;|<blockquote>", page.read_text()), page.name


def test_the_command_line_is_that_of_the_commands(site: Path) -> None:
    text = (site / "reference/command-line.html").read_text()
    for name in ("demo", "compare", "resume", "report", "probe", "panel", "dashboards"):
        assert f'id="gap-tune-{name}"' in text
    assert "--gpus-per-trial" in text


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_pages_fit_their_screen_and_ask_nobody(
    site: Path, chromium: Browser, width: int, scheme: str, tmp_path: Path
) -> None:
    page = chromium.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.set_default_timeout(1000 * FOREVER_S)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    broken: list[str] = []
    page.on("pageerror", lambda error: broken.append(str(error)))
    for name in ("index", "troubleshooting", "explanation/method", "explanation/results"):
        page.goto((site / f"{name}.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (colour == "rgb(255, 255, 255)") == (scheme == "light"), (name, colour)
        picture = tmp_path / f"docs-{Path(name).name}-{width}-{scheme}.png"
        page.screenshot(path=picture)
        keep(picture)
    assert broken == []
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:", "about:"))] == []
    page.close()


@pytest.mark.parametrize(("words", "wanted"), SEARCHES.items())
def test_the_search_finds_pages_of_files(
    site: Path, chromium: Browser, words: str, wanted: str
) -> None:
    page = chromium.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(1000 * FOREVER_S)
    page.goto((site / "index.html").as_uri())
    page.locator("input.md-search__input").press_sequentially(words)
    page.wait_for_selector(".md-search-result__item a")
    found = page.eval_on_selector_all(".md-search-result__link", "all => all.map(a => a.href)")
    assert any(f"/{wanted}" in url for url in found[:8]), found[:8]
    page.close()
