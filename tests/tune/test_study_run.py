"""Real Tune runs: what the scheduler decides is what running trials do."""

from __future__ import annotations

import json
from typing import Any

import optuna
import pytest
import torch
from optuna.storages import InMemoryStorage
from ray import tune
from ray.tune.experiment import Trial
from ray.tune.schedulers import (
    ASHAScheduler,
    HyperBandScheduler,
    MedianStoppingRule,
    PopulationBasedTraining,
)
from ray.tune.search import BasicVariantGenerator, ConcurrencyLimiter
from ray.tune.search.optuna import OptunaSearch

from gap_tune import AlignmentStatistics, GapScheduler, GapSearch, attach
from gap_tune.errors import InvalidValueError, UnsupportedError
from tests.tune.conftest import Run, make_run
from tests.tune.functions import Cycle, Raises
from tests.tune.searching import optuna_trials


def rows(result: tune.Result) -> list[dict[str, Any]]:
    return result.metrics_dataframe.to_dict("records")  # type: ignore[union-attr]


@pytest.fixture(scope="module")
def grid(ray_address: str, tmp_path_factory: pytest.TempPathFactory) -> tune.ResultGrid:
    """Two tuned trials, a baseline between them, and a tuned one that meets a NaN gradient."""
    plan: list[dict[str, Any]] = [{}, {"momentum": 0.7}, {"seed": 1}, {"bad_gradient_at": 2}]
    return make_run(tmp_path_factory.mktemp("run"))(plan)


def test_momentum_changes_inside_running_trials_and_baselines_keep_theirs(
    grid: tune.ResultGrid,
) -> None:
    tuned = [r for r in grid if r.config["gap"]["mode"] == "scheduler"]
    fixed = [r for r in grid if r.config["gap"]["mode"] == "fixed"]
    assert (len(tuned), len(fixed)) == (3, 1)
    for result in tuned:
        reports = rows(result)
        # The value that was sent is the value every step used from the next one on.
        expected = [Cycle.momenta[i % 4] for i in range(len(reports))]
        assert [r["used"] for r in reports] == expected
        assert [r["gap/momentum"] for r in reports] == expected
        assert [r["gap/seq"] for r in reports] == list(range(8))
        assert [r["gap/steps_since_change"] for r in reports] == [6] * 8
        # No pause, no restart: one process, one uninterrupted sequence.
        assert len({r["pid"] for r in reports}) == 1
        assert not any(r["restored"] for r in reports)
        assert [r["iterations_since_restore"] for r in reports] == list(range(1, 9))
    for result in fixed:
        assert {r["used"] for r in rows(result)} == {0.7}
        assert {r["gap/seq"] for r in rows(result)} == {0}


def test_reported_statistics_and_reasons_can_be_read_back(grid: tune.ResultGrid) -> None:
    last = rows(grid[0])[-1]
    statistics = AlignmentStatistics.from_dict(json.loads(last["gap/statistics"]))
    assert statistics.steps == 48
    assert last["gap/power"] == pytest.approx(statistics.power / statistics.weight)
    # The decision on this very result, which the scheduler adds to it.
    assert last["gap/decision"] == "0.9 follows 0.8."
    assert last["gap/reason"] == "best gain"
    assert last["gap/mode"] == "scheduler"


@pytest.mark.slow
def test_neither_a_rule_that_raises_nor_a_non_finite_metric_ends_the_study(run: Run) -> None:
    storage = InMemoryStorage()
    search = GapSearch(OptunaSearch(seed=0, storage=storage), rule=Raises())
    space = {"lr": tune.loguniform(1e-3, 1e-2), "bad_metric_at": tune.choice([2, None])}
    grid = run([{}] * 3, search=search, space=space, scheduler=GapScheduler(rule=Raises()))
    assert 0 < len(grid.errors) < 3
    for error in grid.errors:
        assert "metric 'loss' must be finite, but the trial reported nan" in str(error)
    for result in grid:
        if result.error is None:
            assert len(rows(result)) == 8
    # Optuna is told, and searches on.
    states = [t.state.name for t in optuna_trials(storage)]
    assert states.count("FAIL") == len(grid.errors)
    assert states.count("COMPLETE") == 3 - len(grid.errors)


def test_non_finite_gradients_are_counted_and_the_trial_goes_on(grid: tune.ResultGrid) -> None:
    (result,) = [r for r in grid if r.config.get("bad_gradient_at") == 2]
    statistics = AlignmentStatistics.from_dict(json.loads(rows(result)[-1]["gap/statistics"]))
    assert (statistics.skipped_steps, statistics.steps) == (1, 48)
    assert len(rows(result)) == 8


