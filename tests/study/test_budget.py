from __future__ import annotations

import math
import pickle
from pathlib import Path
from typing import Any

import pytest
from ray.tune.search import Searcher

from gap_tune import Study
from gap_tune.errors import InvalidValueError
from gap_tune.study import ArmBudget
from gap_tune.study.methods.plan import PlannedTrials
from gap_tune.study.methods.spending import WithinSteps

ARMS = ("gap", "fixed:0.9", "fixed:grid", "optuna", "asha", "pbt", "switch")


def study(budget: str = "own", **options: Any) -> Study:
    given = {"workload": "quadratic", "arms": ARMS, "seeds": 2, "storage": Path("x")} | options
    return Study(**given, budget=budget)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["own", "trials:8", "steps:4000", "steps:3x"])
def test_a_budget_is_written_as_it_is_read(text: str) -> None:
    assert str(ArmBudget.parse(text)) == text


@pytest.mark.parametrize(
    "text", ["", "own:1", "trials", "trials:0", "trials:-1", "trials:2x", "steps:x", "hours:1"]
)
def test_an_unknown_budget_is_refused(text: str) -> None:
    with pytest.raises(InvalidValueError, match="budget must be 'own', 'trials:<n>'"):
        ArmBudget.parse(text)


@pytest.mark.parametrize(
    ("budget", "trials", "alone"),
    [
        ("own", (1, 1, 6, 8, 8, 4, 1), {"optuna", "asha", "pbt"}),
        ("trials:3", (3,) * 7, set(ARMS)),
        # Whether there is anything to search or not, searches keep their own runs.
        ("trials:2", (2,) * 7, set(ARMS)),
        # 5 epochs of 128 steps: 1,600 steps are two and a half full trials.
        ("steps:1600", (2, 2, 2, 2, None, 2, 2), set(ARMS)),
        ("steps:2x", (2, 2, 2, 2, None, 2, 2), set(ARMS)),
    ],
)
def test_every_arm_has_the_trials_that_the_budget_pays(
    budget: str, trials: tuple[int | None, ...], alone: set[str]
) -> None:
    made = study(budget)
    assert tuple(made.trials_per_seed(arm) for arm in made.arms) == trials
    runs = made.runs()
    assert [(run.search.arm, run.search.seed) for run in runs if run.search.arm] == [
        (arm, seed) for seed in (0, 1) for arm in ARMS if arm in alone
    ]
    assert (runs[0].search.arm is None) == (alone != set(ARMS))
    assert len({run.folder for run in runs}) == len(runs)
    assert made.total_trials() == (None if None in trials else 2 * sum(n or 0 for n in trials))


def test_a_budget_that_pays_no_trial_is_refused() -> None:
    with pytest.raises(InvalidValueError, match="must pay one full trial, 640 steps"):
        study("steps:639").runs()
    with pytest.raises(InvalidValueError, match="trials of the arm pbt must be an integer of at"):
        study("trials:1")
    with pytest.raises(InvalidValueError, match="trials of the arm pbt must be an integer of at"):
        study("steps:1x").runs()


def test_one_trial_each_is_the_recipe_whether_a_budget_says_so_or_not() -> None:
    arms = ("gap", "fixed:0.9", "switch")
    plans = [study(budget, arms=arms).runs()[0].search.make() for budget in ("own", "trials:1")]
    own, equal = (drawn(plan.searcher.searcher) for plan in plans)
    assert own == equal
    assert [config["seed"] for config in own] == [0, 0, 0, 1, 1, 1]


def drawn(searcher: PlannedTrials) -> list[dict[str, Any]]:
    configurations = []
    while (config := searcher.suggest("a trial")) != Searcher.FINISHED:
        configurations.append(config)
    return configurations


