from __future__ import annotations

import json
import re
from io import StringIO
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from gap_tune.panel.page import render
from gap_tune.panel.scores import Scores, score
from gap_tune.panel.tables import arms_summary, write_tables
from tests.panel.made_up import note, rows

SETTINGS = ("a", "<script>alert(1)</script>")
ARMS = ("gap", "fixed:0.5", "fixed:0.9")


@pytest.fixture(scope="module")
def scores() -> Scores:
    made = rows(SETTINGS, ARMS, lambda *place: (0.5, 0.4 + 0.01 * place[3]))
    made[0] |= {"status": "failed", "error": "<i>boom</i>"}
    return score(made, note(*SETTINGS))


def test_the_page_holds_tables_figures_and_every_arm(scores: Scores) -> None:
    html = render(scores, note(*SETTINGS))
    content = re.search(r'<script type="application/json" id="content">(.*?)</script>', html)
    assert content is not None
    data = json.loads(content[1])
    # Two of ratios and one of momentum per setting; learning rates one at a time.
    assert len(data["figures"]) == 2 + len(SETTINGS)
    assert len(data["gains"]) == len(SETTINGS)
    momentum = data["figures"][2]["content"]["data"]
    assert [line["name"] for line in momentum] == ["gap"]
    for arm in ARMS:
        assert html.count(f'<span class="name">{arm}</span>') == 1 + len(SETTINGS)
    assert "Content-Security-Policy" in html
    assert "http" not in html.replace("http-equiv", "").split('id="content"')[0]


def test_names_and_errors_are_escaped(scores: Scores) -> None:
    html = render(scores, note(*SETTINGS))
    assert "<script>alert" not in html
    assert "&lt;i&gt;boom&lt;/i&gt;" in html
    assert "<b>" not in html.split("<script type")[0]


def test_a_page_without_a_fixed_arm_has_no_ratios() -> None:
    alone = score(rows(("a",), ("gap",), lambda *place: (0.5, 0.4)), note("a"))
    html = render(alone, note("a"))
    assert "across learning rates" in html
    assert "ratio of test losses" not in html


def test_there_is_a_choice_where_there_are_several_settings(scores: Scores) -> None:
    assert '<select id="gain-trial">' in render(scores, note(*SETTINGS))
    one = render(score(rows(("a",), ARMS, lambda *place: (0.5, 0.4)), note("a")), note("a"))
    assert '<select id="gain-trial">' not in one
    assert 'data-gain="0"' in one


def test_the_terminals_table_fits_80_columns(scores: Scores) -> None:
    stream = StringIO()
    Console(file=stream, width=80).print(arms_summary(scores))
    lines = stream.getvalue().splitlines()
    assert len(lines) == 1 + len(ARMS)
    assert "…" not in stream.getvalue()
    assert max(map(len, lines)) <= 80


def test_csv_files_hold_the_tables(scores: Scores, tmp_path: Path) -> None:
    cells, arms = map(pd.read_csv, write_tables(scores, tmp_path))
    pd.testing.assert_frame_equal(cells, scores.cells, check_dtype=False)
    assert arms["arm"].to_list() == list(ARMS)
