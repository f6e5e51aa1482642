"""A panel's page in Chromium: every figure draws, and only tables are wider than the screen."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from gap_tune.panel.page import write_page
from gap_tune.panel.scores import score
from tests.panel.made_up import note, rows
from tests.report.test_browser import Opened

if TYPE_CHECKING:
    from playwright.sync_api import Browser

SETTINGS = ("a", "b", "c", "d")
ARMS = ("gap", "switch", "fixed:0.5", "fixed:0.9")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    def loss(setting: str, arm: str, rate: int, seed: int) -> tuple[float, float]:
        place = (SETTINGS.index(setting), ARMS.index(arm), rate, seed)
        value = np.random.default_rng(place).uniform(0.2, 0.6)
        return value, value

    told = note(*SETTINGS)
    for place, setting in enumerate(told["settings"]):
        setting |= {"family": ("sgd", "adamw")[place % 2]}
        setting |= {"half": ("development", "held-out")[place // 2]}
    scores = score(rows(SETTINGS, ARMS, loss), told)
    return write_page(scores, told, tmp_path_factory.mktemp("panel") / "panel.html")


@pytest.mark.slow
@pytest.mark.parametrize("width", [400, 800, 1400])
def test_every_figure_is_drawn_at_any_width(chromium: Browser, path: Path, width: int) -> None:
    opened = Opened(chromium, path, viewport={"width": width, "height": 900})
    drawn = opened.page.evaluate(
        """[...document.querySelectorAll('.plot')].map(plot => [
            plot.querySelectorAll('.scatterlayer .trace').length,
            plot.data.length,
            plot.getBoundingClientRect().right,
        ])"""
    )
    # Of search and of momenta one per group and setting, three of ratios, one of learning rates.
    assert len(drawn) == 6 + 3 + len(SETTINGS) + 1
    for seen, traces, right in drawn:
        assert seen == traces > 0
        assert right <= width
    assert opened.page.evaluate("document.documentElement.scrollWidth") == width
    assert opened.errors == []
    assert [url for url in opened.asked if not url.startswith(("data:", "blob:"))] == [
        path.as_uri()
    ]
    opened.page.close()
