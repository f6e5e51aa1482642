"""Runs that are recorded here and now, against the simulated ones that come of their table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gap_tune.panel.settings import PanelSettings, Setting
from gap_tune.simulation.recorded import RecordedRuns, RecordedTask, pack
from gap_tune.simulation.recording.moments import record, time_run
from gap_tune.simulation.recording.recorded_suite import KIND, recorded_suite
from gap_tune.study.suite.journal import Journal
from gap_tune.training import local
from gap_tune.tune import GapScheduler, keys

SETTINGS = (
    Setting("sgd", "quadratic", "sgd", 32, 1, options={"noise": 0.5}),
    Setting("adamw", "quadratic", "adamw", 32, 1, options={"noise": 0.5}),
)
ARMS = ("gap", "gap-unscaled", "fixed:0.5", "fixed:0.9")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """Return a table of real runs, and their lines."""
    folder = tmp_path_factory.mktemp("recorded")
    suite = recorded_suite(
        PanelSettings(SETTINGS, ARMS), arms=ARMS, lr_count=2, lr_span=4.0, seeds=2, reports=8
    )
    jobs = [job for job in suite.jobs() if job.config["seed"] == 0]
    lines = [record(job) for job in jobs]
    times = [time_run(job) for job in jobs if job.config["rate"] == 0]
    Journal(folder, KIND).begin(suite.describe())
    for name, rows in (("runs.jsonl", lines), ("timing.jsonl", times)):
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    pack(folder, folder / "tables")
    return folder / "tables", lines


def simulated(task: RecordedTask, line: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the reports of the trial that a line is of, decided on by the scheduler."""
    own: dict[str, Any] = {"mode": "scheduler", "reference_momentum": 0.9}
    if line["arm"] == "gap-unscaled":
        own["trust_region"] = {"span": 1.0}
    config = {"lr": line["lr"], "seed": 0, "momentum": 0.9, "gap": own}
    if line["arm"].startswith("fixed:"):
        config |= {"momentum": float(line["arm"][6:]), "gap": {"mode": "fixed"}}
    training, scheduler, reports = task.begin(config), GapScheduler(), []
    while not training.done:
        reports.append(training.advance().metrics)
        if keys.asks_for_tuning(config):
            training.follow(scheduler.decide(reports[-1], config))
    return reports


def test_the_scheduler_takes_a_simulated_trial_where_it_took_the_real_one(
    runs: tuple[Path, list[dict[str, Any]]],
) -> None:
    table, lines = runs
    tasks = RecordedRuns.load(table)
    changed = 0
    for line in lines:
        reports = simulated(tasks[line["setting"]], line)
        momenta = [moment["momentum"] for moment in line["moments"]]
        assert [report[keys.MOMENTUM] for report in reports] == momenta
        for name in ("validation_loss", "test_loss"):
            real = [moment[name] for moment in line["moments"]]
            assert [report[name] for report in reports] == pytest.approx(real, rel=1e-5)
        changed += len(set(momenta)) > 1
    assert changed >= 4


def test_a_simulated_report_has_the_keys_of_a_session(
    runs: tuple[Path, list[dict[str, Any]]],
) -> None:
    table, lines = runs
    tasks = RecordedRuns.load(table)
    common = {"workload": "quadratic", "workload_options": {"noise": 0.5}, "batch_size": 32}
    for line in lines:
        mode = "fixed" if line["arm"].startswith("fixed:") else "scheduler"
        own: dict[str, Any] = {"mode": mode, "reference_momentum": 0.9}
        if line["arm"] == "gap-unscaled":
            own["trust_region"] = {"span": 1.0}
        config = {**common, "family": line["setting"], "epochs": 1, "lr": line["lr"], "gap": own}
        (real,) = local.run({**config, "momentum": 0.9, "reports_per_epoch": 1})
        report = simulated(tasks[line["setting"]], line)[0]
        names = {name for name in real if name.startswith(keys.PREFIX)}
        assert {name for name in report if name.startswith(keys.PREFIX)} == names
        assert {type(real[n]) for n in names} == {type(report[n]) for n in names}
        told = set(json.loads(real[keys.STATISTICS]))
        assert set(json.loads(report[keys.STATISTICS])) == told
