from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from gap_tune.errors import InvalidValueError, UnsupportedError
from gap_tune.report.figures.images import write_images
from tests.programs import program
from tests.report.conftest import MakeRecords


@pytest.mark.slow
def test_each_figure_is_an_svg_file_that_needs_nothing_else(
    make_records: MakeRecords, tmp_path: Path
) -> None:
    program("chromium", "chromium-browser")
    records = make_records({"gap": {0: 0.2}, "fixed:0.9": {0: 0.3}}, test_metrics=False)
    paths = write_images(records, tmp_path / "figures", "svg")
    assert [path.name[:14] for path in paths[:2]] == ["01-validation-", "02-validation-"]
    for path in paths:
        root = ElementTree.parse(path).getroot()
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert root.findall(".//{http://www.w3.org/2000/svg}path")
        links = [value for each in root.iter() for key, value in each.items() if "href" in key]
        assert all(link.startswith(("#", "data:")) for link in links)
    assert len(list((tmp_path / "figures").iterdir())) == len(paths) == 7


@pytest.mark.slow
def test_figures_are_png_files_of_twice_the_size(make_records: MakeRecords, tmp_path: Path) -> None:
    program("chromium", "chromium-browser")
    records = make_records({"gap": {0: 0.2}}, test_metrics=False)
    for path in write_images(records, tmp_path, "png"):
        head = path.read_bytes()[:24]
        assert head.startswith(b"\x89PNG")
        assert int.from_bytes(head[16:20], "big") == 1800


def test_other_forms_are_refused_before_anything_is_written(
    make_records: MakeRecords, tmp_path: Path
) -> None:
    with pytest.raises(InvalidValueError, match="svg or png, but got 'pdf'"):
        write_images(make_records({"gap": {0: 0.2}}), tmp_path / "figures", "pdf")
    assert not (tmp_path / "figures").exists()


def test_a_missing_browser_is_said(
    make_records: MakeRecords, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "browser"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("BROWSER_PATH", str(broken))
    with pytest.raises(UnsupportedError, match="must have a Chromium or Chrome that starts"):
        write_images(make_records({"gap": {0: 0.2}}), tmp_path / "figures", "svg")
