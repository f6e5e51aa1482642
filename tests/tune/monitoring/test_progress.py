"""What progress shows of a study, at any size of the screen."""

from __future__ import annotations

import io
import pickle
from types import SimpleNamespace

import pytest
from rich.console import Console

from gap_tune.records import experiments
from gap_tune.tune.monitoring.progress import Progress, callback
from gap_tune.tune.monitoring.progress.pace import Pace
from gap_tune.tune.monitoring.progress.tracker import Tracker
from gap_tune.tune.monitoring.progress.trials import Shown, arm_of
from tests.tune.drawing import SHOWN, drawn, terminal, trial, written


def test_the_screen_fits_80_columns_with_every_heading_whole() -> None:
    lines = drawn([trial(1), trial(2), trial(3, "ERROR")], terminal(), total=12)
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    for word in ("arm", "trial", "done", "epoch", "loss", "accuracy", "momentum", "changes"):
        assert word in text
    assert "…" not in text
    assert lines[0] == "0 of 12 finished, 2 running, 1 failed, 9 pending"
    # 1 + 2 x 12.25 / 30 of 12 trials in a minute.
    assert lines[1].endswith("15% done, about 6 min left")
    assert lines[2] == "best validation_loss 0.01235: trainable-diagonal seed 1, momentum 0.95"
    assert lines[-1] == "failed: trainable-diagonal seed 3: reason unknown"


@pytest.mark.parametrize("width", [40, 60, 80, 120])
@pytest.mark.parametrize("height", [12, 24, 50])
def test_a_thousand_trials_fit_on_one_screen(width: int, height: int) -> None:
    statuses = ["TERMINATED"] * 300 + ["ERROR"] * 30 + ["RUNNING"] * 64 + ["PENDING"] * 606
    trials = [trial(i, status) for i, status in enumerate(statuses)]
    lines = drawn(trials, terminal(width, height), total=1000)
    assert len(lines) < height
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    for part in ("300 of 1000 finished", "36% done", "best validation_loss", "more that run"):
        assert part in text
    assert lines[-1].endswith("more that failed")
    if width >= 60:
        assert "trainable-diagonal seed 3" in text
        assert "momentum" in text


def test_a_study_without_metric_epochs_and_arms_shows_what_it_has() -> None:
    plain = trial(1)
    plain.config = {}
    plain.run_metadata.last_result = {"training_iteration": 7, "gap/momentum": 0.9}
    shown = Shown("epoch", None, None, "min", "loss", "accuracy")
    words = [line.split() for line in drawn([plain], terminal(), total=None, shown=shown)]
    assert words[0] == ["0", "finished,", "1", "running"]
    assert words[1] == ["arm", "trial", "report", "momentum", "changes"]
    assert words[3] == ["train", "id1", "7", "0.9", "-"]


def test_time_left_is_at_the_studys_pace() -> None:
    tracker = Tracker(10, SHOWN)
    assert tracker.look([], 100.0).left_s is None
    trials = [trial(1, "TERMINATED"), trial(2, "TERMINATED"), trial(3, epoch=15, time_total_s=20.0)]
    # 2.5 trials in 50 s, 7.5 to go.
    assert tracker.look(trials, 150.0).left_s == pytest.approx(150.0)


def test_time_left_is_at_least_what_the_slowest_trial_needs() -> None:
    tracker = Tracker(2, SHOWN)
    tracker.look([], 0.0)
    trials = [trial(1, "TERMINATED"), trial(2, epoch=3, time_total_s=100.0)]
    assert tracker.look(trials, 100.0).left_s == pytest.approx(900.0)


def test_time_left_of_a_restored_study_counts_from_its_restart() -> None:
    tracker = Tracker(4, SHOWN)
    ended = [trial(1, "TERMINATED"), trial(2, "TERMINATED")]
    tracker.look([*ended, trial(3, epoch=0)], 1000.0)
    later = tracker.look([*ended, trial(3, epoch=15, time_total_s=10.0)], 1010.0)
    assert later.finished == 2
    assert later.left_s == pytest.approx(30.0)


