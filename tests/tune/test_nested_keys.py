"""Keys of nested configurations, wherever gap_tune takes a key."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
from optuna.storages import InMemoryStorage
from ray import tune
from ray.tune.search.optuna import OptunaSearch

from gap_tune import GapSearch, attach
from gap_tune.errors import InvalidValueError
from gap_tune.records.experiments import arm_of, read_experiment
from gap_tune.study.methods.plan import PlannedTrials
from gap_tune.theory.momentum import coupling_factor
from gap_tune.tune import keys
from gap_tune.tune.monitoring.progress.trials import label
from gap_tune.tune.monitoring.ray_dashboard import trial_label
from tests.records.test_experiments import write_trial
from tests.tune.scheduled import OTHER, STATISTICS, Keeps, Study
from tests.tune.searching import Listed, leaning, optuna_trials, report

LR = tune.loguniform(1e-3, 1.0)
LOOP = {"momentum": "train_loop_config/momentum", "lr": "train_loop_config/lr"}
FLOAT = optuna.distributions.FloatDistribution


def prepared(search: GapSearch, space: dict[str, Any]) -> GapSearch:
    assert search.set_search_properties("loss", "min", space)
    return search


@pytest.mark.parametrize(
    ("inner", "space"),
    [
        (None, {"train_loop_config": {"lr": LR, "epochs": 3}}),
        (None, {"train_loop_config": {"lr": 0.1, "epochs": 3}, "wd": LR}),
        (None, {"train_loop_config": {"lr": 0.1}}),
        (None, {"train_loop_config": tune.choice([{"lr": 0.1}])}),
        (OptunaSearch({"train_loop_config/lr": FLOAT(0.01, 0.1)}, metric="loss", mode="min"), {}),
        (Listed({"train_loop_config": {"lr": 0.1}}), {}),
    ],
)
def test_bug_the_workers_of_a_torch_trainer_get_neither_momentum_nor_section(
    inner: Any, space: dict[str, Any]
) -> None:
    search = GapSearch(inner, statistics=leaning(0.99), **LOOP)  # type: ignore[arg-type]
    if space:
        prepared(search, space)
    config = search.suggest("a")
    loop = config["train_loop_config"]
    assert loop["momentum"] == 0.99
    assert loop["lr"] == pytest.approx(loop["gap"]["searched_lr"] * coupling_factor(0.99, 0.9))
    assert loop["gap"] == config["gap"]
    assert keys.asks_for_tuning(config)
    assert "momentum" not in config
    # What a worker does with it.
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([weight], lr=loop["lr"], momentum=loop["momentum"])
    trial = attach(optimizer, loop)
    assert trial.momentum == 0.99
    assert trial.result({})["gap/mode"] == "scheduler"


@pytest.mark.parametrize(
    ("space", "options"),
    [
        ({"a/momentum": 0.9}, {}),
        ({"a": {"momentum": LR}}, {}),
        ({"a": {"b2": 0.9}}, {"beta2": "a/b2"}),
        ({"a": {"lr": "fast"}}, {"lr": "a/lr"}),
        ({"a": {"eta": LR}}, {"lr": "a/lr"}),
        ({"a": {"gap": {"mode": "trail"}}}, {}),
        ({"a": 3}, {}),
        ({"a": {}}, {"lr": "a/momentum"}),
        ({"a": {}}, {"lr": "a"}),
        ({"a": {}}, {"lr": "a/gap"}),
    ],
)
def test_bug_nested_keys_are_not_checked(space: dict[str, Any], options: dict[str, str]) -> None:
    with pytest.raises(InvalidValueError, match=r"must .* but got"):
        GapSearch(momentum="a/momentum", **options).set_search_properties("loss", "min", space)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "inner",
    [
        OptunaSearch({"a/momentum": FLOAT(0, 0.9)}, metric="loss", mode="min"),
        OptunaSearch(points_to_evaluate=[{"a/momentum": 0.5}]),
        OptunaSearch(points_to_evaluate=[{"a": {"momentum": 0.5}}]),
    ],
)
def test_bug_a_searchers_nested_space_and_points_are_not_checked(inner: Any) -> None:
    with pytest.raises(InvalidValueError, match="GapSearch supplies"):
        GapSearch(inner, momentum="a/momentum").set_search_properties("loss", "min", {"a": {}})


def test_a_key_with_a_slash_stays_one_where_its_neighbours_are_spelled_so() -> None:
    search = prepared(GapSearch(Listed({}), momentum="sgd/momentum"), {"sgd/nesterov": True})
    config = search.suggest("a")
    assert config["sgd/momentum"] == 0.9
    assert config["gap"]["momentum_key"] == "sgd/momentum"
    assert config.keys() == {"sgd/momentum", "gap"}


def test_a_nested_beta1_is_adams() -> None:
    search = GapSearch(
        Listed({"o": {"lr": 0.1}}),
        momentum="o/beta1",
        lr="o/lr",
        beta2="o/beta2",
        statistics={0.99: leaning(0.99, whitening=10.0)},
    )
    config = search.suggest("a")["o"]
    assert (config["beta1"], config["beta2"]) == (0.99, 0.99)
    # Averages of gradients: Cor. 6.
    assert config["lr"] == pytest.approx(0.1 * coupling_factor(0.99, 0.9) * 0.1 / 0.01)
    assert config["gap"]["momentum_key"] == "beta1"
    plain = GapSearch(Listed({}), optimizer=torch.optim.AdamW).suggest("a")
    assert plain["gap"]["momentum_key"] == "beta1"
    assert "momentum_key" not in GapSearch(Listed({})).suggest("a")["gap"]


def test_a_nested_baseline_stays_as_it_is() -> None:
    plan = PlannedTrials([{"o": {"beta1": 0.5}}, {"o": {"gap": {"mode": "trial"}}}])
    search = prepared(GapSearch(plan, momentum="o/beta1", beta2="o/beta2"), {"o": {"x": 1}})
    first, second = search.suggest("a"), search.suggest("b")
    assert (first["o"]["beta1"], first["o"]["beta2"]) == (0.5, 0.999)
    assert first["gap"]["mode"] == first["o"]["gap"]["mode"] == "fixed"
    assert second["gap"]["mode"] == second["o"]["gap"]["mode"] == "trial"


def test_bug_a_nested_point_that_was_evaluated_is_told_with_what_gap_tune_owns() -> None:
    storage = InMemoryStorage()
    search = prepared(
        GapSearch(OptunaSearch(storage=storage), **LOOP), {"train_loop_config": {"lr": LR}}
    )  # type: ignore[arg-type]
    flat = {"train_loop_config/lr": 0.02, "train_loop_config/momentum": 0.99}
    search.add_evaluated_point({**flat, "gap": {"searched_lr": 0.1}}, 1.0)
    search.add_evaluated_point({**flat, "train_loop_config/gap/mode": "x", "gap/mode": "x"}, 1.0)
    whole = search.suggest("a")
    loop = {**whole["train_loop_config"], "epochs": 3}
    search.add_evaluated_point({**whole, "train_loop_config": loop}, 1.0)
    *_, asked, again = optuna_trials(storage)
    assert again.params == asked.params
    told = [t.params for t in optuna_trials(storage)]
    assert told[:2] == [{"train_loop_config/lr": 0.1}, {"train_loop_config/lr": 0.02}]


def test_bug_seeds_of_nested_hyperparameters_are_not_told_apart() -> None:
    plan = [{"train_loop_config": {"lr": lr}} for lr in (1e-3, 1e-3, 1.0)]
    search = GapSearch(Listed(*plan), **LOOP)  # type: ignore[arg-type]
    prepared(search, {"train_loop_config": {"lr": LR}})
    for name in "ab":
        search.suggest(name)
        search.on_trial_result(name, report(leaning(0.95)))
    assert search.suggest("far")["train_loop_config"]["momentum"] == 0.9


def test_a_search_that_is_restored_puts_keys_where_they_were() -> None:
    def make() -> GapSearch:
        return GapSearch(Listed({}, {}), momentum="sgd/momentum")

    search = prepared(make(), {"sgd/nesterov": True})
    restored = make()
    restored.set_state(search.get_state())
    assert restored.suggest("a") == search.suggest("a")
    old = {name: value for name, value in search.get_state().items() if name != "places"}
    make().set_state(old)


@pytest.mark.parametrize("options", [{}, {"momentum": "o/beta1", "seed_key": "o/seed"}])
def test_bug_nested_siblings_do_not_find_each_other(
    study: Callable[..., Study], options: dict[str, str]
) -> None:
    rule = Keeps()
    s = study(pool="siblings", rule=rule, **options)
    section = {"mode": "scheduler", "momentum_key": "beta1"}

    def add(seed: int, beta1: float, width: int = 8) -> Any:
        loop = {"seed": seed, "beta1": beta1, "width": width, "gap": section}
        return s.add(o=loop, gap=section)

    own, sibling, stranger = add(0, 0.9), add(1, 0.5), add(2, 0.9, width=16)
    for other in (sibling, stranger):
        s.report(other, statistics=json.dumps(OTHER.to_dict()), steps=50)
    s.report(own)
    assert rule.asked[-1].weight == STATISTICS.merge(OTHER).weight


def test_bug_the_first_decision_of_a_nested_trial_has_no_old_momentum(
    study: Callable[..., Study],
) -> None:
    s = study()
    section = {"mode": "trial", "momentum_key": "beta1"}
    trial = s.add(gap=section, o={"beta1": 0.7, "gap": section})
    del trial.config["momentum"]
    s.report(trial, seq=1, mode="trial")
    assert s.log()[0].old == 0.7


def test_bug_nested_trials_have_no_arm_and_no_seed(tmp_path: Path) -> None:
    fixed = {"mode": "fixed", "momentum_key": "beta1"}
    baseline = {"o": {"beta1": 0.8, "seed": 1, "gap": fixed}, "gap": fixed}
    assert arm_of(baseline) == "fixed:0.8"
    assert arm_of({"beta1": 0.8, "gap": fixed}) == "fixed:0.8"
    for number, seed in enumerate((1, 2)):
        for beta1, mode in ((0.8, "fixed"), (0.9, "scheduler")):
            own = {"mode": mode, "momentum_key": "beta1"}
            config = {"o": {"beta1": beta1, "seed": seed, "gap": own}, "gap": own}
            write_trial(tmp_path, f"{number}{mode}", config, [3.0, 2.0])
    records = read_experiment(tmp_path, metric="loss", mode="min")
    assert records.study["paired"] is True
    assert records.study["arms"] == ["gap", "fixed:0.8"]
    assert set(records.trials["seed"]) == {1, 2}


def test_bug_progress_knows_no_nested_seed(study: Callable[..., Study]) -> None:
    trial = study().add(o={"seed": 5, "gap": {"mode": "scheduler"}})
    assert label(trial).endswith("seed 5")
    assert trial_label({"o": {"arm": "gap", **trial.config["o"]}}, "t") == "gap seed 5"


def test_something_else_that_is_called_a_gap_is_no_section() -> None:
    assert not keys.section({"data": {"gap": {"width": 3}}})
    assert keys.section({"data": {"gap": {"width": 3}}, "o": {"gap": {"mode": "fixed"}}})


def test_bug_an_optimizer_built_without_its_nested_momentum_passes_without_a_word() -> None:
    weight = torch.nn.Parameter(torch.ones(4))
    own = {"mode": "scheduler", "momentum_key": "beta1"}
    for key, section in (("momentum", {"mode": "scheduler"}), ("beta1", own)):
        with pytest.warns(UserWarning, match=f"the configuration's {key}=0.5, but got SGD"):
            attach(torch.optim.SGD([weight], lr=0.1), {"optim": {key: 0.5, "gap": section}})
