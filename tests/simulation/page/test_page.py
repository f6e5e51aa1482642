"""The page of simulated studies: what it holds, and that nothing in a name is more than text."""

from __future__ import annotations

import json
import re
from io import StringIO
from typing import Any

import pandas as pd
import pytest
from rich.console import Console

from gap_tune.simulation.answers import tables
from gap_tune.simulation.answers.answer import Answer
from gap_tune.simulation.page.page import render
from tests.simulation.answers.made_up import random_answer

NAMES = ("mlp, sgd", "<script>alert(1)</script>")
NOTE: dict[str, Any] = {
    "command": "gap-tune simulate --tables '<i>mine</i>'",
    "cluster": "8 trials at once",
    "runs": "those that gap_tune ships",
    "versions": {"python": "3.11"},
}


@pytest.fixture(scope="module")
def answer() -> Answer:
    return random_answer(NAMES, trials=6, repeats=2)


@pytest.fixture(scope="module")
def html(answer: Answer) -> str:
    return render(answer, NOTE)


def test_the_first_screen_has_the_answer_and_curves_by_trials_and_by_time(
    answer: Answer, html: str
) -> None:
    content = re.search(r'<script type="application/json" id="content">(.*?)</script>', html)
    assert content is not None
    data = json.loads(content[1])
    titles = [figure["title"] for figure in data["figures"]]
    assert titles == ["Search curves against trials", "Search curves against cluster time"] * 2
    first = html.split("<nav")[0]
    assert f"<h1>{answer.headline}</h1>" in first
    assert [name in first for name in titles[:2]] == [True, True]
    drawn = {line["name"] for line in data["figures"][0]["content"]["data"]}
    lead = {name for name in answer.studies.methods if "+tpe+" in name}
    assert drawn == lead
    every = {line["name"] for line in data["figures"][2]["content"]["data"]}
    assert every == set(answer.studies.methods)
    assert len(data["gains"]) == len(NAMES)


def test_every_table_is_there(answer: Answer, html: str) -> None:
    for name in ("summary", "comparisons", "stopping", "populations", "waste", "settings"):
        assert html.count(f'<section id="{name}">') == 1
    for sentence in answer.sentences:
        assert sentence.split(" (")[0] in html
    for method in answer.studies.methods:
        assert f'<span class="name">{method}</span>' in html


def test_names_and_commands_are_escaped(html: str) -> None:
    assert "<script>alert" not in html
    assert "<i>mine" not in html
    assert "&lt;i&gt;mine&lt;/i&gt;" in html
    assert "Content-Security-Policy" in html


def test_a_page_without_gap_or_sweep_says_that_there_is_nothing_to_compare() -> None:
    from dataclasses import replace

    whole = random_answer(("a", "b"), trials=4, repeats=2).studies
    alone = Answer(replace(whole, methods=("fixed:0.9+tpe+fifo",)))
    assert alone.kind == "undecided"
    text = render(alone, NOTE)
    assert "Nothing to compare" in text
    assert 'id="comparisons"' not in text


def test_the_terminals_table_fits_80_columns(answer: Answer) -> None:
    stream = StringIO()
    Console(file=stream, width=80).print(tables.shown(answer))
    lines = stream.getvalue().splitlines()
    assert "…" not in stream.getvalue()
    assert max(map(len, lines)) <= 80
    assert [line.split()[0] for line in lines[1:8]] == list(answer.studies.methods)


def test_files_hold_every_curve_with_its_interval(answer: Answer, tmp_path: Any) -> None:
    files = {path.name: pd.read_csv(path) for path in tables.write_tables(answer, tmp_path)}
    methods = files["simulated-methods.csv"].set_index("method")
    curves = files["simulated-curves.csv"]
    for name in answer.studies.methods:
        last = curves[(curves["method"] == name) & (curves["axis"] == "trials")].iloc[-1]
        assert last["ratio"] == pytest.approx(methods.loc[name, "ratio"])
        assert last["low"] <= last["ratio"] <= last["high"]
        at_end = curves[(curves["method"] == name) & (curves["axis"] == "time")].iloc[-1]
        # When all trials have ended, both axes say the same.
        assert at_end["ratio"] == pytest.approx(last["ratio"])
    assert set(files["simulated-waste.csv"]["setting"]) == set(NAMES)
    assert len(files["simulated-stopping.csv"]) == 6
