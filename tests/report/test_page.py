"""The page, read by a parser that knows nothing of how it was made."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from plotly.offline import get_plotlyjs

from gap_tune.errors import InvalidValueError
from gap_tune.report import verdict, write_csv, write_page

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>'\"{{ 7 * 7 }}"


class Page(HTMLParser):
    """Elements with their attributes, the text of scripts, and the text that people see."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.source, self.text = html, ""
        self._within = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self._within = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag):
        self._within = ""

    def handle_data(self, data):
        if self._within == "script":
            self.scripts[-1] += data
        elif self._within != "style":
            self.text += data

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def content(self):
        return json.loads(self.scripts[0])


@pytest.fixture
def page_of(tmp_path):
    return lambda records: Page(write_page(records, tmp_path / "report.html").read_text())


@pytest.fixture(scope="module")
def full_page(full_study, tmp_path_factory):
    return Page(write_page(full_study, tmp_path_factory.mktemp("page") / "report.html").read_text())


@pytest.fixture
def hostile_records(make_records):
    records = make_records(
        {"gap": {0: 0.2, 1: 0.3}, f"fixed:{HOSTILE}": {0: 0.3, 1: 0.4}, HOSTILE: {0: 0.5, 1: 0.5}},
        failed={(HOSTILE, 1): HOSTILE},
        study={"command": HOSTILE, "settings": {HOSTILE: HOSTILE}, "versions": {HOSTILE: HOSTILE}},
    )
    names = {"validation_accuracy": f"validation_{HOSTILE}", "test_loss": f"test_{HOSTILE}"}
    results = records.results.rename(columns=names).assign(trial_id=lambda t: t.trial_id + HOSTILE)
    trials = records.trials.rename(columns=names).assign(trial_id=lambda t: t.trial_id + HOSTILE)
    results[["gap/reason", "gap/decision"]] = HOSTILE
    return replace(records, results=results, trials=trials)


def test_the_answer_comes_first(full_study, full_page):
    answer = verdict(full_study)
    words = " ".join(full_page.text.split())
    assert words.index(answer.headline) < words.index("Summary")
    for sentence in (*answer.sentences, answer.cost):
        assert sentence in words


def test_page_holds_table_pairs_figures_decisions_and_command(full_page):
    words = " ".join(full_page.text.split())
    for part in (
        "fixed:0.95",
        "best fixed",
        "0.0500 better",  # On seed 0, 0.20 against 0.25.
        "0.9 → 0.8",
        "best gain",
        "gap-tune demo",
        "digits-resnet",
    ):
        assert part in words, part
    titles = [figure["title"] for figure in full_page.content["figures"]]
    assert len(titles) == 8
    assert all(title in words for title in titles)
    assert [gain["trial"] for gain in full_page.content["gains"]] == [
        "gap, seed 0",
        "gap, seed 1",
        "gap, seed 2",
    ]


def test_hostile_names_add_no_element_and_no_script(hostile_records, make_records, page_of):
    harmless = page_of(make_records({"gap": {0: 0.2}, "fixed:0.9": {0: 0.3}}))
    page = page_of(hostile_records)
    assert len(page.scripts) == len(harmless.scripts) == 3
    assert page.scripts[1:] == harmless.scripts[1:]
    assert not page.all("img")
    assert not [a for _, attributes in page.elements for a in attributes if a.startswith("on")]
    # Shown as written: template language is not run either.
    assert page.text.count(HOSTILE) >= 10
    assert "49" not in page.text.replace(HOSTILE, "")


def test_hostile_names_reach_figures_as_text_only(hostile_records, page_of):
    def strings(node):
        if isinstance(node, dict):
            return [s for key, value in node.items() if key != "title" for s in strings(value)]
        if isinstance(node, list):
            return [s for value in node for s in strings(value)]
        return [node] if isinstance(node, str) else []

    figures = page_of(hostile_records).content["figures"]
    shown = [s for figure in figures for s in strings(figure["content"])]
    assert any("alert" in s for s in shown)
    assert not [s for s in shown if "<" in s.replace("<extra></extra>", "")]


