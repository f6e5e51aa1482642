"""Rules compared with each other, from the command line and a study file to the report."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gap_tune import Study, cli
from gap_tune.panel.settings import Setting
from gap_tune.study import Resources, read_records
from gap_tune.study.suite.running import run
from gap_tune.tune import read_decisions
from tests.study.suite.jobs import job

ARMS = ("gap", "gap-paper", "gap-cross-batch")
FILE = """\
workload: quadratic
workload_options: {dimension: 10, samples: 256, noise: 2.0}
arms: [gap, gap-paper, gap-cross-batch]
seeds: 1
epochs: 2
"""
MY_MODULE = """\
from gap_tune import Decision, MomentumRule, Reason

class MyRule(MomentumRule):
    def decide(self, statistics, momentum):
        return Decision(0.25, momentum, Reason.BEST_GAIN, "Mine says so.")
"""


def by_arm(out: Path) -> dict[str, list[Any]]:
    """Return the decisions of each arm of a study's shared run."""
    trials = read_records(out / "experiment").trials.set_index("trial_id")["arm"].to_dict()
    made: dict[str, list[Any]] = {arm: [] for arm in trials.values()}
    for line in read_decisions(out / "experiment"):
        made[trials[line.trial]].append(line)
    return made


def test_compare_decides_each_arm_by_its_own_rule(
    ray_address: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    (tmp_path / "study.yaml").write_text(FILE)
    out = tmp_path / "out"
    command = ["compare", str(tmp_path / "study.yaml"), "--out", str(out)]
    for arguments in (command, [*command, "--resume"], ["resume", str(out)], ["report", str(out)]):
        monkeypatch.setattr(sys, "argv", ["gap-tune", *arguments])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        captured = capsys.readouterr()
        assert not stopped.value.code, captured.err
        assert all(arm in captured.out for arm in ARMS)
    made = by_arm(out)
    assert set(made) == set(ARMS)
    assert {d.mode for d in made["gap"] + made["gap-cross-batch"]} == {"scheduler"}
    assert {d.mode for d in made["gap-paper"]} == {"trial"}
    # The same first gradients, other gains: w = 0.3 counts the noise, cross-batch does not.
    first, other = made["gap"][0], made["gap-cross-batch"][0]
    assert first.candidates == other.candidates
    assert first.gains != other.gains
    (path,) = (out / "experiment").glob("gap-paper_seed0_*/params.json")
    section = json.loads(path.read_text())["gap"]
    assert (section["mode"], section["rule"]) == ("trial", "paper")
    assert "gap-cross-batch" in (out / "report.html").read_text()


@pytest.mark.slow
def test_arms_that_search_keep_their_rule(ray_address: str, tmp_path: Path) -> None:
    study = Study(
        "quadratic",
        ["gap-fixed", "gap-trial-fixed", "gap"],
        workload_options={"dimension": 10, "samples": 256},
        seeds=1,
        epochs=1,
        budget="trials:2",
        # One trial at a time: each run starts its processes anew.
        resources=Resources(cpus=2, cpus_per_trial=2),
        storage=tmp_path,
    )
    assert study.run().trials["status"].to_list() == ["finished"] * 6
    reasons = {
        run.search.arm: {d.reason for d in read_decisions(run.folder)}
        for run in study.runs()
        if run.search.arm != "gap-trial-fixed"
    }
    assert reasons["gap-fixed"] == {"fixed"}
    assert "fixed" not in reasons["gap"]
    (path, *_) = (tmp_path / "runs").glob("gap-trial-fixed_seed0/*/result.json")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert {(row["gap/mode"], row["gap/reason"]) for row in rows} == {("trial", "fixed")}


@pytest.mark.parametrize(
    ("arm", "momentum"),
    [
        ("gap-fixed", 0.9),
        ("gap-trial-fixed", 0.9),
        ("tests.tune.functions:Cycle", 0.5),
    ],
)
def test_arms_of_a_panel_have_rules_too(arm: str, momentum: float) -> None:
    setting = Setting("small", "quadratic", "sgd", 32, 1, 4, {"dimension": 10, "samples": 256})
    row = run(job(arm, setting, lr=0.02, seed=0))
    assert (row["status"], row["undecided"], row["arm"]) == ("finished", 0, arm)
    assert row["momenta"][:2] == [0.9, momentum]


@pytest.mark.slow
def test_your_own_rule_is_compared_by_its_import_path(tmp_path: Path) -> None:
    (tmp_path / "my_module.py").write_text(MY_MODULE)
    script = Path(sys.executable).parent / "gap-tune"
    arms = ("gap", "gap-paper", "gap-cross-batch", "my_module:MyRule", "gap-trial-my_module:MyRule")
    options = ["--epochs", "1", "--seeds", "1", "--out", "out"]
    for command in (
        [script, "compare", "quadratic", "--arms", ",".join(arms), *options],
        [script, "resume", "out"],
    ):
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    records = read_records(tmp_path / "out" / "experiment")
    assert records.trials["status"].to_list() == ["finished"] * len(arms)
    made = by_arm(tmp_path / "out")
    for arm in arms[3:]:
        assert {(d.new, d.explanation) for d in made[arm]} == {(0.25, "Mine says so.")}
