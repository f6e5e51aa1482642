from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.chromium import keep
from tests.programs import program

if TYPE_CHECKING:
    from playwright.sync_api import Browser

PAGE = """<!doctype html><meta charset="utf-8"><title>page</title>
<style>p { width: 50vw; color: black }
@media (prefers-color-scheme: dark) { p { color: white } }</style>
<p id="p">text</p><script>document.getElementById("p").textContent = "run"</script>
<img src="missing.png">"""


@pytest.mark.slow
def test_a_page_is_opened_run_measured_and_pictured(
    chromium: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "page.html"
    path.write_text(PAGE)
    page = chromium.new_page(viewport={"width": 400, "height": 300}, color_scheme="dark")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(path.as_uri())
    assert page.inner_text("#p") == "run"
    assert page.evaluate("document.getElementById('p').getBoundingClientRect().width") == 200
    assert page.evaluate("getComputedStyle(document.getElementById('p')).color") == (
        "rgb(255, 255, 255)"
    )
    assert asked == [path.as_uri(), (tmp_path / "missing.png").as_uri()]
    monkeypatch.setenv("GAP_TUNE_ARTIFACTS", str(tmp_path / "kept"))
    page.screenshot(path=tmp_path / "page.png")
    keep(tmp_path / "page.png")
    assert (tmp_path / "kept" / "page.png").read_bytes().startswith(b"\x89PNG")
    page.close()


def test_a_program_that_is_missing_skips_or_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GAP_TUNE_REQUIRE_PROGRAMS", raising=False)
    with pytest.raises(pytest.skip.Exception):
        program("no-such-program")
    monkeypatch.setenv("GAP_TUNE_REQUIRE_PROGRAMS", "1")
    with pytest.raises(pytest.fail.Exception):
        program("no-such-program")
