"""The page in Chromium: it draws, answers mouse and keyboard, runs no script but its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gap_tune.records.records import Records
from gap_tune.report import write_page
from tests.patience import FOREVER_S
from tests.report.conftest import MakeRecords

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

ATTACKS = (
    "</script><script>window.__hacked = 1</script>",
    '"><img src=x onerror="window.__hacked = 2">',
    "<svg onload=window.__hacked=3></svg>",
    '<a href="javascript:window.__hacked=4">link</a>',
    "javascript:window.__hacked=5",
    "%{customdata}<script>window.__hacked = 6</script>{{ 7 * 7 }}",
    "<!--<script>",
)


class Opened:
    """An open page with what it asked for and complained of."""

    def __init__(self, browser: Browser, path: Path, **options: Any) -> None:
        self.page: Page = browser.new_page(reduced_motion="reduce", **options)
        self.page.set_default_timeout(1000 * FOREVER_S)
        self.asked: list[str] = []
        self.dialogs: list[str] = []
        self.errors: list[str] = []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("dialog", self._dismiss)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", self._note)
        self.page.goto(path.as_uri())
        self.until("[...document.querySelectorAll('.plot')].every(plot => 'drawn' in plot.dataset)")

    def until(self, condition: str) -> None:
        """Wait until an expression is true: Playwright's own needs eval, which pages forbid."""
        while not self.page.evaluate(condition):
            self.page.wait_for_timeout(50)

    def _note(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.errors.append(message.text)

    def _dismiss(self, dialog: Any) -> None:
        self.dialogs.append(dialog.message)
        dialog.dismiss()


@pytest.fixture(scope="module")
def study_path(full_study: Records, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_page(full_study, tmp_path_factory.mktemp("browser") / "report.html")


@pytest.fixture(scope="module")
def opened(chromium: Browser, study_path: Path) -> Iterator[Opened]:
    one = Opened(chromium, study_path, viewport={"width": 1280, "height": 900})
    yield one
    one.page.close()


@pytest.mark.slow
def test_every_figure_draws_its_lines(opened: Opened) -> None:
    drawn = opened.page.evaluate(
        """[...document.querySelectorAll('.plot')].map(plot => [
            plot.querySelectorAll('.scatterlayer .trace').length,
            plot.data.length,
            plot.querySelectorAll('.scatterlayer path.js-line, .scatterlayer path.point').length,
        ])"""
    )
    assert len(drawn) == 9
    for seen, data, paths in drawn:
        assert seen == data > 0
        assert paths > 0
    assert not opened.page.locator("#no-figures").is_visible()
    assert opened.errors == []


@pytest.mark.slow
def test_hovering_with_the_mouse_shows_a_value(opened: Opened) -> None:
    page = opened.page
    plot = page.locator("[data-figure='0']")
    plot.scroll_into_view_if_needed()
    x, y = page.evaluate(
        """(() => {
            const plot = document.querySelector("[data-figure='0']");
            const { xaxis, yaxis, _size } = plot._fullLayout;
            const line = plot.data.findIndex(trace => trace.hoverinfo !== "skip");
            const point = plot.calcdata[line][1];
            const { left, top } = plot.getBoundingClientRect();
            return [left + _size.l + xaxis.c2p(point.x), top + _size.t + yaxis.c2p(point.y)];
        })()"""
    )
    page.mouse.move(x - 3, y - 3)
    page.mouse.move(x, y, steps=3)
    label = plot.locator(".hoverlayer .hovertext")
    label.first.wait_for()
    # 0.20, 0.24 and 0.21 at the end, each 0.1 higher two reports before.
    assert label.first.text_content() == "gapepoch 1.00: 0.4167 (mean of 3)"


@pytest.mark.slow
def test_nothing_is_asked_of_the_network(opened: Opened, study_path: Path) -> None:
    asked = [url for url in opened.asked if not url.startswith(("data:", "blob:"))]
    assert asked == [study_path.as_uri()]


@pytest.mark.slow
def test_decisions_are_filtered_from_the_keyboard(opened: Opened) -> None:
    page = opened.page
    shown = "[...document.querySelectorAll('tr.run')].filter(row => !row.hidden).length"
    everything = page.evaluate(shown)
    page.focus("#filter-text")
    page.keyboard.type("0.95 has")
    some = page.evaluate(shown)
    assert 0 < some < everything
    assert page.inner_text("#filter-count") == f"{some} of {everything} shown"
    texts = page.evaluate(
        "[...document.querySelectorAll('tr.run:not([hidden])')].map(row => row.textContent)"
    )
    assert all("0.95 has" in text for text in texts)
    page.keyboard.press("Control+A")
    page.keyboard.press("Delete")
    page.keyboard.press("Tab")
    page.keyboard.type("already")
    assert 0 < page.evaluate(shown) < everything
    page.keyboard.press("Home")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    assert page.evaluate("[...document.querySelectorAll('tr.kept')].every(row => row.hidden)")
    page.keyboard.press("Space")
    assert page.evaluate(shown) == everything


@pytest.mark.slow
def test_legends_work_from_the_keyboard(opened: Opened) -> None:
    page = opened.page
    first = page.locator("[data-figure='0'] .legendtoggle").first
    first.focus()
    page.keyboard.press("Enter")
    opened.until(
        "document.querySelector('[data-figure=\"0\"]').data.some(t => t.visible === 'legendonly')"
    )


@pytest.mark.slow
def test_hostile_names_run_no_script(
    chromium: Browser, hostile_study: Records, tmp_path: Path
) -> None:
    path = write_page(hostile_study, tmp_path / "report.html")
    one = Opened(chromium, path, viewport={"width": 1280, "height": 900})
    page = one.page
    # Whatever a mouse can touch: plotly writes names into labels as it passes.
    for plot in page.locator(".plot").all()[:3]:
        plot.scroll_into_view_if_needed()
        box = plot.bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + 250, box["y"] + 100)
        page.mouse.move(box["x"] + 255, box["y"] + 110, steps=4)
    page.evaluate("new Promise(done => setTimeout(done, 300))")
    assert page.evaluate("window.__hacked") is None
    assert one.dialogs == []
    assert one.errors == []
    assert [url for url in one.asked if not url.startswith(("data:", "blob:"))] == [path.as_uri()]
    suspicious = page.evaluate(
        """[...document.querySelectorAll('*')].filter(element =>
            element.localName === 'img' || [...element.attributes].some(attribute =>
                attribute.name.startsWith('on') || /^\\s*javascript:/i.test(attribute.value)
                && ['href', 'src', 'xlink:href', 'action'].includes(attribute.name))
        ).map(element => element.outerHTML.slice(0, 200))"""
    )
    assert suspicious == []
    text = page.inner_text("body")
    for attack in ATTACKS[:4]:
        assert attack in text
    page.close()


@pytest.fixture
def hostile_study(make_records: MakeRecords) -> Records:
    """Attacks as names of arms, trials, metrics and settings, in reasons and errors."""
    arms = {arm: {0: 0.5, 1: 0.4} for arm in ATTACKS} | {f"fixed:{ATTACKS[0]}": {0: 0.3, 1: 0.2}}
    records = make_records(
        {"gap": {0: 0.2, 1: 0.3}, **arms},
        failed={(ATTACKS[1], 1): ATTACKS[2]},
        study={"command": ATTACKS[0], "settings": dict(zip(ATTACKS, ATTACKS, strict=True))},
    )
    names = {"validation_accuracy": f"validation_{ATTACKS[0]}", "test_loss": f"test_{ATTACKS[1]}"}
    tables = []
    for table in (records.results, records.trials):
        hostile = table.rename(columns=names)
        hostile["trial_id"] += [ATTACKS[i % len(ATTACKS)] for i in range(len(hostile))]
        tables.append(hostile)
    results, trials = tables
    results["trial_id"] = results["arm"] + results["seed"].astype(str) + ATTACKS[0]
    results[["gap/reason", "gap/decision"]] = ATTACKS[3]
    return replace(records, results=results, trials=trials)


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_narrow_pages_do_not_scroll_sideways_and_have_contrast(
    chromium: Browser, study_path: Path, scheme: Any
) -> None:
    one = Opened(chromium, study_path, viewport={"width": 400, "height": 800}, color_scheme=scheme)
    page = one.page
    assert page.evaluate("document.documentElement.scrollWidth") == 400
    ratios = page.evaluate(
        """(() => {
            const light = (colour) => {
                const parts = colour.match(/[\\d.]+/g).slice(0, 3).map(x => x / 255);
                const linear = (x) => x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4;
                const [r, g, b] = parts.map(linear);
                return 0.2126 * r + 0.7152 * g + 0.0722 * b;
            };
            const page = light(getComputedStyle(document.body).backgroundColor);
            return ['body', '.note', 'nav a', 'thead th', '.kept'].map(selector => {
                const ink = light(getComputedStyle(document.querySelector(selector)).color);
                return (Math.max(ink, page) + 0.05) / (Math.min(ink, page) + 0.05);
            });
        })()"""
    )
    # WCAG 2, level AA.
    assert min(ratios) >= 4.5
    page.close()


@pytest.mark.slow
def test_print_opens_all_trials_on_white(chromium: Browser, study_path: Path) -> None:
    one = Opened(chromium, study_path, viewport={"width": 1280, "height": 900}, color_scheme="dark")
    page = one.page
    assert page.evaluate("document.querySelectorAll('details:not([open])').length") > 0
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("document.querySelectorAll('details:not([open])').length") == 0
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator(".filter").is_visible()
    assert page.pdf().startswith(b"%PDF")
    page.close()
