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
from gap_tune.panel.summary import measures_table, rates_table
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
    # One of search, three of ratios, one of momentum per setting; learning rates one at a time.
    assert len(data["figures"]) == 1 + 3 + len(SETTINGS)
    assert len(data["gains"]) == len(SETTINGS)
    curves = data["figures"][0]["content"]["data"]
    drawn = ["learning rate x momentum", *(f"learning rate, {arm}" for arm in ARMS[::-1])]
    assert {line["name"] for line in curves} == set(drawn)
    momentum = data["figures"][4]["content"]["data"]
    assert [line["name"] for line in momentum] == ["gap"]
    for arm in ARMS:
        # As a row of the summary, of the measures of the one family, and of every setting.
        row = f'<th scope="row"><span class="name">{arm}</span>'
        assert html.count(row) == 2 + len(SETTINGS)
    for method in drawn:
        assert html.count(f'<th scope="row"><span class="name">{method}</span>') == 1
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
    assert 'id="search"' not in html


def test_there_is_a_choice_where_there_are_several_settings(scores: Scores) -> None:
    assert '<select id="gain-trial">' in render(scores, note(*SETTINGS))
    one = render(score(rows(("a",), ARMS, lambda *place: (0.5, 0.4)), note("a")), note("a"))
    assert '<select id="gain-trial">' not in one
    assert 'data-gain="0"' in one


def test_the_terminals_table_fits_80_columns(scores: Scores) -> None:
    stream = StringIO()
    Console(file=stream, width=80).print(arms_summary(scores))
    lines = stream.getvalue().splitlines()
    # What is reached under its title, an empty line, and what it costs.
    assert len(lines) == 1 + (1 + len(ARMS)) + 1 + (1 + len(ARMS))
    assert "…" not in stream.getvalue()
    assert max(map(len, lines)) <= 80


def test_csv_files_hold_the_tables(scores: Scores, tmp_path: Path) -> None:
    cells, arms, measures, search, _, rates = map(_read, write_tables(scores, tmp_path))
    pd.testing.assert_frame_equal(cells, scores.cells, check_dtype=False)
    assert arms["arm"].to_list() == list(ARMS)
    pd.testing.assert_frame_equal(measures, measures_table(scores), check_dtype=False)
    assert set(search["method"]) == {"sweep", *ARMS}
    assert len(search) == 30 * (1 + len(ARMS))
    pd.testing.assert_frame_equal(rates, rates_table(scores), check_dtype=False)


def _read(path: Path) -> pd.DataFrame:
    # Without rivals their file is empty.
    return pd.read_csv(path) if path.read_text().strip() else pd.DataFrame()
