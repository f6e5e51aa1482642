"""The page's first screen, and the trials on it, in Chromium: seen, filtered, printed."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gap_tune.records.records import Records
from gap_tune.report import write_page
from tests.report.test_browser import Opened

if TYPE_CHECKING:
    from playwright.sync_api import Browser

WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 400, "height": 800}
SHOWN = "document.querySelectorAll('.trial-line:not(.out)').length"


@pytest.fixture(scope="module")
def trials_path(full_study: Records, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of 21 trials of learning rates from 0.01 to 0.21."""
    ids = full_study.trials["trial_id"]
    configs = {
        trial: {"lr": 0.01 * (place + 1), "act": ("relu", "tanh")[place % 2]}
        for place, trial in enumerate(ids)
    }
    folder = tmp_path_factory.mktemp("trials")
    return write_page(replace(full_study, configs=configs), folder / "report.html")


@pytest.mark.slow
@pytest.mark.parametrize("viewport", [WIDE, NARROW], ids=["wide", "narrow"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_first_screen_is_the_answer_its_cost_one_figure_and_nothing_else(
    chromium: Browser, trials_path: Path, viewport: Any, scheme: Any
) -> None:
    one = Opened(chromium, trials_path, viewport=viewport, color_scheme=scheme)
    seen = one.page.evaluate(
        """[...document.querySelectorAll('h1, h2, h3, li, p, table, nav, figure')].filter(e => {
            const { top, bottom, height } = e.getBoundingClientRect();
            return height && top < innerHeight && bottom > 0;
        }).map(e => e.className || e.localName)"""
    )
    assert seen == ["eyebrow", "h1", "cost", "figure"]
    # Whole, not cut off by the screen's end.
    ends = one.page.evaluate(
        "document.querySelector('.verdict .plot').getBoundingClientRect().bottom - innerHeight"
    )
    assert ends <= 0
    assert one.page.evaluate("document.documentElement.scrollWidth") == viewport["width"]
    assert one.errors == []
    one.page.close()


@pytest.mark.slow
@pytest.mark.parametrize("viewport", [WIDE, NARROW], ids=["wide", "narrow"])
def test_nothing_overlaps_with_everything_open(
    chromium: Browser, trials_path: Path, viewport: Any
) -> None:
    one = Opened(chromium, trials_path, viewport=viewport)
    one.page.evaluate("document.querySelectorAll('details').forEach(e => { e.open = true; })")
    one.page.wait_for_timeout(300)
    overlaps = one.page.evaluate(
        """(() => {
            const found = [], told = (e) => e.outerHTML.slice(0, 90);
            for (const part of document.querySelectorAll('body, main, section, details, .grid,'
                + 'header, figure, form')) {
                const boxes = [...part.children].map(e => [e, e.getBoundingClientRect()])
                    .filter(([e, box]) => box.width && box.height && !e.matches('.skip, legend'));
                boxes.forEach(([a, one], i) => boxes.slice(i + 1).forEach(([b, two]) => {
                    const wide = Math.min(one.right, two.right) - Math.max(one.left, two.left);
                    const high = Math.min(one.bottom, two.bottom) - Math.max(one.top, two.top);
                    if (wide > 1 && high > 1) found.push([a, b].map(told));
                }));
                found.push(...boxes.filter(([, box]) => box.right > innerWidth + 1)
                    .map(([e]) => told(e)));
            }
            return found;
        })()"""
    )
    assert overlaps == []
    # Texts of axes, which stand beside each other.
    names = one.page.evaluate(
        """[...document.querySelectorAll('.axis-name')].map(e => {
            const { left, right } = e.getBoundingClientRect();
            return [left, right];
        })"""
    )
    assert all(right < left for (_, right), (left, _) in pairwise(names))
    assert one.errors == []
    one.page.close()


@pytest.mark.slow
def test_trials_are_filtered_from_the_keyboard(chromium: Browser, trials_path: Path) -> None:
    one = Opened(chromium, trials_path, viewport=WIDE)
    page = one.page
    assert page.evaluate(SHOWN) == 21
    page.focus("[aria-label='learning rate as used, at least']")
    page.keyboard.type("0.105")
    page.keyboard.press("Tab")
    page.keyboard.type("0.155")
    # Learning rates from 0.11 to 0.15.
    assert page.evaluate(SHOWN) == 5
    assert page.inner_text("#trial-count") == "5 of 21 shown"
    rows = "[...document.querySelectorAll('.trial-row:not([hidden])')].map(e => e.textContent)"
    texts = page.evaluate(rows)
    assert len(texts) == 5
    assert all(any(f"{lr:.4g}" in text for lr in (0.11, 0.12, 0.13, 0.14, 0.15)) for text in texts)
    # The marks of the same trials, in the figure of learning rate against momentum.
    one.until(
        "[...document.querySelectorAll('.plot')].some(plot =>"
        " plot.data.some(trace => trace.ids && trace.selectedpoints?.length === 5))"
    )
    page.select_option("[aria-label='act']", "relu")
    assert 0 < page.evaluate(SHOWN) < 5
    page.focus(".filters button")
    page.keyboard.press("Enter")
    one.until(f"{SHOWN} === 21")
    assert one.errors == []
    page.close()


@pytest.mark.slow
def test_trials_are_filtered_by_dragging_along_an_axis(
    chromium: Browser, trials_path: Path
) -> None:
    one = Opened(chromium, trials_path, viewport=WIDE)
    page = one.page
    grip = page.locator(".axis[data-axis='2'] .grip")
    grip.scroll_into_view_if_needed()
    box = grip.bounding_box()
    assert box is not None
    x = box["x"] + box["width"] / 2
    page.mouse.move(x, box["y"])
    page.mouse.down()
    page.mouse.move(x, box["y"] + box["height"] / 2, steps=4)
    page.mouse.up()
    # The upper half of the axis, by whatever the axis is logarithmic in.
    low, high = (
        float(page.input_value(f"[data-axis='2'] input >> nth={place}")) for place in (0, 1)
    )
    assert high == pytest.approx(0.21, rel=0.01)
    assert low == pytest.approx((0.01 * 0.21) ** 0.5, rel=0.03)
    expected = sum(low <= 0.01 * (place + 1) <= high for place in range(21))
    assert page.evaluate(SHOWN) == expected
    assert page.locator(".axis[data-axis='2'] .brush").is_visible()
    # A click takes the limits off.
    page.mouse.click(x, box["y"] + 40)
    one.until(f"{SHOWN} === 21")
    page.close()


@pytest.mark.slow
def test_without_scripts_the_answer_the_tables_and_the_trials_are_there(
    chromium: Browser, trials_path: Path
) -> None:
    page = chromium.new_page(viewport=NARROW, java_script_enabled=False)
    page.goto(trials_path.as_uri())
    for seen in ("h1", ".cost", "#no-figures", "#summary table", ".parallel", "#evidence li"):
        assert page.locator(seen).first.is_visible(), seen
    for useless in (".filters", ".filter"):
        assert not page.locator(useless).is_visible(), useless
    assert page.locator(".trial-line").count() == 21
    page.locator("summary", has_text="All trials").click()
    assert page.locator(".trial-row").first.is_visible()
    page.close()


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_of_the_trials_have_contrast(
    chromium: Browser, trials_path: Path, scheme: Any
) -> None:
    one = Opened(chromium, trials_path, viewport=NARROW, color_scheme=scheme)
    ratios = one.page.evaluate(
        """(() => {
            const light = (colour) => {
                const parts = colour.match(/[\\d.]+/g).slice(0, 3).map(x => x / 255);
                const linear = (x) => x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4;
                const [r, g, b] = parts.map(linear);
                return 0.2126 * r + 0.7152 * g + 0.0722 * b;
            };
            const page = light(getComputedStyle(document.body).backgroundColor);
            const ratio = (ink) => (Math.max(ink, page) + 0.05) / (Math.min(ink, page) + 0.05);
            const text = ['legend', '.reasons li', 'summary .note', '.cost'].map(selector =>
                ratio(light(getComputedStyle(document.querySelector(selector)).color)));
            const ticks = ratio(light(getComputedStyle(document.querySelector('.tick')).fill));
            const lines = [...document.querySelectorAll('.trial-line')].map(line =>
                ratio(light(getComputedStyle(line).stroke)));
            return [Math.min(...text, ticks), Math.min(...lines)];
        })()"""
    )
    # WCAG 2, level AA: of texts, and of what pictures are made of, before transparency.
    assert ratios[0] >= 4.5
    assert ratios[1] >= (3.0 if scheme == "dark" else 2.2)
    one.page.close()


@pytest.mark.slow
def test_paper_has_every_trial_and_no_control(chromium: Browser, trials_path: Path) -> None:
    one = Opened(chromium, trials_path, viewport=WIDE, color_scheme="dark")
    page = one.page
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("document.querySelectorAll('details:not([open])').length") == 0
    for control in (".filters", ".filter", "nav", ".modebar"):
        assert not page.locator(control).first.is_visible(), control
    page.set_viewport_size({"width": 720, "height": 1000})
    assert page.evaluate("document.querySelector('.parallel').getBoundingClientRect().right") <= 720
    # Figures that were drawn anew in the paper's width kept their height.
    one.until("[...document.querySelectorAll('.plot')].every(e => e._fullLayout.width <= 720)")
    heights = page.evaluate(
        "[...document.querySelectorAll('.plot')].map(e => e._fullLayout.height)"
    )
    assert min(heights) >= 200
    assert page.locator(".trial-row").first.is_visible()
    page.close()
