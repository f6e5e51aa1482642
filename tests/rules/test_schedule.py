from __future__ import annotations

import pickle
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gap_tune import MomentumSchedule, Reason
from gap_tune.errors import InvalidValueError
from gap_tune.rules.recorded import RecordedDecision, read_decisions
from gap_tune.testing import make_statistics


def decided(**changes: Any) -> RecordedDecision:
    plain = RecordedDecision(
        trial="a",
        step=10,
        seq=1,
        old=0.9,
        new=0.8,
        candidates=(0.8, 0.9),
        gains=(2.0, 1.0),
        reason="best gain",
        explanation="0.8 is best.",
        mode="scheduler",
        dry_run=False,
        time=1.0,
    )
    return replace(plain, **changes)


def write(folder: Path, *lines: RecordedDecision | str) -> Path:
    texts = [line if isinstance(line, str) else line.to_json() for line in lines]
    path = folder / "decisions.jsonl"
    path.write_text("\n".join(texts))
    return path


@pytest.mark.parametrize(
    ("steps", "expected"), [(0, 0.7), (9, 0.7), (10, 0.8), (19, 0.8), (20, 0.95), (10**6, 0.95)]
)
def test_momentum_is_piecewise_constant_in_observed_steps(steps: int, expected: float) -> None:
    decision = MomentumSchedule([10, 20], [0.8, 0.95]).decide(
        make_statistics(steps=steps, skipped_steps=7), 0.7
    )
    assert (decision.momentum, decision.previous) == (expected, 0.7)
    assert decision.reason == Reason.SCHEDULE


def test_before_its_first_step_a_schedule_says_when_it_starts() -> None:
    decision = MomentumSchedule([10, 20], [0.8, 0.95]).decide(make_statistics(steps=3), 0.7)
    assert decision.explanation == "The schedule starts at step 10, so 0.7 stays."


def test_a_schedule_can_be_sent_to_other_processes() -> None:
    schedule = pickle.loads(pickle.dumps(MomentumSchedule([0, 5], [0.9, 0.5])))
    assert repr(schedule) == "MomentumSchedule(steps=(0, 5), momenta=(0.9, 0.5))"


@pytest.mark.parametrize(
    ("steps", "momenta", "message"),
    [
        ([], [], "at least one, but got 0 and 0"),
        ([1, 2], [0.5], "equally many.*got 2 and 1"),
        ([2, 2], [0.5, 0.6], "increase strictly"),
        ([-1], [0.5], "^each step.*got -1"),
        ([1.5], [0.5], "each step.*got 1.5"),
        ([1], [1.0], r"each momentum must be a number in \[0, 1\), but got 1.0"),
    ],
)
def test_steps_and_momenta_that_are_no_schedule_are_refused(
    steps: Any, momenta: Any, message: str
) -> None:
    with pytest.raises(InvalidValueError, match=message):
        MomentumSchedule(steps, momenta)


def test_a_recorded_trajectory_is_replayed(tmp_path: Path) -> None:
    write(
        tmp_path,
        decided(),
        decided(step=20, seq=2, old=0.8, new=0.8, reason="already best"),
        decided(step=30, seq=3, old=0.8, new=0.99),
        # Neither of these was sent to the trial.
        decided(step=35, seq=4, old=0.99, new=0.5, dry_run=True),
        decided(step=36, seq=4, old=0.99, new=None, reason="error"),
    )
    schedule = MomentumSchedule.from_decisions(tmp_path)
    assert (schedule.steps, schedule.momenta) == ((0, 10, 30), (0.9, 0.8, 0.99))


def test_one_of_several_trials_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, decided(), decided(trial="b", new=0.5))
    assert MomentumSchedule.from_decisions(path, trial="b").momenta == (0.9, 0.5)
    with pytest.raises(InvalidValueError, match="trial must be one of a, b, but got None"):
        MomentumSchedule.from_decisions(path)
    with pytest.raises(InvalidValueError, match="trial must be one of a, b, but got 'c'"):
        MomentumSchedule.from_decisions(path, trial="c")


def test_of_many_trials_a_few_are_named(tmp_path: Path) -> None:
    path = write(tmp_path, *(decided(trial=f"t{i}") for i in range(9)))
    with pytest.raises(InvalidValueError, match="t0, t1, t2, t3, t4 and 4 more, but got None"):
        MomentumSchedule.from_decisions(path)
    path = write(tmp_path, *(decided(trial=f"t{i}") for i in range(5)))
    with pytest.raises(InvalidValueError, match="t0, t1, t2, t3, t4, but got None"):
        MomentumSchedule.from_decisions(path)