@pytest.mark.parametrize(("mode", "best"), [("min", "seed 2"), ("max", "seed 4")])
def test_the_best_trial_has_the_best_last_value_that_is_a_number(mode: str, best: str) -> None:
    shown = Shown("epoch", 30, "validation_loss", mode, "validation_loss", "validation_accuracy")
    values = {1: 0.5, 2: 0.25, 3: float("nan"), 4: 0.75}
    trials = [trial(i, "TERMINATED" if i < 3 else "RUNNING", validation_loss=v)
              for i, v in values.items()]  # fmt: skip
    found = Tracker(9, shown).look(trials, 0.0).best
    assert found is not None
    assert found.trial == f"trainable-diagonal {best}"


def test_a_study_of_several_ray_runs_is_counted_as_one() -> None:
    tracker = Tracker(6, SHOWN)
    tracker.look([trial(1, "TERMINATED", validation_loss=0.001), trial(2, "ERROR")], 0.0)
    snapshot = tracker.look([trial(3), trial(4, "PENDING")], 1.0)
    assert snapshot.counts() == "1 of 6 finished, 1 running, 1 failed, 3 pending"
    assert snapshot.best is not None
    assert snapshot.best.value == 0.001


def test_a_failed_trial_that_runs_again_is_no_longer_failed() -> None:
    tracker = Tracker(2, SHOWN)
    assert tracker.look([trial(1, "ERROR")], 0.0).failed == 1
    assert tracker.look([trial(1)], 1.0).failed == 0
    assert not tracker.failures


def test_it_goes_on_counting_when_the_study_is_restored(
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = Progress(3, console=terminal(), style="lines")
    before.setup()
    before.on_trial_complete(iteration=0, trials=[], trial=trial(1, "TERMINATED"))
    before.on_trial_error(iteration=0, trials=[], trial=trial(2, "ERROR"))
    after = Progress(3, style="lines", console=terminal())
    after.set_state(pickle.loads(pickle.dumps(before.get_state())))
    restored = pickle.loads(pickle.dumps(after))
    restored.setup()
    restored.on_trial_complete(iteration=0, trials=[], trial=trial(3, "TERMINATED"))
    # Consoles stay behind: it writes where the new driver writes.
    assert "seed 3: finished (3 of 3)" in capsys.readouterr().out


def test_without_a_terminal_a_trial_that_ended_is_one_line() -> None:
    console = Console(file=io.StringIO(), width=40)
    progress = Progress(2, console=console)
    progress.setup()
    progress.on_trial_complete(iteration=0, trials=[], trial=trial(1, "TERMINATED"))
    assert written(console) == (
        "trainable-diagonal seed 1: finished (1 of 2), epoch 12.25, loss 0.01235, "
        "accuracy 0.9876, momentum 0.95, 123 changes\n"
    )


def test_a_line_counts_one_change_and_has_no_dashes_for_what_is_not_reported() -> None:
    console = Console(file=io.StringIO(), width=40)
    progress = Progress(2, console=console)
    progress.setup()
    once, never = trial(1, "TERMINATED"), trial(2, "TERMINATED")
    once.run_metadata.last_result["gap/seq"] = 1
    never.run_metadata.last_result = {}
    for each in (once, never):
        progress.on_trial_complete(iteration=0, trials=[], trial=each)
    first, second = written(console).splitlines()
    assert first.endswith(", momentum 0.95, 1 change")
    assert second == "trainable-diagonal seed 2: finished (2 of 2), nothing reported yet"


def test_without_a_terminal_it_says_now_and_then_how_the_study_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    console = Console(file=io.StringIO(), width=40)
    progress = Progress(3, console=console, epochs=30)
    monkeypatch.setattr(callback, "Pace", lambda every_s: Pace(0.0))
    progress.setup()
    progress.on_step_end(iteration=0, trials=[trial(1), trial(2, "PENDING")])
    first, second = written(console).splitlines()
    assert first == (
        "0 of 3 finished, 1 running, 2 pending; 14% done; "
        "best validation_loss 0.01235: trainable-diagonal seed 1, momentum 0.95"
    )
    assert second.startswith("trainable-diagonal seed 1: running, epoch 12.25, loss 0.01235")


@pytest.mark.parametrize("mode", ["scheduler", "trial", "fixed"])
def test_bug_a_paired_trial_that_tunes_itself_is_shown_as_no_fixed_momentum(mode: str) -> None:
    config = {"momentum": 0.9, "seed": 0, "gap": {"mode": mode, "pair": 0}}
    shown = SimpleNamespace(config=config, trainable_name="train", trial_id="a")
    assert arm_of(shown) == experiments.arm_of(config)