def test_page_asks_nothing_of_the_network(full_page):
    for tag, attributes in full_page.elements:
        for name in ("src", "srcset", "href", "action", "data", "poster"):
            value = attributes.get(name)
            assert value is None or value.startswith("#"), (tag, name, value)
    assert not full_page.all("link")
    assert not re.search(r"https?://|url\(|@import|fetch\(|XMLHttpRequest", full_page.source)


def test_browser_may_run_only_plotly_and_the_script_of_the_page(full_page):
    (policy,) = [m["content"] for m in full_page.all("meta") if "http-equiv" in m]
    kinds = [script.get("type") for script in full_page.all("script")]
    assert kinds == ["application/json", "text/plain", None]
    for script in (get_plotlyjs(), full_page.scripts[2]):
        digest = hashlib.sha256(script.encode()).digest()
        assert f"'sha256-{base64.b64encode(digest).decode()}'" in policy
    assert policy.count("sha256-") == 2
    assert policy.startswith("default-src 'none'")


def test_plotly_is_packed_into_the_page_once(full_page):
    assert gzip.decompress(base64.b64decode(full_page.scripts[1])).decode() == get_plotlyjs()
    assert full_page.source.count(full_page.scripts[1][:100]) == 1


def test_page_of_200_tuned_trials_stays_under_6_mb(make_records, tmp_path):
    # The most a page can hold: every decision of every trial is a row, and every trial has gains.
    finals = {"gap": dict.fromkeys(range(200), 0.2)}
    records = make_records(finals, reports=100, momenta=(0.9, 0.8))
    assert write_page(records, tmp_path / "report.html").stat().st_size < 6e6


def test_pages_of_studies_that_failed_were_killed_or_have_not_begun(make_records, page_of):
    finals = {"gap": {0: 0.2, 1: 0.3}, "fixed:0.9": {0: 0.3, 1: 0.2}}
    everything = {(arm, seed): "boom & <b>" for arm in finals for seed in (0, 1)}
    assert "boom & <b>" in page_of(make_records(finals, failed=everything)).text
    killed = page_of(make_records(finals, unfinished=list(everything)))
    assert "0 of 4 trials ended" in killed.text
    assert "unfinished after 40 steps" in killed.text
    empty = page_of(make_records({"gap": {}, "fixed:0.9": {}}))
    assert empty.content == {"figures": [], "gains": []}
    bare = make_records(finals, test_metrics=False)
    page_of(replace(bare, study={k: bare.study[k] for k in ("arms", "metric", "mode")}))


def test_trials_that_were_stopped_early_are_said_to_count_in_no_mean(make_records, page_of):
    study = {"experiment": "own", "report_command": "gap-tune report own"}
    records = make_records({"gap": {1: 0.2, 2: 0.3, 3: 9.0}}, study=study)
    assert "a mean over them compares nothing" not in page_of(records).text
    records.trials.loc[2, "status"] = "stopped"
    words = " ".join(page_of(records).text.split())
    assert "1 trial ended before the others" in words
    assert "a mean over them compares nothing" in words


def test_settings_are_shown_without_float_dust(make_records, page_of):
    dust = {"lr_range": [0.01, 3 * 0.1], "nested": {"decay": 1 - 0.9}}
    page = page_of(make_records({"gap": {0: 0.2}}, study={"settings": dust}))
    assert "[0.01, 0.3]" in page.text
    assert '{"decay": 0.1}' in page.text
    assert "000000" not in page.text


@pytest.mark.parametrize("text", [None, "{"])
def test_malformed_statistics_do_not_stop_the_page(make_records, page_of, text):
    records = make_records({"gap": {0: 0.2, 1: 0.3}, "fixed:0.9": {0: 0.3, 1: 0.2}})
    results = records.results.assign(**{"gap/statistics": [text] * len(records.results)})
    assert page_of(replace(records, results=results)).content["gains"] == []


def test_nothing_is_half_written(full_study, tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("the page before")

    def full_disk(self, data):
        with self.open("wb") as file:
            file.write(data[:100])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full_disk)
    with pytest.raises(InvalidValueError, match="No space left"):
        write_page(full_study, path)
    assert path.read_text() == "the page before"
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_a_place_that_cannot_be_written_is_named(full_study, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidValueError, match="file"):
        write_page(full_study, tmp_path / "file" / "report.html")
    with pytest.raises(InvalidValueError, match="file"):
        write_csv(full_study, tmp_path / "file")