def test_of_other_trials_nothing_is_replayed(tmp_path: Path) -> None:
    others = [decided(trial="b", step=step, new=0.5) for step in (5, 15)]
    schedule = MomentumSchedule.from_decisions(write(tmp_path, decided(), *others), trial="a")
    assert (schedule.steps, schedule.momenta) == ((0, 10), (0.9, 0.8))


def test_decisions_of_no_known_step_make_no_schedule(tmp_path: Path) -> None:
    path = write(tmp_path, decided(step=None))
    with pytest.raises(InvalidValueError, match="at least one, but got 0 and 0"):
        MomentumSchedule.from_decisions(path)


def test_where_the_first_decision_does_not_know_what_was_before_the_schedule_starts_with_it(
    tmp_path: Path,
) -> None:
    path = write(tmp_path, decided(old=None), decided(step=20, seq=2, old=0.8, new=0.5))
    schedule = MomentumSchedule.from_decisions(path)
    assert (schedule.steps, schedule.momenta) == ((10, 20), (0.8, 0.5))


def test_a_way_back_behind_a_line_of_no_known_step_is_still_a_schedule(tmp_path: Path) -> None:
    path = write(tmp_path, decided(step=20, new=0.5), decided(step=None), decided(step=0, new=0.7))
    schedule = MomentumSchedule.from_decisions(path)
    assert (schedule.steps, schedule.momenta) == ((0, 20), (0.7, 0.5))


def test_a_missing_or_empty_log_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidValueError, match="or a folder that holds it, but got"):
        MomentumSchedule.from_decisions(tmp_path)
    write(tmp_path, decided(dry_run=True))
    named = re.escape(f"sent to a trial, but got none in '{tmp_path}'.")
    with pytest.raises(InvalidValueError, match=named):
        MomentumSchedule.from_decisions(tmp_path)


def test_of_a_decision_that_was_made_again_the_last_counts(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        decided(seq=1, time=1.0),
        decided(seq=2, time=2.0),
        decided(seq=2, time=3.0),
        decided(seq=2, time=4.0, trial="b"),
    )
    assert [(d.trial, d.seq, d.time) for d in read_decisions(path)] == [
        ("a", 1, 1.0),
        ("a", 2, 3.0),
        ("b", 2, 4.0),
    ]


def test_what_a_trial_decided_after_its_checkpoint_is_void(tmp_path: Path) -> None:
    first = [decided(step=step, seq=seq) for step, seq in ((10, 1), (20, 1), (30, 2), (40, 3))]
    other = decided(step=20, trial="b")
    # The second time it decides otherwise, and less often.
    path = write(tmp_path, *first, other, decided(step=20, new=0.5), decided(step=45, seq=2))
    kept = [(d.trial, d.step, d.new) for d in read_decisions(path)]
    assert kept == [("a", 10, 0.8), ("b", 20, 0.8), ("a", 20, 0.5), ("a", 45, 0.8)]


def test_two_changes_at_one_step_are_two_decisions(tmp_path: Path) -> None:
    path = write(tmp_path, decided(step=10, seq=1), decided(step=10, seq=2))
    assert [d.seq for d in read_decisions(path)] == [1, 2]
    # The number of changes before it may be unknown: none, for all that can be told.
    path = write(tmp_path, decided(step=10, seq=None), decided(step=10, seq=1))
    assert [d.seq for d in read_decisions(path)] == [None, 1]
    path = write(tmp_path, decided(step=10, seq=None, time=1.0), decided(step=10, seq=None))
    assert len(read_decisions(path)) == 1


@pytest.mark.parametrize("step", ['"soon"', "Infinity", "[]"])
def test_bug_a_line_whose_step_is_no_number_is_left_out(tmp_path: Path, step: str) -> None:
    odd = decided(step=20).to_json().replace('"step":20', f'"step":{step}')
    path = write(tmp_path, decided(step=10), odd, decided(step=30))
    assert [d.step for d in read_decisions(path)] == [10, 30]


def test_lines_of_no_known_step_are_kept(tmp_path: Path) -> None:
    failed = [decided(step=None, seq=None, reason="error", new=None)] * 2
    path = write(tmp_path, decided(step=30), *failed, decided(step=40))
    assert [d.step for d in read_decisions(path)] == [30, None, None, 40]


def test_half_lines_and_lines_of_something_else_are_left_out(tmp_path: Path) -> None:
    whole = decided().to_json()
    path = write(tmp_path, "", whole[:50], "[1]", "7", '{"trial": "a"}', whole, whole[:-1])
    with path.open("ab") as file:
        file.write("\u00e9".encode()[:1])
    assert read_decisions(tmp_path) == [decided()]


def test_a_line_is_small_json_that_reads_back_equal(tmp_path: Path) -> None:
    path = write(tmp_path, decided(gains=(1.23457e-05, 2.0)))
    assert read_decisions(path) == [decided(gains=(1.23457e-05, 2.0))]
    assert len(path.read_text()) < 250