def test_other_families_have_their_own_recipe_and_follow_the_study_in_proportion() -> None:
    made = study(arms=("fixed:0.9", "adai", "prodigy"), lr=0.05, lr_range=(0.01, 0.2), seeds=1)
    rates = {c["arm"]: c["lr"] for c in drawn(made.runs()[0].search.make().searcher.searcher)}
    # The quadratic's recipe is 0.1; Adai's is ten times SGD's, Prodigy's is 1.
    assert rates == pytest.approx({"fixed:0.9": 0.05, "adai": 0.5, "prodigy": 1.0})
    adai = made.arms[1]
    assert made.conditions.lr_range_of(adai) == pytest.approx((0.1, 2.0))
    usual = study(arms=("gap",)).conditions
    assert usual.lr_range == pytest.approx((0.01, 0.3))


def test_a_family_brings_its_recipe_to_all_arms() -> None:
    made = study(arms=("gap", "switch"), family="adamw", seeds=1)
    plan = drawn(made.runs()[0].search.make().searcher.searcher)
    assert [c["lr"] for c in plan] == [0.03, 0.03]
    assert [c.get("family") for c in plan] == [None, "switch-adamw"]
    assert made.settings["family"] == "adamw"


def test_what_gap_validation_holds_out_no_arm_trains_on() -> None:
    alone, together = (study(arms=arms) for arms in (("gap",), ("gap", "gap-validation")))
    assert not alone.settings["hold_out"]
    assert together.settings["hold_out"]
    # A tenth of 4,096 samples is held out: 115 full batches of 32 are left of 128.
    assert alone.conditions.steps_of_a_trial() == 5 * 128
    assert together.conditions.steps_of_a_trial() == 5 * 115


class Endless(Searcher):
    """Suggests trials for ever."""

    told: tuple[str, ...] = ()

    def suggest(self, trial_id: str) -> dict[str, Any]:
        return {"lr": 0.1}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        pass

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        self.told = (*self.told, trial_id)


@pytest.mark.parametrize("at_once", [1, 3])
@pytest.mark.parametrize("lengths", [(10.0,), (1.0,), (10.0, 1.0, 2.5)])
def test_trials_that_end_early_leave_their_steps_to_others(
    at_once: int, lengths: tuple[float, ...]
) -> None:
    epochs, budget = 10, 4.5
    searcher = WithinSteps(Endless(metric="loss", mode="min"), budget, epochs)
    running: list[tuple[str, float]] = []
    started, spent = 0, 0.0
    while True:
        suggestion = searcher.suggest(f"t{started}") if len(running) < at_once else None
        if suggestion == Searcher.FINISHED:
            break
        if suggestion is not None:
            running.append((f"t{started}", lengths[started % len(lengths)]))
            started += 1
            continue
        trial, length = running.pop(0)
        searcher.on_trial_result(trial, {"epoch": length / 2})
        # The searcher that continues a killed run knows what was spent.
        state, inner = searcher.get_state(), searcher.searcher
        searcher = WithinSteps(inner, budget, epochs)
        searcher.set_state(state)
        searcher.on_trial_complete(trial, {"epoch": length})
        spent += length / epochs
    assert not running
    assert inner.told == tuple(f"t{i}" for i in range(started))
    # Not more than the budget, and not so little that another full trial could have been paid.
    assert budget - 1 < spent <= budget
    if lengths == (10.0,):
        assert started == math.floor(budget)


def test_bug_trials_that_all_fail_at_once_come_to_an_end() -> None:
    searcher = WithinSteps(Endless(metric="loss", mode="min"), 3.0, 10)
    started = 0
    while searcher.suggest(f"t{started}") != Searcher.FINISHED:
        searcher.on_trial_complete(f"t{started}", error=True)
        started += 1
    assert started == 3


def test_bug_a_run_of_an_earlier_version_had_no_clock_when_it_was_restored() -> None:
    searcher = WithinSteps(Endless(metric="loss", mode="min"), 2.0, 10)
    del vars(searcher)["_time_attr"]
    restored = pickle.loads(pickle.dumps(searcher))
    assert [restored.suggest(name) is not None for name in "abc"] == [True, True, False]
    for name in "ab":
        restored.on_trial_complete(name, {"epoch": 5, "loss": 1.0})
    assert restored.suggest("c") is not None
