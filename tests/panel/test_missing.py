"""Data that are not here are told before the first run, and left out only where that is asked."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from gap_tune import cli
from gap_tune.errors import InvalidValueError
from gap_tune.panel.missing import with_data
from gap_tune.panel.settings import PanelSettings, Setting
from tests.panel.tiny import SETTINGS

NOWHERE = {"folder": "/nowhere"}
HERE = Setting("here", "quadratic", "sgd", 32, 1, options={"samples": 64})
AWAY = Setting("away", "fashion-mnist", "sgd", 32, 1, options=NOWHERE)
PANEL = PanelSettings((HERE, AWAY, replace(AWAY, name="far", family="adamw")), ("gap",))


def test_missing_data_are_told_in_one_sentence_that_says_what_to_do() -> None:
    with pytest.raises(InvalidValueError) as raised:
        with_data(PANEL, Console(quiet=True), skip_missing=False)
    message = str(raised.value)
    assert "those of 'away', 'far' are not: folder must be a folder with Fashion-MNIST's" in message
    assert "dataset-fashion-mnist" in message
    assert message.endswith("or go on without them: --skip-missing.")
    # Both lack the same.
    assert message.count("/nowhere") == 1
    assert "\n" not in message


def test_a_panel_goes_on_without_them_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    left = with_data(PANEL, Console(width=300), skip_missing=True)
    assert left.settings == (HERE,)
    assert "left out, since their data are not here: 'away', 'far'" in capsys.readouterr().out


def test_a_panel_whose_data_are_all_here_stays_as_it_is() -> None:
    whole = PanelSettings((HERE,), ("gap",))
    for skip_missing in (False, True):
        assert with_data(whole, Console(quiet=True), skip_missing=skip_missing) is whole


def test_of_nothing_there_is_no_panel() -> None:
    with pytest.raises(InvalidValueError, match="must have settings, but got none"):
        with_data(PanelSettings((AWAY,), ("gap",)), Console(quiet=True), skip_missing=True)


def test_the_command_begins_no_run_while_data_are_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    away = SETTINGS + (
        "  - name: away\n    workload: fashion-mnist\n    options: {folder: /nowhere}\n"
        "    family: sgd\n    batch_size: 32\n    epochs: 1\n"
    )
    file, out = tmp_path / "settings.yaml", tmp_path / "out"
    file.write_text(away)
    monkeypatch.setattr(
        sys, "argv", ["gap-tune", "panel", "--settings", str(file), "--out", str(out)]
    )
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 2
    assert "but those of 'away' are not" in capsys.readouterr().err
    assert not out.exists()
