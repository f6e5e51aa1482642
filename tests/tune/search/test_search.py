"""GapSearch: which keys it supplies, what it refuses, what searchers are told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
from optuna.storages import InMemoryStorage
from ray import tune
from ray.tune.search import ConcurrencyLimiter, Repeater
from ray.tune.search.optuna import OptunaSearch

from gap_tune import FixedMomentum, GapScheduler, GapSearch
from gap_tune.control import MomentumControl
from gap_tune.errors import InvalidValueError, UnsupportedError
from gap_tune.theory.momentum import coupling_factor
from tests.tune.functions import quadratic
from tests.tune.searching import Listed, leaning, optuna_trials, report

SPACE = {"lr": tune.loguniform(1e-3, 1.0)}


def prepared(search: Any, space: dict[str, Any] | None = None) -> Any:
    assert search.set_search_properties("loss", "min", SPACE if space is None else space)
    return search


@pytest.mark.parametrize(
    ("optimizer", "options", "supplied"),
    [
        (None, {}, {"momentum"}),
        (torch.optim.SGD, {}, {"momentum"}),
        (torch.optim.Adam, {}, {"beta1"}),
        (torch.optim.AdamW, {"beta2": "beta2"}, {"beta1", "beta2"}),
        (torch.optim.AdamW, {"momentum": "b1"}, {"b1"}),
        (torch.optim.RMSprop, {"momentum": "momentum"}, {"momentum"}),
    ],
)
def test_the_optimizers_class_names_the_keys_unless_the_user_does(
    optimizer: Any, options: dict[str, str], supplied: set[str]
) -> None:
    config = prepared(GapSearch(optimizer=optimizer, **options)).suggest("a")
    assert config.keys() - {"lr", "gap"} == supplied
    assert {config[key] for key in supplied} <= {0.9, 0.999}
    assert config["gap"]["mode"] == "scheduler"


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"optimizer": torch.optim.Adagrad}, r"got Adagrad, of which it derives \['lr'\]"),
        ({"optimizer": torch.optim.RMSprop}, "got RMSprop, of which it derives nothing"),
        ({"optimizer": torch.optim.SGD, "beta2": "beta2"}, r"derives betas\[1\], but got SGD"),
        ({"optimizer": torch.optim.RMSprop, "momentum": "m", "lr": "lr"}, "derives lr, but got"),
        ({"optimizer": "AdamW"}, "must be a class, such as torch.optim.AdamW, but got str"),
        ({"rule": "paper"}, "MomentumRule, but got str"),
        ({"statistics": 3}, "statistics must be .* but got int"),
        ({"statistics": {0.9: 3}}, "statistics must be .* but got dict"),
    ],
)
def test_what_cannot_be_derived_is_refused(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UnsupportedError, match=complaint):
        GapSearch(**options)


@pytest.mark.parametrize(
    ("options", "space"),
    [
        ({}, {"momentum": 0.9}),
        ({"optimizer": torch.optim.Adam}, {"beta1": tune.uniform(0, 1)}),
        ({"momentum": "beta1", "beta2": "beta2"}, {"beta2": 0.99}),
        ({"optimizer": torch.optim.Adam}, {"lr": tune.grid_search([0.1, 0.2])}),
        ({}, {"net": {"width": tune.grid_search([1, 2])}}),
        ({"lr": "lr"}, {"lr": "fast"}),
        ({"lr": "lr"}, {"lr": 0.0}),
        ({"lr": "lr"}, {"eta": 0.1}),
        ({}, {"gap": {"mode": "trail"}}),
        ({}, {"gap": 3}),
        ({"searcher": OptunaSearch(points_to_evaluate=[{"lr": 0.1, "momentum": 0.5}])}, SPACE),
        (
            {
                "searcher": ConcurrencyLimiter(
                    OptunaSearch(points_to_evaluate=[{"lr": 0.1, "beta1": 0.5}]), 2
                ),
                "momentum": "beta1",
            },
            SPACE,
        ),
    ],
)
def test_spaces_and_points_that_hold_what_is_supplied_are_refused(
    options: dict[str, Any], space: dict[str, Any]
) -> None:
    with pytest.raises(InvalidValueError, match=r"must .* but got"):
        GapSearch(**options).set_search_properties("loss", "min", space)


def test_an_empty_param_space_of_which_ray_says_nothing_is_checked_all_the_same() -> None:
    own = {"momentum": optuna.distributions.FloatDistribution(0.0, 0.9)}
    search = GapSearch(OptunaSearch(space=own, metric="loss", mode="min"))
    with pytest.raises(InvalidValueError, match="OptunaSearch must not hold 'momentum'"):
        search.suggest("a")
    assert GapSearch(OptunaSearch()).suggest("a")["momentum"] == 0.9


@pytest.mark.parametrize("options", [{"reference_momentum": 1}, {"betas2": [1.0]}, {"lr": "gap"}])
def test_numbers_out_of_range_and_equal_keys_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidValueError, match="but got"):
        GapSearch(**options)


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.AdamW])
def test_the_learning_rate_is_what_coupling_in_the_trial_would_make_of_it(kind: Any) -> None:
    inner = OptunaSearch(seed=0, storage=(storage := InMemoryStorage()))
    search = prepared(GapSearch(inner, statistics=leaning(0.99), optimizer=kind, lr="lr"))
    config = search.suggest("a")
    (asked,) = optuna_trials(storage)
    assert asked.params["lr"] == config["gap"]["searched_lr"]
    assert (
        config["gap"]["reference_momentum"] == config.get("momentum", config.get("beta1")) == 0.99
    )

    def coupled(lr: float, momentum: float, reference: float) -> float:
        betas = {"momentum": momentum} if kind is torch.optim.SGD else {"betas": (momentum, 0.999)}
        optimizer = kind([torch.nn.Parameter(torch.ones(1))], lr=lr, **betas)
        MomentumControl(optimizer, couple_lr=True, reference_momentum=reference).before_step()
        return float(optimizer.param_groups[0]["lr"])

    assert config["lr"] == pytest.approx(coupled(asked.params["lr"], 0.99, 0.9))
    # Whatever momentum comes later, it is as if the learning rate had been coupled from the start.
    assert coupled(config["lr"], 0.8, 0.99) == pytest.approx(coupled(asked.params["lr"], 0.8, 0.9))


def test_a_fixed_learning_rate_is_scaled_and_a_baselines_is_not() -> None:
    baseline = {"momentum": 0.5, "lr": 0.3}
    search = GapSearch(Listed({"x": 1}, baseline), statistics=leaning(0.8), lr="lr")
    prepared(search, {"lr": 0.1})
    seeded, planned = search.suggest("a"), search.suggest("b")
    assert seeded["lr"] == pytest.approx(0.1 * coupling_factor(0.8, 0.9))
    assert {**planned, "gap": None} == {**baseline, "gap": None}
    assert planned["gap"]["reference_momentum"] == 0.9


def test_an_evaluated_point_is_known_by_the_learning_rate_that_was_searched() -> None:
    inner = OptunaSearch(storage=(storage := InMemoryStorage()))
    search = prepared(GapSearch(inner, statistics=leaning(0.99), lr="lr"))
    search.add_evaluated_point(
        prepared(GapSearch(statistics=leaning(0.99), lr="lr")).suggest("a"), 1
    )
    point = {"lr": 0.02, "momentum": 0.99, "gap": {"searched_lr": 0.1}}
    search.add_evaluated_point(point, 0.5)
    assert optuna_trials(storage)[1].params == {"lr": 0.1}


def test_modes_and_other_entries_of_a_gap_section_are_kept() -> None:
    plan = [
        {"gap": {"mode": "trial", "candidates": [0.5]}},
        {"gap": {"mode": "fixed", "note": "no momentum"}},
        {"gap": {"note": 1}},
        {"gap": {"mode": "trail"}},
    ]
    search = GapSearch(Listed(*plan), statistics=leaning(0.95))
    trial, fixed, plain, odd = (search.suggest(str(i)) for i in range(4))
    assert trial["momentum"] == 0.95
    assert trial["gap"]["mode"] == "trial"
    assert trial["gap"]["candidates"] == [0.5]
    assert trial["gap"]["seed_reason"].startswith("given statistics: 0.95 has the largest gain")
    assert "momentum" not in fixed
    assert fixed["gap"]["note"] == "no momentum"
    assert (plain["gap"]["mode"], plain["gap"]["note"]) == ("scheduler", 1)
    assert odd["gap"]["mode"] == "scheduler"
    # One mode for all trials may stand in param_space.
    search = prepared(GapSearch(Listed()), {"gap": {"mode": "trial"}})
    assert search.suggest("a")["gap"]["mode"] == "trial"


def test_a_baseline_that_plans_one_beta_gets_the_other() -> None:
    search = GapSearch(Listed({"beta1": 0.5}, {"beta2": 0.9}), momentum="beta1", beta2="beta2")
    first, second = search.suggest("a"), search.suggest("b")
    assert (first["beta1"], first["beta2"]) == (0.5, 0.999)
    assert (second["beta1"], second["beta2"]) == (0.9, 0.9)
    assert first["gap"]["mode"] == second["gap"]["mode"] == "fixed"


def test_optuna_is_told_of_good_failed_nan_and_stopped_trials() -> None:
    inner = OptunaSearch(seed=0, storage=(storage := InMemoryStorage()))
    search = prepared(GapSearch(inner, statistics=leaning(0.8)))
    lrs = [search.suggest(name)["lr"] for name in ("good", "failed", "nan", "stopped", "paused")]
    search.on_trial_result("good", report(leaning(0.8), 0.5))
    search.on_trial_result("nan", report(leaning(0.8), float("nan")))
    search.on_trial_complete("good", {"loss": 0.5})
    search.on_trial_complete("failed", error=True)
    search.on_trial_complete("nan", {"loss": float("nan")})
    search.on_trial_complete("stopped", {"loss": 2.0})
    search.on_trial_complete("paused")
    trials = optuna_trials(storage)
    assert [t.params["lr"] for t in trials] == lrs
    assert [t.state.name for t in trials] == ["COMPLETE", "FAIL", "FAIL", "COMPLETE", "PRUNED"]
    assert [t.value for t in trials] == [0.5, None, None, 2.0, None]


def test_a_concurrency_limiter_and_a_repeater_may_be_around_and_inside() -> None:
    limited = prepared(ConcurrencyLimiter(GapSearch(OptunaSearch(seed=0)), 1))
    assert limited.suggest("a")["momentum"] == 0.9
    assert limited.suggest("b") is None
    limited.on_trial_complete("a", {"loss": 1.0})
    assert limited.suggest("b")["momentum"] == 0.9

    asking = OptunaSearch(seed=0, storage=(storage := InMemoryStorage()))
    repeated = prepared(Repeater(GapSearch(asking, statistics=leaning(0.8)), 2))
    twins = [repeated.suggest(name) for name in "ab"]
    assert [t.pop("__trial_index__") for t in twins] == [0, 1]
    assert twins[0] == twins[1]
    for name, loss in (("a", 1.0), ("b", 3.0)):
        repeated.on_trial_result(name, report(leaning(0.8), loss))
        repeated.on_trial_complete(name, {"loss": loss})
    assert optuna_trials(storage)[0].value == 2.0

    inside = prepared(GapSearch(Repeater(OptunaSearch(seed=0), 2), statistics=leaning(0.8)))
    twins = [inside.suggest(name) for name in "ab"]
    assert twins[0]["lr"] == twins[1]["lr"]
    for name in "ab":
        inside.on_trial_complete(name, {"loss": float("nan")})
    assert GapSearch(ConcurrencyLimiter(OptunaSearch(), 3)).searcher.max_concurrent == 3


@pytest.mark.slow
def test_a_real_study_seeds_from_its_own_trials_and_optuna_knows_what_it_asked(
    ray_address: str, tmp_path: Path
) -> None:
    storage = InMemoryStorage()
    inner = OptunaSearch(seed=0, points_to_evaluate=[{"lr": 0.01}], storage=storage)
    search = GapSearch(inner, optimizer=torch.optim.SGD, lr="lr")
    grid = tune.Tuner(
        quadratic,
        param_space={"lr": tune.loguniform(5e-3, 2e-2), "epochs": 3},
        tune_config=tune.TuneConfig(
            metric="loss",
            mode="min",
            num_samples=6,
            max_concurrent_trials=2,
            search_alg=search,
            scheduler=GapScheduler(rule=FixedMomentum()),
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(name="run", storage_path=str(tmp_path), verbose=0),
    ).fit()
    assert not grid.errors
    asked = optuna_trials(storage)
    assert {t.state.name for t in asked} == {"COMPLETE"}
    assert asked[0].params["lr"] == 0.01
    configs = [result.config for result in grid]
    assert [c["gap"]["searched_lr"] for c in configs] == [t.params["lr"] for t in asked]
    for config, result in zip(configs, grid, strict=True):
        own = config["gap"]
        assert config["lr"] == pytest.approx(
            own["searched_lr"] * coupling_factor(config["momentum"], 0.9)
        )
        assert own["reference_momentum"] == config["momentum"]
        assert result.metrics is not None
        assert result.metrics["used"] == config["momentum"]
    reasons = [c["gap"]["seed_reason"] for c in configs]
    assert reasons[0] == "reference momentum: nothing is known yet."
    assert reasons[-1].startswith("first reports of ")
