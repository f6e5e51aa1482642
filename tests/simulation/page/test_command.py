"""gap-tune simulate: tables, sentences, files and page, of a small table of recorded runs."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from gap_tune.simulation.answers.methods import Method
from gap_tune.simulation.answers.setting import Setting
from gap_tune.simulation.recorded import RecordedRuns
from tests.simulation.answers.tiny_table import MOMENTA, tiny_table
from tests.test_cli import call

QUICK = ["--trials", "4", "--repeats", "2", "--slots", "2", "--cpus", "1"]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_table(tmp_path_factory.mktemp("table"), "hill, sgd", "dale, sgd")


def test_a_recorded_setting_is_searched_over_all_that_was_recorded(table: Path) -> None:
    setting = Setting.recorded(RecordedRuns.load(table)["hill, sgd"])
    assert (setting.lrs, setting.momenta, setting.seeds) == ((0.01, 1.0), MOMENTA, (0, 1))
    assert (setting.family, setting.rates) == ("sgd", 3)
    assert setting.untrained == pytest.approx((1.76, 1.76), rel=1e-4)


def test_the_command_ends_with_table_sentences_files_and_page(
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
    table: Path,
) -> None:
    out = tmp_path / "out"
    methods = "gap+random+fifo,sweep+random+fifo,gap+random+asha,sweep+random+asha"
    arguments = ["--tables", str(table), "--methods", methods, *QUICK, "--out", str(out)]
    assert call(monkeypatch, "simulate", *arguments, "--json") == 0
    captured = capfd.readouterr()
    document = json.loads(captured.out, parse_constant=pytest.fail)
    assert document["kind"] == "simulation"
    assert document["answer"]["headline"] in " ".join(captured.err.split())
    assert [row["method"] for row in document["methods"]] == methods.split(",")
    assert [row["rival"] for row in document["comparisons"]] == [
        "sweep+random+fifo",
        "sweep+random+asha",
    ]
    # Whoever searches momentum tries 0.5 and 0.99, which cost; both settings are alike.
    assert document["comparisons"][0]["ratio"] <= 1.0
    assert {row["measure"] for row in document["stopping"]} >= {"best", "top", "rank"}
    assert {row["worse_momenta"] for row in document["waste"]} <= {"0.5 0.99", ""}
    assert document["files"]["report"] == str(out / "simulate.html")
    _check_files(out, methods.split(","))
    assert max(map(len, captured.err.splitlines())) <= 80 + len(str(out))


def _check_files(out: Path, methods: list[str]) -> None:
    page = (out / "simulate.html").read_text()
    for method in methods:
        assert f'<span class="name">{method}</span>' in page
    assert str(out) in page
    curves = pd.read_csv(out / "simulated-curves.csv")
    assert set(curves["method"]) == set(methods)
    by_trials = curves[curves["axis"] == "trials"].groupby("method")
    assert {tuple(own["at"]) for _, own in by_trials} == {(1.0, 2.0, 3.0, 4.0)}
    settings = pd.read_csv(out / "simulated-settings.csv")
    assert set(settings["setting"]) == {"hill, sgd", "dale, sgd"}
    # The best fixed momentum at its best learning rate: 1.1 times 0.5, and the luck of two seeds.
    assert settings["hindsight"].to_numpy() == pytest.approx(1.1 * 0.505, rel=1e-3)


def test_settings_are_chosen_by_part_of_their_names(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    table: Path,
) -> None:
    arguments = ["--tables", str(table), "--settings", "dale", "--methods", "sweep+grid", *QUICK]
    assert call(monkeypatch, "simulate", *arguments, "--out", str(tmp_path)) == 0
    assert "2 studies" in capsys.readouterr().out
    settings = pd.read_csv(tmp_path / "simulated-settings.csv")
    assert set(settings["setting"]) == {"dale, sgd"}


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--methods", "gap+random+pbt"], "must do without pbt: PBT refuses every searcher"),
        (["--methods", "sweep+tpe+pbt"], "so not by tpe"),
        (["--methods", "gap+rendom"], "but got 'rendom'. Did you mean 'random'?"),
        (["--methods", "gap"], "a method must be '<momentum>+<searcher>+<scheduler>'"),
        (["--methods", "fixed:1.5+tpe"], "momentum of a method must be a number in [0, 1)"),
        (["--methods", "free+tpe"], "momentum of a method must be 'gap', 'sweep' or"),
        (["--trials", "1"], "trials must be an integer of at least 2, but got 1"),
        (["--repeats", "0"], "repeats must be an integer of at least 1, but got 0"),
        (["--slots", "0"], "slots must be an integer of at least 1, but got 0"),
        (["--cpus", "0"], "cpus must be an integer of at least 1, but got 0"),
        (["--trial-seconds", "-1"], "trial_seconds must be a number in [0, inf), but got -1.0"),
        (["--start-seconds", "-1"], "start_seconds must be a number in [0, inf"),
        (["--tables", "nowhere"], "nowhere"),
        (["--speed", "9"], "--speed"),
        (["recrd"], "recrd"),
    ],
)
def test_bad_input_is_one_line_and_status_2_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    arguments: list[str],
    complaint: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call(monkeypatch, "simulate", *arguments) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("gap-tune: error: ")
    assert complaint in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""
    assert not list(tmp_path.iterdir())


def test_an_unknown_setting_is_told_the_known_ones(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], table: Path
) -> None:
    assert call(monkeypatch, "simulate", "--tables", str(table), "--settings", "hull") == 2
    assert "one of ['hill, sgd', 'dale, sgd'], but got 'hull'" in capsys.readouterr().err


def test_help_fits_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert call(monkeypatch, "simulate", "--help") == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    for name in ("--methods", "--repeats", "--trials", "--settings", "--tables", "--json"):
        assert name in text
    assert call(monkeypatch, "--help") == 0
    assert "simulate" in capsys.readouterr().out


def test_any_searcher_and_scheduler_has_a_name_of_its_own() -> None:
    from gap_tune.simulation.answers.methods import all_methods

    names = [method.name for method in all_methods()]
    assert len(names) == len(set(names)) == 29
    assert [Method.parse(name).name for name in names] == names
