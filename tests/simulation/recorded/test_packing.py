"""Packed runs against the journal that they were packed from."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gap_tune.errors import InvalidValueError, StateError
from gap_tune.gradients import AlignmentStatistics
from gap_tune.rules import AlignmentRule
from gap_tune.simulation.recorded import RecordedRuns, pack
from gap_tune.simulation.recorded.files import Tables
from gap_tune.simulation.recorded.rounding import rounded
from tests.simulation.recorded import made_up

FINITE = st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False)


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    lines = [*made_up.runs(0, "one"), *made_up.runs(1, "two")]
    pack(made_up.write_journal(tmp_path / "journal", lines), tmp_path / "out")
    return tmp_path / "out"


@given(st.lists(FINITE, min_size=1), st.integers(1, 51))
def test_rounding_keeps_so_many_binary_digits(values: list[float], bits: int) -> None:
    near = rounded(np.array(values), bits)
    for value, found in zip(values, near.tolist(), strict=True):
        fraction = math.frexp(found)[0] * 2 ** (bits + 1)
        assert fraction == int(fraction) or found == value
        assert abs(found - value) <= abs(value) * 2.0 ** -(bits + 1)
    assert rounded(near, bits).tolist() == near.tolist()


def test_what_is_no_number_is_not_rounded() -> None:
    odd = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, np.finfo(float).max])
    assert rounded(odd, 8).tobytes() == odd.tobytes()


def test_every_moment_is_in_the_table_to_five_digits(packed: Path) -> None:
    tables = Tables(packed)
    assert tables.names == ["one", "two"]
    for number, name in enumerate(tables.names):
        recordings = tables.read(name)
        for run in made_up.runs(number, name):
            place = (made_up.ARMS.index(run["arm"]), run["rate"], run["seed"])
            for moment, said in enumerate(run["moments"]):
                for column in ("validation_loss", "test_loss", "lr", "scale", "agreement"):
                    wanted = np.nan if said[column] is None else said[column]
                    found = recordings.columns[column][*place, moment]
                    assert found == pytest.approx(wanted, rel=1e-5, nan_ok=True)
                assert recordings.columns["momentum"][*place, moment] == said["momentum"]
            ended = recordings.columns["validation_loss"][*place, len(run["moments"]) :]
            assert np.isnan(ended).all()
            assert len(ended) == (2 if run["status"] == "diverged" else 0)
        assert recordings.initial_validation == (2.0, 3.0)
        assert recordings.initial_test == (3.0, 4.0)


def test_the_default_rule_decides_on_packed_statistics_as_on_the_recorded_ones(
    packed: Path,
) -> None:
    tables, rule, coarse, count = Tables(packed), AlignmentRule(), 0, 0
    for number, name in enumerate(tables.names):
        recordings = tables.read(name)
        for run in made_up.runs(number, name):
            place = (made_up.ARMS.index(run["arm"]), run["rate"], run["seed"])
            for moment, said in enumerate(run["moments"]):
                whole = AlignmentStatistics.from_dict(said["statistics"])
                wanted = rule.decide(whole, 0.9).momentum
                found = recordings.statistics((*place, moment))
                assert rule.decide(found, 0.9).momentum == wanted
                assert found.power == pytest.approx(whole.power, rel=1e-5)
                assert (found.weight, found.steps) == (whole.weight, whole.steps)
                coarse += rule.decide(_coarse(whole), 0.9).momentum != wanted
                count += 1
    # Rounding alone would have changed some: what is made up is level more often than not.
    assert coarse == tables.note["unrounded_statistics"] > 0.02 * count


def _coarse(whole: AlignmentStatistics) -> AlignmentStatistics:
    said = whole.to_dict()
    for name in ("alignment", "autocorrelation"):
        said[name] = rounded(np.array(said[name]), 16).tolist()
    return AlignmentStatistics.from_dict(said)


def test_the_quickest_of_several_timed_runs_counts(packed: Path) -> None:
    task = RecordedRuns.load(packed)["one"]
    report = task.begin({"lr": 0.1, "seed": 0}).advance()
    assert report.seconds == pytest.approx(10 * 0.01 + 0.5)


def test_the_note_says_what_the_table_is_of(packed: Path) -> None:
    note = json.loads((packed / "tables.json").read_text())
    assert note["sha256"] == hashlib.sha256((packed / "runs.parquet").read_bytes()).hexdigest()
    assert note["rows"] == 2 * 4 * 3 * 2 * 4 == pq.read_metadata(packed / "runs.parquet").num_rows
    assert note["suite"]["seeds"] == 2
    assert sorted(path.name for path in packed.iterdir()) == ["runs.parquet", "tables.json"]


def change(packed: Path, **values: Any) -> None:
    note = json.loads((packed / "tables.json").read_text())
    (packed / "tables.json").write_text(json.dumps({**note, **values}))


def rewrite(packed: Path, table: Any) -> None:
    pq.write_table(table, packed / "runs.parquet")
    content = (packed / "runs.parquet").read_bytes()
    change(packed, sha256=hashlib.sha256(content).hexdigest())


def test_a_table_that_was_changed_is_refused(packed: Path) -> None:
    content = bytearray((packed / "runs.parquet").read_bytes())
    content[len(content) // 2] ^= 1
    (packed / "runs.parquet").write_bytes(content)
    with pytest.raises(StateError, match=r"must have the checksum .* but got another"):
        RecordedRuns.load(packed)
    (packed / "runs.parquet").unlink()
    with pytest.raises(StateError, match="must be readable"):
        RecordedRuns.load(packed)


def test_a_newer_version_is_refused(packed: Path) -> None:
    change(packed, version=2)
    with pytest.raises(StateError, match="must be of version 1, but got 2"):
        RecordedRuns.load(packed)


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"version": 1}', '{"version": 1, "settings": 3}']
)
def test_what_is_no_note_is_refused(packed: Path, text: str) -> None:
    (packed / "tables.json").write_text(text)
    with pytest.raises(StateError, match="must be the note of recorded runs"):
        RecordedRuns.load(packed)


def test_a_folder_without_a_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="must be the note of recorded runs"):
        RecordedRuns.load(tmp_path)


def test_a_missing_column_is_named(packed: Path) -> None:
    table = pq.read_table(packed / "runs.parquet")
    rewrite(packed, table.drop_columns(["power", "weight"]))
    with pytest.raises(StateError, match=r"lacks the columns \['power', 'weight'\]"):
        RecordedRuns.load(packed)["one"]


def test_other_rows_than_the_note_says_are_refused(packed: Path) -> None:
    table = pq.read_table(packed / "runs.parquet")
    # All in one group of rows, where the note says two.
    rewrite(packed, table)
    with pytest.raises(StateError, match="has other rows of 'one'"):
        RecordedRuns.load(packed)["one"]
    with pytest.raises(StateError, match="has no rows of 'two'"):
        RecordedRuns.load(packed)["two"]


def _without_a_run(lines: list[Any]) -> None:
    del lines[3]


def _failed(lines: list[Any]) -> None:
    lines[3] |= {"status": "failed", "error": "no data"}


def _other_steps(lines: list[Any]) -> None:
    lines[3]["moments"][0]["statistics"]["steps"] = 9


def _held_out(lines: list[Any]) -> None:
    lines[3]["moments"][0]["statistics"]["validation_weight"] = 1.0


def _five_candidates(lines: list[Any]) -> None:
    for line in lines:
        for moment in line["moments"]:
            moment["statistics"]["candidates"] = [0.1, 0.2, 0.3, 0.4, 0.5]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_without_a_run, "must have run at every learning rate on every seed"),
        (_failed, "must have finished or diverged, but got failed: no data"),
        (_other_steps, "must have the same moments, but got 2 kinds"),
        (_held_out, "may have held-out gradients"),
        (_five_candidates, "must compare at most 4 candidates"),
    ],
)
def test_what_cannot_be_packed_is_refused(tmp_path: Path, spoil: Any, said: str) -> None:
    lines = made_up.runs()
    spoil(lines)
    folder = made_up.write_journal(tmp_path / "journal", lines)
    with pytest.raises(StateError, match=said):
        pack(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    folder = made_up.write_journal(tmp_path / "journal", made_up.runs())
    (tmp_path / "out").write_text("a file")
    with pytest.raises(InvalidValueError, match="must lie in a folder that can be written"):
        pack(folder, tmp_path / "out")


def test_a_run_that_was_done_twice_counts_once(tmp_path: Path) -> None:
    lines = made_up.runs()
    again = json.loads(json.dumps(lines[5]))
    again["moments"][0]["validation_loss"] = 123.0
    folder = made_up.write_journal(tmp_path / "journal", [*lines, again])
    pack(folder, tmp_path / "out")
    losses = Tables(tmp_path / "out").read("one").columns["validation_loss"]
    assert np.nanmax(losses) == 123.0
