"""Every example runs as it stands and says what its docstring promises."""

from __future__ import annotations

import re
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import gap_tune
from tests.home import at_home

EXAMPLES = Path(__file__).parents[2] / "examples"
SCRIPTS = sorted(path.name for path in EXAMPLES.glob("*.py"))
# Their tests are elsewhere, since they kill, or ask for more than that it runs.
ELSEWHERE = {"03_resume_after_a_kill.py", "10_figure_2_budgets.py"}
MOMENTA = r"(?: [\d.]+)+"

Run = Callable[..., str]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Run an example as Python does, in an empty folder; return what it prints."""
    monkeypatch.chdir(tmp_path)
    at_home(monkeypatch, tmp_path)
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)

    def run(name: str, *arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out

    return run


def test_the_examples_are_numbered_and_short_and_each_has_a_test() -> None:
    assert [name[:3] for name in SCRIPTS] == [f"{i:02d}_" for i in range(1, len(SCRIPTS) + 1)]
    tested = set(re.findall(r'"(\d\d_\w+\.py)"', Path(__file__).read_text()))
    assert tested | ELSEWHERE == set(SCRIPTS)
    for name in SCRIPTS:
        assert len((EXAMPLES / name).read_text().splitlines()) < 80, name


@pytest.mark.slow
def test_a_function_of_ones_own_learns_with_momenta_that_change(ray_address: str, run: Run) -> None:
    out = run("01_bring_your_own_function.py")
    lines = out.splitlines()
    found = [re.fullmatch(rf"lr [\d.]+: accuracy ([\d.]+), momentum({MOMENTA})", x) for x in lines]
    trials = [match for match in found if match]
    assert len(trials) == 4
    assert max(float(match[1]) for match in trials) > 0.9
    assert all(len(match[2].split()) == 10 for match in trials)
    assert any(len(set(match[2].split())) > 1 for match in trials)
    # What to take home is the best of them.
    (best,) = re.findall(r"^Best trial: \w+ \(gap\), loss [\d.]+\.$", out, re.MULTILINE)
    assert lines.index(best) > max(i for i, match in enumerate(found) if match)
    assert "The closest fixed pair:" in out


@pytest.mark.slow
def test_asha_stops_trials_and_every_result_of_the_others_has_a_decision(
    ray_address: str, run: Run
) -> None:
    out = run("02_asha_with_gap.py")
    trials = re.findall(r"epochs (\d+)  loss [\d.]+  momentum decided: \[(.*)\]", out)
    assert len(trials) == 8
    assert min(int(epochs) for epochs, _ in trials) < 6
    for epochs, decided in trials:
        # The last result ends the trial: nothing is left to decide.
        assert len(decided.split(", ")) >= int(epochs) - 1 or epochs == "1"
    assert re.search(r"reasons: \{.*'best.gain': \d+", out)


@pytest.mark.slow
def test_a_replayed_schedule_ends_with_the_recorded_weights(ray_address: str, run: Run) -> None:
    out = run("04_replay_a_schedule.py")
    recorded = re.search(r"^recorded: (.*)$", out, re.MULTILINE)
    replayed = re.search(r"^replayed: (.*)$", out, re.MULTILINE)
    assert recorded is not None
    assert replayed is not None
    assert recorded[1] == replayed[1]
    assert "MomentumSchedule" in out
    assert re.search(r"without Ray: loss 0\.\d+", out)


@pytest.mark.slow
def test_trials_start_with_what_the_probe_measured(ray_address: str, run: Run) -> None:
    out = run("05_probe_then_seed.py")
    chosen = re.search(r"the probe chooses: ([\d.]+) (?:still )?has the largest gain", out)
    assert chosen is not None
    trials = re.findall(r"lr ([\d.]+) became ([\d.]+) at ([\d.]+): loss ([\d.]+)", out)
    assert len(trials) == 4
    for searched, used, momentum, _ in trials:
        assert momentum == chosen[1]
        factor = ((1 - float(momentum) ** 2) / (1 - 0.9**2)) ** 0.5
        assert float(used) == pytest.approx(float(searched) * factor, rel=0.02, abs=1e-3)
    assert min(float(loss) for *_, loss in trials) < 0.5


@pytest.mark.slow
def test_a_workload_of_ones_own_learns(monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    last = run("06_own_workload.py").splitlines()[-1]
    match = re.fullmatch(r"epoch 20: loss [\d.]+, accuracy ([\d.]+), momentum [\d.]+", last)
    assert match is not None
    assert float(match[1]) > 0.9


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "what"), [("07_lightning.py", "momentum"), ("08_hugging_face.py", "beta1")]
)
def test_a_callback_reports_each_epoch_and_momentum_changes(
    name: str, what: str, ray_address: str, run: Run
) -> None:
    trials = re.findall(rf"loss ([\d.]+), {what}({MOMENTA})", run(name))
    assert len(trials) == 2
    for loss, momenta in trials:
        assert float(loss) < 3.9  # log 50, of the larger vocabulary, is what guessing costs
        assert len(momenta.split()) == 4
    assert any(len(set(momenta.split())) > 1 for _, momenta in trials)


@pytest.mark.slow
def test_the_search_of_a_hugging_face_trainer_tunes_momentum(ray_address: str, run: Run) -> None:
    out = run("12_hugging_face_search.py")
    trials = re.findall(rf"loss ([\d.]+), beta1({MOMENTA})", out)
    assert len(trials) == 2
    for loss, momenta in trials:
        assert float(loss) < 3.9
        assert len(momenta.split()) == 4
    assert any(len(set(momenta.split())) > 1 for _, momenta in trials)
    assert re.search(r"best: learning_rate 0\.0\d+", out)


@pytest.mark.slow
def test_workers_of_a_torch_trainer_find_the_momentum_in_their_train_loop_config(
    ray_address: str, run: Run
) -> None:
    trials = re.findall(rf"loss ([\d.]+), momentum({MOMENTA})", run("13_torch_trainer.py"))
    assert len(trials) == 2
    for loss, momenta in trials:
        assert float(loss) < 1.0  # log 10, which guessing costs, is 2.3
        assert len(momenta.split()) == 4
    assert any(len(set(momenta.split())) > 1 for _, momenta in trials)


@pytest.mark.slow
def test_a_trainer_that_warms_momentum_up_itself_is_tuned_from_its_callbacks(
    ray_address: str, run: Run
) -> None:
    out = run("14_own_trainer.py")
    trials = re.findall(rf"^loss ([\d.]+), momentum({MOMENTA})", out, re.MULTILINE)
    assert len(trials) == 2
    for loss, momenta in trials:
        assert float(loss) < 1.0
        first, *rest = (float(each) for each in momenta.split())
        # The warm-up's own after 22 of its 33 steps; then it is gap_tune's, a candidate of its.
        assert 0.8 < first < 0.9
        assert len(rest) == 4
        assert set(rest) <= {0.0, *gap_tune.DEFAULT_CANDIDATES}


@pytest.mark.slow
def test_a_study_answers_whether_to_stop_sweeping(ray_address: str, run: Run) -> None:
    folder = Path("/usr/share/datasets/fashion-mnist")
    if not folder.exists():
        pytest.skip("needs the package dataset-fashion-mnist")
    out = run("15_stop_sweeping.py", "--rates", "1", "--epochs", "1", "--data", str(folder))
    # One learning rate is one pair, from which nothing can be told.
    assert "Undecided: one seed cannot tell a difference from chance.\n" in out
    assert re.search(
        r"^Best trial: \w+ \((?:gap|fixed:[\d.]+)\), loss [\d.]+\.$", out, re.MULTILINE
    )
    (path,) = re.findall(r"^gap-tune report (.+)$", out, re.MULTILINE)
    folders = [each for each in Path(path).iterdir() if (each / "result.json").exists()]
    assert len(folders) == 6


@pytest.mark.slow
def test_without_ray_momentum_is_tuned_as_well(run: Run) -> None:
    out = run("09_without_ray.py")
    losses = re.findall(r"lr [\d.]+: loss ([\d.]+) at momentum 0.9, ([\d.]+) tuned", out)
    assert len(losses) == 3
    # A hundredfold range of learning rates: fixed momentum fails at both ends, tuning at neither.
    fixed, tuned = ([float(each[i]) for each in losses] for i in (0, 1))
    assert max(fixed) > 3 * min(fixed)
    assert max(tuned) < 1.5 * min(fixed)
    scales = [float(each) for each in re.findall(r"at the end ([\d.]+) times", out)]
    assert scales == sorted(scales, reverse=True)
    assert scales[0] > 1.0 > scales[-1]


@pytest.mark.slow
def test_trainable_optimizers_are_compared_with_adam(run: Run) -> None:
    rows = run("11_trainable_against_adam.py", "iris").splitlines()
    assert len(rows) == 3
    for row in rows[1:]:
        gains = [float(gain) for gain in re.findall(r"([+-][\d.]+)% \+-", row)]
        assert len(gains) == 4
        assert min(gains) > 0
