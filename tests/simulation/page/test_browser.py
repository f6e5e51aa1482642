"""The page of simulated studies in Chromium."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gap_tune.simulation.page.page import write_page
from tests.chromium import keep
from tests.report.test_browser import ATTACKS, Opened
from tests.simulation.answers.made_up import random_answer
from tests.simulation.page.test_page import NOTE

if TYPE_CHECKING:
    from playwright.sync_api import Browser

SETTINGS = ("mlp, sgd", *ATTACKS)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    answer = random_answer(SETTINGS, trials=8, repeats=2)
    folder = tmp_path_factory.mktemp("simulated")
    return write_page(answer, {**NOTE, "runs": ATTACKS[0]}, folder / "simulate.html")


@pytest.mark.slow
@pytest.mark.parametrize(("width", "scheme"), [(400, "dark"), (1280, "light")])
def test_every_figure_is_drawn_and_nothing_else_runs(
    chromium: Browser, path: Path, tmp_path: Path, width: int, scheme: str
) -> None:
    size = {"width": width, "height": 900}
    opened = Opened(chromium, path, viewport=size, color_scheme=scheme)
    drawn = opened.page.evaluate(
        """[...document.querySelectorAll('.plot')].map(plot => [
            plot.querySelectorAll('.scatterlayer .trace').length,
            plot.data.length,
            plot.getBoundingClientRect().right,
        ])"""
    )
    # Two of the answer, two of all methods, and one of the settings at a time.
    assert len(drawn) == 5
    for seen, traces, right in drawn:
        assert seen == traces > 0
        assert right <= width
    assert opened.page.evaluate("document.documentElement.scrollWidth") == width
    assert opened.page.evaluate("window.__hacked") is None
    assert opened.errors == []
    assert opened.dialogs == []
    # The answer and both of its figures are on the first screen of a desk, one on a phone's.
    bottoms = opened.page.evaluate(
        "[...document.querySelectorAll('header .plot')].map(p => p.getBoundingClientRect().bottom)"
    )
    assert len(bottoms) == 2
    assert bottoms[0 if width == 400 else 1] <= 900
    picture = tmp_path / f"simulate-{width}.png"
    opened.page.screenshot(path=picture, full_page=True)
    keep(picture)
    opened.page.close()


@pytest.mark.slow
def test_without_scripts_the_tables_hold_the_numbers(chromium: Browser, path: Path) -> None:
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(path.as_uri())
    assert page.inner_text("h1").startswith(("Gain", "No gain", "As good", "Loss", "Undecided"))
    assert "gap+tpe+fifo" in page.inner_text("#summary")
    assert "Figures appear in browsers" in page.inner_text("header")
    context.close()
