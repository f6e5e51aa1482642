"""A headless Chromium for tests of pages, driven through Playwright's public interface."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.programs import program

if TYPE_CHECKING:
    from playwright.sync_api import Browser


# Per module: Playwright's event loop must not outlive the tests that use it, for no other loop can
# run in this thread meanwhile.
@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """The installed Chromium; ``chromium.new_page()`` opens a page, with a context of its own.

    ``new_page(viewport={"width": 400, "height": 800}, color_scheme="dark")`` sets size and scheme;
    a page has ``goto("file://...")``, ``evaluate``, ``on("request")``, ``screenshot``.
    """
    executable = program("chromium", "chromium-browser")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Chromium's own sandbox starts neither for root nor in most containers; the pages are ours.
        arguments = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
        browser = playwright.chromium.launch(executable_path=executable, args=arguments)
        yield browser
        browser.close()


def keep(picture: Path) -> None:
    """Copy a picture to the folder of artefacts that ``GAP_TUNE_ARTIFACTS`` names, if it does."""
    folder = os.environ.get("GAP_TUNE_ARTIFACTS")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        shutil.copy(picture, folder)