@pytest.mark.parametrize(
    "inner",
    [
        ASHAScheduler(grace_period=2),
        MedianStoppingRule(grace_period=2, time_attr="training_iteration", min_samples_required=1),
    ],
)
def test_wrapped_schedulers_still_stop_trials(run: Run, inner: Any) -> None:
    # The good ones come first, so that the bad ones are measured against them.
    plan = [{"lr": 0.02}, {"lr": 0.02}, {"lr": 1e-6}, {"lr": 1e-6}]
    grid = run(plan, scheduler=GapScheduler(inner, rule=Cycle()), space={})
    assert not grid.errors
    lengths = [len(rows(r)) for r in grid]
    assert min(lengths) < max(lengths)
    if isinstance(inner, ASHAScheduler):
        # Median stopping may end a good trial too, when its twin is ahead of it in time.
        assert max(lengths) == 8
    for result in grid:
        # Median stopping pauses trials; a trial that paused is sent its momentum when it goes on.
        used = [row["used"] for row in rows(result)]
        assert used == [Cycle.momenta[i % 4] for i in range(len(used))]


def test_only_a_trial_that_asks_is_changed_and_not_before_min_steps(run: Run) -> None:
    asks = tune.grid_search([{"mode": "scheduler"}, {}])
    space = {"lr": 0.02, "momentum": 0.9, "gap": asks}
    scheduler = GapScheduler(rule=Cycle(), min_steps=12)
    search = BasicVariantGenerator()
    asked, silent = run([], search=search, scheduler=scheduler, space=space, at_once=1)
    assert [r["used"] for r in rows(asked)] == [0.9, 0.9, 0.5, 0.5, 0.99, 0.99, 0.8, 0.8]
    assert {r["used"] for r in rows(silent)} == {0.9}


@pytest.mark.parametrize(
    ("space", "complaint"),
    [
        ({"lr": 0.1, "momentum": 0.9}, "param_space must not hold 'momentum'"),
        ({"lr": 0.1, "momentum": tune.uniform(0, 1)}, "param_space must not hold 'momentum'"),
        ({"lr": tune.grid_search([0.1, 0.2])}, "grid_search"),
    ],
)
def test_a_param_space_that_sets_what_gap_search_owns_is_refused_before_any_trial(
    run: Run, tmp_path: Any, space: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(InvalidValueError, match=complaint):
        run([], search=GapSearch(), space=space)
    assert not list(tmp_path.glob("run/*/result.json"))


def test_things_that_are_no_scheduler_searcher_or_rule_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="TrialScheduler, but got str"):
        GapScheduler("asha")  # type: ignore[arg-type]
    with pytest.raises(UnsupportedError, match="Searcher or the name of one, but got int"):
        GapSearch(3)  # type: ignore[arg-type]
    with pytest.raises(InvalidValueError, match=r"one of \['random', 'tpe'\], but got 'optuna'"):
        GapSearch("optuna")
    with pytest.raises(UnsupportedError, match="MomentumRule, but got str"):
        GapScheduler(rule="paper")  # type: ignore[arg-type]
    with pytest.raises(InvalidValueError, match="reference_momentum"):
        GapSearch(reference_momentum=1.0)


def test_metric_names_of_gap_tune_cannot_be_taken() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1, momentum=0.9)
    with pytest.raises(InvalidValueError, match="must not start with 'gap/'"):
        attach(optimizer).report({"loss": 1.0, "gap/seq": 3})


def test_population_based_training_and_hyperband_are_refused_with_the_reason() -> None:
    for scheduler, reason in (
        (PopulationBasedTraining(hyperparam_mutations={"lr": [0.1]}), "refuses every Searcher"),
        (HyperBandScheduler(), "hangs now and then"),
    ):
        with pytest.raises(UnsupportedError, match=reason):
            GapScheduler(scheduler)


def test_bug_a_searcher_with_a_space_of_its_own_must_be_asked() -> None:
    own = {"lr": optuna.distributions.FloatDistribution(0.1, 0.2)}
    search = GapSearch(OptunaSearch(space=own, metric="loss", mode="min"))
    assert search.set_search_properties("loss", "min", {"epochs": 2})
    assert 0.1 <= search.suggest("a")["lr"] <= 0.2


def test_bug_a_searchers_own_space_must_not_hold_the_momentum() -> None:
    own = {"momentum": optuna.distributions.FloatDistribution(0.0, 0.9)}
    search = GapSearch(OptunaSearch(space=own, metric="loss", mode="min"))
    with pytest.raises(InvalidValueError, match="OptunaSearch must not hold 'momentum'"):
        search.set_search_properties("loss", "min", {})


def test_bug_a_limited_searcher_with_nothing_to_search_must_not_raise() -> None:
    search = GapSearch(ConcurrencyLimiter(OptunaSearch(), max_concurrent=2))
    assert search.set_search_properties("loss", "min", {"lr": 0.1})
    assert search.suggest("a")["momentum"] == 0.9


@pytest.mark.parametrize("value", [10**400, torch.tensor(float("nan")), float("-inf")])
def test_bug_no_kind_of_bad_metric_may_raise_in_or_slip_past_the_scheduler(value: Any) -> None:
    scheduler = GapScheduler()
    scheduler.set_search_properties("loss", "min")
    trial = Trial("__fake", stub=True)
    assert scheduler.on_trial_result(None, trial, {"loss": value}) == "STOP"
