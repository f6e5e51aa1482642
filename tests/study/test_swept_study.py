"""A small study that sweeps learning rates, by the command line, and what it left behind."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pandas as pd
import pytest

from gap_tune import Study, cli
from gap_tune.report import Comparison

ARMS = ["gap", "fixed:0.9"]
RATES = [0.01, 0.1, 1.0]
COMMAND = ["compare", "logistic", "--arms", ",".join(ARMS), "--lrs", "3", "--lr-range", "0.01", "1"]


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["gap-tune", *arguments])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    return int(stopped.value.code or 0)


@pytest.mark.slow
def test_a_sweep_by_the_command_line_is_paired_restored_and_not_repeated(
    ray_address: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "study"
    command = [*COMMAND, "--epochs", "2", "--seeds", "2", "--progress", "quiet", "--out", str(out)]
    assert call(monkeypatch, *command) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "12 trials: 2 arms x 2 seeds, every arm at 3 learning rates per seed, 2 epochs" in said
    assert "each arm at the best of its 3 learning rates" in said
    assert "Cost: 3 trials per seed for GAP, 3 for the fixed arms" in said

    study = json.loads((out / "experiment" / "study.json").read_text())
    assert study["lrs"] == 3
    assert study["swept"] == {arm: RATES for arm in ARMS}  # noqa: C420
    trials = pd.read_csv(out / "trials.csv")
    assert list(trials.columns[:3]) == ["arm", "seed", "lr"]
    grouped = trials.groupby(["arm", "seed"])["lr"].apply(sorted)
    assert grouped.to_dict() == {(arm, seed): RATES for arm in ARMS for seed in range(2)}
    assert trials["trial_id"].is_unique
    assert (trials["status"] == "finished").all()
    # The same weights and data, so that the first epochs differ by the learning rate.
    assert trials["validation_loss"].nunique() == 12

    search = pd.read_csv(out / "search.csv")
    assert search["method"].unique().tolist() == ["sweep", *ARMS]
    first = search[search["trials"] == 1].set_index("method")["test_loss"]
    assert first["gap"] == pytest.approx(trials[trials["arm"] == "gap"]["test_loss"].mean())
    # There is one fixed arm, of which the sweep draws.
    assert first["sweep"] == first["fixed:0.9"]
    assert '<section id="search">' in (out / "report.html").read_text()

    restored = Study.restore(out)
    assert restored.plan.swept_lrs() == {arm: tuple(RATES) for arm in ARMS}
    records = restored.resume()
    assert records.trials["trial_id"].to_list() == trials["trial_id"].to_list()
    comparison = Comparison.of(records)
    means = trials.groupby(["arm", "lr"])["validation_loss"].mean()
    assert comparison.sweep is not None
    for arm in ARMS:
        assert comparison.sweep.tuned[arm].lr == means[arm].idxmin()
        assert comparison.values(arm).mean() == pytest.approx(means[arm].min())

    assert call(monkeypatch, *command, "--resume") == 0
    assert call(monkeypatch, "resume", str(out), "--progress", "quiet") == 0
    other = [part if part != "3" else "4" for part in command]
    capsys.readouterr()
    assert call(monkeypatch, *other, "--resume") != 0
    assert "but got other ['lrs']" in capsys.readouterr().err
