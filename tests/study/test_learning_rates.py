"""A sweep of learning rates as it is planned: by laws that hold for any number, range and arms."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ray.tune.search import BasicVariantGenerator, Searcher

from gap_tune import GapScheduler, Study
from gap_tune.errors import InvalidValueError
from gap_tune.records.studies import RUN_FILE, STUDY_FILE, read_records
from gap_tune.report import summarise
from gap_tune.study import Arm, SearchMethod
from gap_tune.study.describe import arguments_of
from gap_tune.study.methods.base import Search, SearchTask

ARMS = ("gap", "fixed:0.9", "fixed:0.5|0.9|0.99", "adai", "yellowfin", "optuna:2")


def study(**options: Any) -> Study:
    given = {"workload": "quadratic", "arms": ARMS, "seeds": 2, "storage": Path("x")} | options
    return Study(**given)  # type: ignore[arg-type]


def planned(made: Study) -> list[dict[str, Any]]:
    """Return the configurations of the run that arms share, in order."""
    searcher = made.runs()[0].search.make().searcher.searcher
    found = []
    while (config := searcher.suggest("a trial")) != Searcher.FINISHED:
        found.append(config)
    return found


@given(
    lrs=st.integers(2, 7),
    seeds=st.integers(1, 3),
    low=st.floats(1e-5, 0.1),
    span=st.floats(2.0, 1e4),
)
@settings(max_examples=20)
def test_every_arm_is_trained_at_equally_spaced_rates_once_per_seed(
    lrs: int, seeds: int, low: float, span: float
) -> None:
    made = study(lrs=lrs, seeds=seeds, lr_range=(low, low * span))
    trials = planned(made)
    for arm in made.arms[:-1]:
        first, last = made.conditions.lr_range_of(arm)
        per_seed = [
            [t["lr"] for t in trials if t["arm"] == arm.name and t["seed"] == seed]
            for seed in range(seeds)
        ]
        assert all(rates == per_seed[0] for rates in per_seed)
        momenta = 3 if "|" in arm.name else 1
        assert per_seed[0] == sorted(per_seed[0])
        assert len(per_seed[0]) == lrs * momenta == made.trials_per_seed(arm)
        rates = sorted(set(per_seed[0]))
        assert len(rates) == lrs
        assert (rates[0], rates[-1]) == pytest.approx((first, last))
        steps = [np.log(after / before) for before, after in pairwise(rates)]
        assert steps == pytest.approx([np.log(last / first) / (lrs - 1)] * (lrs - 1))
    assert len({json.dumps(trial, sort_keys=True) for trial in trials}) == len(trials)
    assert made.total_trials() == len(trials) + 2 * seeds
    assert made.describe()["shared_trials"] == len(trials)


def test_a_sweep_changes_the_learning_rate_and_nothing_else() -> None:
    once, swept = (
        [{**trial, "lr": None} for trial in planned(study(lrs=lrs))] for lrs in (None, 3)
    )
    assert len(swept) == 3 * len(once)
    assert all(trial in once for trial in swept)
    # A grid is of momenta x rates.
    grid = [t for t in planned(study(lrs=3, seeds=1)) if t["arm"] == ARMS[2]]
    assert len({(trial["momentum"], trial["lr"]) for trial in grid}) == 9


def test_pairs_run_close_in_time() -> None:
    trials = planned(study(lrs=3, arms=("gap", "fixed:0.9")))
    assert [trial["arm"] for trial in trials] == ["gap", "fixed:0.9"] * 6
    assert [trial["seed"] for trial in trials] == [0] * 6 + [1] * 6
    assert all(one["lr"] == other["lr"] for one, other in zip(trials[::2], trials[1::2], strict=1))


@pytest.mark.parametrize("lrs", [None, 1])
def test_one_learning_rate_is_the_recipe_and_leaves_no_trace(lrs: int | None) -> None:
    made = study(lrs=lrs)
    assert {trial["lr"] for trial in planned(made) if trial["arm"] == "gap"} == {made.conditions.lr}
    description = made.describe()
    assert not {"lrs", "swept"} & set(description)
    assert description["budget_text"] == "each arm at its own cost"


def test_arms_that_search_stay_as_they_are() -> None:
    arms = ("gap", "optuna:2", "asha", "median", "pbt")
    once, swept = (study(arms=arms, lrs=lrs) for lrs in (None, 4))
    assert [run.search.arm for run in once.runs()] == [run.search.arm for run in swept.runs()]
    for arm in swept.arms[1:]:
        assert swept.trials_per_seed(arm) == once.trials_per_seed(arm)
    assert list(swept.describe()["swept"]) == ["gap"]


@dataclass(frozen=True)
class TwoRates(SearchMethod):
    """Plans learning rates of its own."""

    name = "two-rates"
    trials: int = 2

    def plan(self) -> tuple[dict[str, float], ...]:
        return ({"lr": 0.1}, {"lr": 0.2})

    def search(self, task: SearchTask) -> Search:
        return Search({}, task.trials, BasicVariantGenerator(), GapScheduler())


def test_a_plan_of_learning_rates_is_kept() -> None:
    made = study(arms=("gap", Arm("two-rates", search=TwoRates())), lrs=3, seeds=1)
    own = [trial["lr"] for trial in planned(made) if trial["arm"] == "two-rates"]
    assert own == [0.1, 0.2]
    assert made.trials_per_seed(made.arms[1]) == 2
    assert list(made.plan.swept_lrs()) == ["gap"]


@pytest.mark.parametrize(
    ("budget", "text"),
    [
        ("own", "every other arm at its own cost"),
        ("trials:9", "every other arm at 9 trials per seed"),
        ("steps:9x", "every other arm within the steps of 9 full trials per seed"),
    ],
)
def test_a_budget_pays_the_sweep_and_the_searches(budget: str, text: str) -> None:
    made = study(lrs=3, budget=budget)
    trials = [made.trials_per_seed(arm) for arm in made.arms]
    assert trials == [3, 3, 9, 3, 3, 2 if budget == "own" else 9]
    assert len(planned(made)) == 2 * 21
    assert made.describe()["budget_text"] == (
        f"each arm that searches none at 3 learning rates per seed, {text}"
    )


@pytest.mark.parametrize("budget", ["trials:8", "steps:8x", "steps:5759"])
def test_a_budget_that_does_not_pay_the_sweep_is_refused(budget: str) -> None:
    # The quadratic's full trial has 640 steps.
    expected = (
        r"must pay what the arm fixed:0\.5\|0\.9\|0\.99 takes at 3 learning rates, 9 trials per "
        f"seed, but got {budget}"
    )
    with pytest.raises(InvalidValueError, match=expected):
        study(lrs=3, budget=budget).runs()


@pytest.mark.parametrize("lrs", [0, -3, 2.5, True])
def test_no_learning_rate_is_refused(lrs: Any) -> None:
    with pytest.raises(InvalidValueError, match="lrs must be an integer of at least 1, but got"):
        study(lrs=lrs)


def test_a_sweep_without_an_arm_to_sweep_is_refused() -> None:
    with pytest.raises(InvalidValueError, match=r"lrs must come with an arm.*got \['optuna:2'\]"):
        study(arms=("optuna:2",), lrs=3)


def test_study_json_tells_the_sweep_and_makes_it_again() -> None:
    made = study(lrs=3, arms=("gap", "adai"))
    description = json.loads(json.dumps(made.describe()))
    assert description["lrs"] == 3
    low, high = made.conditions.lr_range
    assert description["swept"]["gap"] == pytest.approx([low, (low * high) ** 0.5, high])
    assert description["swept"]["adai"] == pytest.approx([10 * low, 10 * (low * high) ** 0.5, 3.0])
    again = Study(**arguments_of(description, "x"), storage=Path("x"))
    assert again.describe() == made.describe()
    assert made.differs_from(again) == []
    assert made.differs_from(study(lrs=4, arms=("gap", "adai"))) == ["lrs"]
    assert made.differs_from(study(arms=("gap", "adai"))) == ["lrs"]


def test_a_sweep_that_failed_before_it_had_a_trial_is_read_and_told(tmp_path: Path) -> None:
    made = study(lrs=3, arms=("gap", "fixed:0.9"), storage=tmp_path)
    made.folder.mkdir()
    (made.folder / STUDY_FILE).write_text(json.dumps(made.describe()))
    (made.folder / RUN_FILE).write_text(json.dumps({"state": "failed", "error": "no disk"}))
    records = read_records(made.folder)
    assert records.trials["lr"].isna().all()
    summary = summarise(records).set_index("arm")
    assert summary["failed"].to_dict() == {"gap": 2, "fixed:0.9": 2}
    assert summary["lr"].isna().all()
