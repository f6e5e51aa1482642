"""gap-tune plan: what people read, what programs read, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gap_tune.errors import InvalidValueError, StateError
from gap_tune.planning import Constants
from gap_tune.planning.durations import seconds_of, written
from tests.planning.known import MEASURED, constants
from tests.test_cli import call
from tests.test_cli_json import read

CLUSTER = ("plan", "--trials", "10000", "--nodes", "100", "--gpus", "4")


@pytest.fixture
def known(tmp_path: Path) -> Path:
    """Return a file of constants in round numbers."""
    return constants(
        result_scheduler_s=2e-3, suggestion_tpe_s=1e-3, start_s=0.01, start_delay_s=3.0
    ).write(tmp_path / "known.json")


def test_the_verdict_comes_first_and_all_lines_fit_80_columns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], known: Path
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert call(monkeypatch, *CLUSTER, "--report-every", "30s", "--constants", str(known)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("One driver can do this: it is busy ")
    assert max(len(line.rstrip()) for line in lines) <= 80
    text = " ".join(" ".join(lines).split())
    assert "10,000 trials on 100 nodes, 400 at a time, 20 reports each" in text
    assert "- max_concurrent_trials=400: whole study 8.50 h -> " in text
    assert (
        "max_concurrent_trials=400,"
        in lines[-20:][lines[-20:].index("tune_config = tune.TuneConfig(") + 3]
    )


def test_a_driver_that_cannot_is_said_so_first(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], known: Path
) -> None:
    command = [*CLUSTER, "--report-every", "500ms", "--trial-takes", "1m", "--limited"]
    assert call(monkeypatch, *command, "--constants", str(known)) == 0
    out = capsys.readouterr().out
    assert out.startswith("One driver cannot: it would need 1")
    assert "studies at once" in out


def test_numbers_are_all_in_the_document(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], known: Path
) -> None:
    command = [*CLUSTER, "--report-every", "1m", "--trial-takes", "2h", "--constants", str(known)]
    assert call(monkeypatch, *command, "--json") == 0
    document, error = read(capsys, "plan")
    assert error == ""
    assert set(document) == {
        *("constants", "plan", "advice", "improved", "settings", "environment")
    }
    assert document["plan"]["request"]["reports"] == 120
    assert document["plan"]["load_results"] == pytest.approx(
        400 / 61.5 * 120 / 120 * 2e-3, rel=0.03
    )
    assert document["constants"]["result_scheduler_s"] == 2e-3
    assert document["improved"]["request"]["limited"] is True
    compile(document["settings"], "settings", "exec")


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--report-every", "30"), "--report-every must be a time above 0 with its unit"),
        (("--report-every", "soon"), "but got 'soon'"),
        (("--report-every", "0s"), "but got '0s'"),
        (("--report-every", "-30s"), "but got '-30s'"),
        (("--report-every", "30 parsecs"), "but got '30 parsecs'"),
        (("--trial-takes", "2"), "--trial-takes must be a time above 0 with its unit"),
        (("--trial-takes", "2h", "--reports", "3"), "must be given, but got both"),
        (("--reports", "0"), "reports must be an integer of at least 1, but got 0"),
        (("--nodes", "0"), "nodes must be an integer of at least 1, but got 0"),
        (("--trials-per-gpu", "0"), "trials_per_gpu must be a number in (0, inf), but got 0.0"),
        (("--trials-per-gpu", "0.1"), "must leave room for a trial on 100 x 4 GPUs"),
        (("--searcher", "tep"), "Did you mean 'tpe'?"),
        (("--studies", "500"), "studies must be at most as many as trials run at once, 400"),
        (("--constants", "nowhere.json"), "but got nowhere.json: No such file or directory"),
    ],
)
def test_wrong_options_are_one_sentence_and_status_2(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    options: tuple[str, ...],
    complaint: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call(monkeypatch, *CLUSTER, *options) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("gap-tune: error: ")
    assert captured.err.count("\n") == 1
    assert complaint in captured.err


def test_without_trials_there_is_nothing_to_plan(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "plan") == 2
    assert "--trials must be given, or --measure." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30),
        ("5m", 300),
        ("5min", 300),
        ("2h", 7200),
        ("1d", 86_400),
        ("500ms", 0.5),
        ("1h30m", 5400),
        ("1.5 h", 5400),
        (" 2H ", 7200),
    ],
)
def test_times_are_read_as_people_write_them(text: str, seconds: float) -> None:
    assert seconds_of(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", "s", "30", "1h 30", "-5m", "0s", "5 parsecs", "h5", "1e400s", "5m!", "1,5h"]
)
def test_what_is_no_time_is_refused_with_what_came(text: str) -> None:
    with pytest.raises(InvalidValueError, match="must be a time above 0") as error:
        seconds_of(text, "--report-every")
    assert repr(text) in str(error.value)


@given(st.floats(0.001, 1e7))
def test_a_time_that_is_written_is_read_again_to_two_digits(seconds: float) -> None:
    assert seconds_of(written(seconds)) == pytest.approx(seconds, rel=0.06)


def test_constants_survive_their_file(tmp_path: Path) -> None:
    kept = constants(**{name: 1.5 + n for n, name in enumerate(MEASURED)})
    found = Constants.read(kept.write(tmp_path / "constants.json"))
    assert found == kept


def test_the_constants_of_the_package_say_where_they_come_from() -> None:
    shipped = Constants.read()
    assert {"gap_tune", "ray", "optuna", "python", "machine", "date"} <= set(shipped.about)
    # What one more trial or result adds may be too little to see.
    slopes = ("per_trial_s", "memory_result_bytes")
    assert all(getattr(shipped, name) > 0 for name in MEASURED if not name.endswith(slopes))
    # Deciding costs, and so does every logger.
    assert shipped.result_scheduler_s > shipped.result_trial_s > 0
    assert shipped.result_trial_s > shipped.result_bare_s
    assert shipped.start_delay_s > shipped.start_delay_reused_s


@pytest.mark.parametrize(
    "broken", ["", "[]", "{}", '{"about": {}, "constants": {}}', '{"constants": 3}', "\x00"]
)
def test_a_file_without_constants_is_refused(tmp_path: Path, broken: str) -> None:
    path = tmp_path / "constants.json"
    path.write_text(broken)
    with pytest.raises(StateError, match="constants must be a file that `gap-tune plan --measure`"):
        Constants.read(path)


@pytest.mark.parametrize("value", ["NaN", "-1", "Infinity", '"much"', "null"])
def test_a_constant_that_is_no_amount_is_refused(tmp_path: Path, value: str) -> None:
    path = constants().write(tmp_path / "constants.json")
    document: dict[str, Any] = json.loads(path.read_text())
    document["constants"]["start_s"]["value"] = "HERE"
    path.write_text(json.dumps(document).replace('"HERE"', value))
    with pytest.raises(StateError, match="constants must be a file"):
        Constants.read(path)
