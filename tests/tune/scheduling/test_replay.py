"""A recorded trajectory of momentum as a rule of a later study, and a real study's record."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ray.tune.schedulers import (
    FIFOScheduler,
)

from gap_tune import (
    GapScheduler,
    MomentumSchedule,
)
from gap_tune.tune import read_decisions
from tests.tune.conftest import make_run
from tests.tune.functions import Cycle
from tests.tune.scheduled import (
    STATISTICS,
    Study,
    reported,
)


def test_a_replayed_schedule_makes_the_same_changes_at_the_same_steps(
    study: Callable[..., Study], tmp_path: Path
) -> None:
    s = study(rule=Cycle())
    trial, reports, momentum = s.add(), [], 0.9
    for i in range(6):
        reports.append({"seq": i, "steps": 8 * (i + 1), "momentum": momentum})
        reports[-1]["statistics"] = json.dumps(replace(STATISTICS, steps=8 * (i + 1)).to_dict())
        directive = s.report(trial, **reports[-1])
        momentum = directive.decision.momentum  # type: ignore[union-attr]
    replay = GapScheduler(rule=MomentumSchedule.from_decisions(s.folder))
    made = [replay.decide(reported(**report)) for report in reports]
    assert [d.momentum for d in made] == [0.5, 0.99, 0.8, 0.9, 0.5, 0.99]
    assert [(d.new, d.old) for d in s.log()] == [(d.momentum, d.previous) for d in made]


@pytest.fixture(scope="module")
def finished(ray_address: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A real study: a trial that is killed, and the same trial undisturbed."""
    folder = tmp_path_factory.mktemp("real")
    plan = [{"kill_marker": str(folder / "killed"), "kill_at": 4}, {}]
    grid = make_run(folder)(
        plan, max_failures=1, scheduler=GapScheduler(FIFOScheduler(), rule=Cycle()), at_once=1
    )
    assert (folder / "killed").exists()
    assert not grid.errors
    return folder / "run", grid


def test_a_killed_trial_ends_as_it_would_have_undisturbed(finished: tuple[Path, Any]) -> None:
    killed, undisturbed = (r.metrics_dataframe.to_dict("records") for r in finished[1])
    for column in ("used", "gap/seq", "checksum"):
        assert [r[column] for r in killed] == [r[column] for r in undisturbed], column


def test_every_decision_of_a_real_study_is_a_line_in_its_folder(
    finished: tuple[Path, Any],
) -> None:
    folder, grid = finished
    raw = [json.loads(line) for line in (folder / "decisions.jsonl").read_text().splitlines()]
    lines = {result.metrics["trial_id"]: [] for result in grid}
    for line in read_decisions(folder):
        lines[line.trial].append(line)
    for result in grid:
        rows = result.metrics_dataframe.to_dict("records")
        own = lines[result.metrics["trial_id"]]
        assert [d.seq for d in own] == list(range(1, 9))
        assert [d.step for d in own] == [row["gap/steps"] for row in rows]
        # What was decided on a report is what the next one says it used.
        assert [d.new for d in own][:-1] == [row["used"] for row in rows][1:]
    (name,) = (r.metrics["trial_id"] for r in grid if "kill_marker" in r.config)
    killed = [d["seq"] for d in raw if d["trial"] == name]
    # The checkpoint came with the fourth report; its answer was sent once more.
    assert killed == [1, 2, 3, 4, 4, 5, 6, 7, 8]


def test_a_real_trajectory_replays(finished: tuple[Path, Any]) -> None:
    folder, grid = finished
    rows = grid[1].metrics_dataframe.to_dict("records")
    rule = MomentumSchedule.from_decisions(folder, trial=grid[1].metrics["trial_id"])
    made = [GapScheduler(rule=rule).decide(row).momentum for row in rows]
    assert made[:-1] == [row["used"] for row in rows][1:]
