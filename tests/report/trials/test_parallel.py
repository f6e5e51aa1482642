"""The geometry of parallel coordinates."""

from __future__ import annotations

import math
import re

import pytest

from gap_tune.report.trials.parallel import ParallelCoordinates
from gap_tune.report.trials.settings import TrialSettings
from tests.report.trials.conftest import Experiment

CONFIGS = [
    {"width": 10, "decay": 1e-4, "act": "relu", "gap": {"mode": "fixed"}},
    {"width": 20, "decay": 1e-2, "act": "tanh", "gap": {"mode": "fixed"}},
    {"width": 30, "decay": 1e-3, "act": "relu", "gap": {"mode": "fixed"}},
]


def heights(path: str) -> list[float]:
    return [float(y) for _, y in re.findall(r"([\d.]+) ([\d.]+)", path)]


@pytest.mark.parametrize("mode", ["min", "max"])
def test_values_stand_in_proportion_and_the_best_on_top(experiment: Experiment, mode: str) -> None:
    records = experiment(CONFIGS, [1.0, 2.0, 1.5], momenta=(0.9,), mode=mode)
    picture = ParallelCoordinates.of(TrialSettings.of(records))
    assert picture is not None
    assert [axis.name for axis in picture.axes] == ["width", "decay", "act", "validation_loss"]
    assert [axis.log for axis in picture.axes] == [False, True, False, False]
    best = picture.lines[0]
    assert best.values == ((10, 1e-4, "relu", 1.0) if mode == "min" else (20, 1e-2, "tanh", 2.0))
    assert heights(best.path)[-1] == picture.top
    assert heights(picture.lines[-1].path)[-1] == picture.bottom
    middle = heights(picture.lines[1].path)
    centre = (picture.top + picture.bottom) / 2
    # 1e-3 lies in the middle of a logarithmic axis, 30 at the upper end, 1.5 in the middle.
    assert middle == pytest.approx([picture.top, centre, picture.bottom, centre])


def test_a_trial_without_a_value_has_a_line_across_the_other_axes(experiment: Experiment) -> None:
    records = experiment([*CONFIGS, {"gap": {"mode": "fixed"}}], [1.0, 2.0, 1.5, 3.0])
    picture = ParallelCoordinates.of(TrialSettings.of(records))
    assert picture is not None
    assert picture.lines[-1].values[:3] == (None, None, None)
    assert picture.lines[-1].values[-1] == 3.0


def test_stopped_trials_are_told_apart(experiment: Experiment) -> None:
    records = experiment(CONFIGS, [1.0, 2.0, 1.5])
    records.trials.loc[1, "status"] = "stopped"
    picture = ParallelCoordinates.of(TrialSettings.of(records))
    assert picture is not None
    assert [line.whole for line in picture.lines] == [True, True, False]


def test_very_many_trials_keep_the_best_and_the_worst(experiment: Experiment) -> None:
    count = 1200
    configs = [{"width": place} for place in range(count)]
    finals = [float((place * 7) % count) for place in range(count)]
    picture = ParallelCoordinates.of(TrialSettings.of(experiment(configs, finals, reports=1)))
    assert picture is not None
    assert len(picture.lines) == 500
    assert [picture.lines[place].values[-1] for place in (0, -1)] == [0.0, count - 1]


@pytest.mark.parametrize("count", [0, 1])
def test_nothing_is_drawn_of_less_than_two_trials(experiment: Experiment, count: int) -> None:
    records = experiment(CONFIGS[:count], [1.0] * count)
    assert ParallelCoordinates.of(TrialSettings.of(records)) is None


def test_very_many_hyperparameters_leave_room_for_those_as_used(experiment: Experiment) -> None:
    configs = [
        {f"option{i}": place + i for i in range(20)} | {"lr": 0.1 * (place + 1), "gap": {}}
        for place in range(3)
    ]
    picture = ParallelCoordinates.of(TrialSettings.of(experiment(configs, [1.0, 2.0, 3.0])))
    assert picture is not None
    assert len(picture.axes) <= 9
    assert len(picture.hidden) == 20 + 1 - 8
    assert all(math.isfinite(height) for line in picture.lines for height in heights(line.path))
