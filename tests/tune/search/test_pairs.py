"""Baselines beside the trials of a search: pairs that differ in momentum, and in nothing else."""

from __future__ import annotations

import math
import random
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.storages import InMemoryStorage
from ray import tune
from ray.tune.search import ConcurrencyLimiter, Repeater, Searcher
from ray.tune.search.optuna import OptunaSearch

from gap_tune import GapSearch, TrustRegion
from gap_tune.control import MomentumControl
from gap_tune.errors import GapTuneError
from gap_tune.tune import keys
from tests.tune.searching import Listed, leaning, optuna_trials, report

SPACE = {"lr": tune.loguniform(1e-3, 1.0), "width": tune.choice([8, 16, 32])}


class Proposing(Searcher):  # type: ignore[misc]
    """Proposes a new configuration each time, a limited number; keeps what it is told."""

    def __init__(self, most: int = 10**6) -> None:
        super().__init__(metric="loss", mode="min")
        self.most = most
        self.asked: list[str] = []
        self.reported: list[str] = []
        self.ended: dict[str, tuple[Any, bool]] = {}

    def suggest(self, trial_id: str) -> Any:
        if len(self.asked) == self.most:
            return Searcher.FINISHED
        self.asked.append(trial_id)
        return {"lr": 1 / len(self.asked), "net": {"width": len(self.asked)}}

    def set_search_properties(self, *_: Any, **spec: Any) -> bool:
        return True

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        self.reported.append(trial_id)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        self.ended[trial_id] = (result and result["loss"], error)


def suggestions(search: Any, first: int, end: int) -> dict[str, dict[str, Any]]:
    return {f"trial {i}": search.suggest(f"trial {i}") for i in range(first, end)}


def others(config: dict[str, Any]) -> dict[str, Any]:
    """Return a configuration without what trials of a pair may differ in."""
    return {name: config[name] for name in config.keys() - {"momentum", "gap"}}


momenta = st.lists(st.sampled_from([0.0, 0.3, 0.5, 0.9, 0.99]), unique=True, max_size=3)
shares = st.one_of(
    st.floats(0.01, 1.0), st.sampled_from([0.1, 0.2, 0.25, 0.3, 1 / 3, 0.5, 0.7, 0.9, 1.0])
)


@settings(max_examples=60, deadline=None)
@given(baselines=momenta, seeds=st.integers(1, 4), share=shares, configurations=st.integers(1, 40))
def test_every_configuration_of_the_share_is_handed_out_whole_and_paired(
    baselines: list[float], seeds: int, share: float, configurations: int
) -> None:
    if not baselines and seeds == 1:
        share = 1.0
    search = GapSearch(
        (inner := Proposing()), baselines=baselines, seeds=seeds, baselines_share=share
    )
    trials = search.trials_of(configurations)
    found = list(suggestions(search, 0, trials).values())
    # As many configurations were asked for, and the next trial begins another one.
    assert len(inner.asked) == configurations
    search.suggest("one more")
    assert len(inner.asked) == configurations + 1

    group = seeds * (1 + len(baselines))
    if group == 1:
        assert not any("seed" in c or "pair" in c["gap"] for c in found)
        return
    by_width: dict[int, list[dict[str, Any]]] = {}
    for config in found:
        by_width.setdefault(config["net"]["width"], []).append(config)
    compared = [width for width, members in by_width.items() if "pair" in members[0]["gap"]]
    for width, members in by_width.items():
        if width not in compared:
            assert [(c["gap"]["mode"], c["seed"]) for c in members] == [("scheduler", 0)]
            continue
        assert {c["gap"]["pair"] for c in members} == {width - 1}
        wanted = [(s, m) for s in range(seeds) for m in (None, *baselines)]
        modes = [
            (c["seed"], None if c["gap"]["mode"] == "scheduler" else c["momentum"]) for c in members
        ]
        assert modes == wanted
        assert all(others(c) == {**others(members[0]), "seed": c["seed"]} for c in members)
    # Evenly spread, from the first: however many are looked at, the share is as close as it can.
    exact = Fraction(str(share))
    for n in range(1, configurations + 1):
        assert len([width for width in compared if width <= n]) == math.ceil(n * exact)


@settings(max_examples=40, deadline=None)
@given(seeds=st.integers(1, 3), share=shares, order=st.randoms(use_true_random=False))
def test_the_searcher_is_told_of_the_first_seed_with_gap_alone_in_any_order_of_completion(
    seeds: int, share: float, order: random.Random
) -> None:
    inner = Proposing(most=12)
    search = GapSearch(inner, baselines=(0.5, 0.9), seeds=seeds, baselines_share=share)
    running: dict[str, dict[str, Any]] = {}
    ended: dict[str, dict[str, Any]] = {}
    finished = False
    while running or not finished:
        if not finished and (not running or order.random() < 0.5):
            config = search.suggest(name := f"trial {len(running) + len(ended)}")
            finished = config == Searcher.FINISHED
            if not finished:
                running[name] = config
            continue
        name = order.choice(sorted(running))
        search.on_trial_result(name, {"loss": 1.0})
        failed = order.random() < 0.2
        search.on_trial_complete(name, None if failed else {"loss": float(len(name))}, failed)
        ended[name] = running.pop(name)
    assert len(ended) == search.trials_of(12)
    told = [
        name
        for name, config in ended.items()
        if config["gap"]["mode"] == "scheduler" and config["seed"] == 0
    ]
    assert sorted(inner.ended) == sorted(inner.asked) == sorted(told)
    assert set(inner.reported) == set(told)
    # The end of the configurations is the end, and no trial is remembered.
    assert search.suggest("late") == Searcher.FINISHED
    assert search.get_state()["pairs"]["untold"] == []


@settings(max_examples=25, deadline=None)
@given(cut=st.integers(0, 19), share=st.sampled_from([0.3, 1.0]), limited=st.booleans())
def test_a_search_that_is_restored_amid_a_configuration_goes_on_as_if_nothing_had_been(
    cut: int, share: float, limited: bool
) -> None:
    def make() -> Any:
        inner = OptunaSearch(seed=0)
        options: Any = {"baselines": (0.9, 0.5), "seeds": 2, "baselines_share": share, "lr": "lr"}
        search = GapSearch(ConcurrencyLimiter(inner, 9) if limited else inner, **options)
        assert search.set_search_properties("loss", "min", {**SPACE, "seed": 7})
        return search

    def drive(search: Any, first: int, end: int) -> list[dict[str, Any]]:
        found = []
        for i in range(first, end):
            found.append(search.suggest(f"trial {i}"))
            search.on_trial_result(f"trial {i}", report(leaning(0.5), 1.0, **{"gap/scale": 2.0}))
            if i >= 2:
                search.on_trial_complete(f"trial {i - 2}", {"loss": float(i * 7 % 5)})
        return found

    expected = drive(make(), 0, 20)
    assert {c["seed"] for c in expected} == {7, 8}
    search = make()
    assert drive(search, 0, cut) == expected[:cut]
    with tempfile.TemporaryDirectory() as folder:
        search.save(str(path := Path(folder) / "searcher"))
        resumed = make()
        resumed.restore(str(path))
    assert drive(resumed, cut, 20) == expected[cut:]


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.AdamW])
def test_baselines_train_with_the_searched_rate_coupled_to_their_own_momentum(kind: Any) -> None:
    inner = OptunaSearch(seed=0, storage=(storage := InMemoryStorage()))
    search = GapSearch(
        inner, optimizer=kind, statistics=leaning(0.99), lr="lr", baselines=(0.9, 0.5)
    )
    assert search.set_search_properties("loss", "min", SPACE)
    tuned, same, other = suggestions(search, 0, 3).values()
    searched = optuna_trials(storage)[0].params["lr"]
    assert {c["gap"]["searched_lr"] for c in (tuned, same, other)} == {searched}
    # The searched rate is the one for the reference momentum, 0.9.
    assert same["lr"] == pytest.approx(searched)
    betas = {"momentum": 0.5} if kind is torch.optim.SGD else {"betas": (0.5, 0.999)}
    optimizer = kind([torch.nn.Parameter(torch.ones(1))], lr=searched, **betas)
    MomentumControl(optimizer, couple_lr=True, reference_momentum=0.9).before_step()
    assert other["lr"] == pytest.approx(optimizer.param_groups[0]["lr"])
    assert other.get("momentum", other.get("beta1")) == 0.5
    assert tuned["lr"] != same["lr"]


def test_a_moved_rate_is_that_of_the_whole_pair_and_baselines_teach_nothing() -> None:
    sampler = optuna.samplers.RandomSampler(seed=0)
    region = TrustRegion()
    search = GapSearch(OptunaSearch(sampler=sampler), lr="lr", trust_region=region, baselines=[0.5])
    assert search.set_search_properties("loss", "min", {"lr": SPACE["lr"]})

    def ends(name: str, loss: float, best: float, scale: float) -> None:
        result = report(leaning(best, weight=50.0), loss, **{keys.SCALE: scale, keys.STEPS: 99})
        search.on_trial_result(name, result)
        search.on_trial_complete(name, result)

    first = suggestions(search, 0, 2)
    # The baseline is better by far, and has seen gradients that call for another momentum.
    ends("trial 1", loss=0.1, best=0.5, scale=16.0)
    assert "lr_reason" not in search.suggest("trial 2")["gap"]
    assert search.suggest("trial 3")["momentum"] == 0.5
    ends("trial 0", loss=0.9, best=0.95, scale=2.0)
    tuned, baseline = suggestions(search, 4, 6).values()
    assert tuned["gap"]["lr_reason"].startswith("trial trial 0 came to train with 2 times")
    assert tuned["momentum"] == 0.95
    assert tuned["gap"]["searched_lr"] == baseline["gap"]["searched_lr"]
    assert not {"lr_reason", "trust_region", "scheduled"} & baseline["gap"].keys()
    assert {c["gap"]["seed_reason"] for c in (first["trial 1"], baseline)} == {
        "baseline of configuration 0",
        "baseline of configuration 2",
    }


def test_seeds_count_from_the_one_that_the_configuration_or_the_space_has() -> None:
    def found(search: GapSearch, space: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        search.set_search_properties("loss", "min", space or {})
        return list(suggestions(search, 0, 4).values())

    inner = Listed({"seed": 40}, {"seed": 50})
    configs = found(GapSearch(inner, baselines=[0.9], seeds=2))
    assert [c["seed"] for c in configs] == [40, 40, 41, 41]
    configs = found(GapSearch(Listed(), baselines=[0.9], seeds=2), {"seed": 3})
    assert [c["seed"] for c in configs] == [3, 3, 4, 4]
    # What workers see counts.
    momentum = "train_loop_config/momentum"
    for space, place in (({}, "loop"), ({"seed": 3}, "top")):
        search = GapSearch(Listed(), momentum=momentum, baselines=[0.9], seeds=2)
        configs = found(search, {"train_loop_config": {"x": 1}, **space})
        inside = [c["train_loop_config"] for c in configs]
        holders = inside if place == "loop" else configs
        assert [c["seed"] - space.get("seed", 0) for c in holders] == [0, 0, 1, 1]
        assert [c["momentum"] for c in inside[1::2]] == [0.9, 0.9]
        assert [c["gap"]["pair"] for c in inside] == [0] * 4
    # Something that nothing can be counted from costs the seed, not the study.
    configs = found(GapSearch(Listed({"seed": "a"}), baselines=[0.9], seeds=2))
    assert [c["seed"] for c in configs] == [0, 0, 1, 1]


def test_planned_baselines_of_the_searcher_stay_as_they_are_and_are_not_compared() -> None:
    inner = Listed({"x": 1}, {"momentum": 0.8, "x": 2}, {"x": 3})
    search = GapSearch(inner, baselines=[0.9])
    search.set_search_properties("loss", "min", {})
    found = list(suggestions(search, 0, 5).values())
    assert [c["momentum"] for c in found] == [0.9, 0.9, 0.8, 0.9, 0.9]
    assert [c["gap"].get("pair") for c in found] == [0, 0, None, 1, 1]
    # A function that reads the seed finds one.
    assert {c["seed"] for c in found} == {0}


def test_trials_that_choose_their_momentum_themselves_are_compared_alike() -> None:
    search = GapSearch(Listed(), baselines=[0.9])
    search.set_search_properties("loss", "min", {"gap": {"mode": "trial", "rule": "paper"}})
    tuned, baseline = suggestions(search, 0, 2).values()
    assert (tuned["gap"]["mode"], tuned["gap"]["rule"]) == ("trial", "paper")
    assert baseline["gap"]["mode"] == "fixed"
    assert "rule" not in baseline["gap"]


def test_beta2_of_a_baseline_is_torchs() -> None:
    search = GapSearch(
        Listed(), statistics={0.9: leaning(0.5)}, momentum="beta1", beta2="beta2", baselines=[0.7]
    )
    tuned, baseline = suggestions(search, 0, 2).values()
    assert tuned["beta2"] == 0.9
    assert (baseline["beta1"], baseline["beta2"]) == (0.7, 0.999)


def test_limits_inside_count_configurations_and_limits_around_count_trials() -> None:
    inside = GapSearch(ConcurrencyLimiter(Proposing(), 1), baselines=[0.9])
    assert all(suggestions(inside, 0, 2).values())
    assert inside.suggest("trial 2") is None
    inside.on_trial_complete("trial 1", {"loss": 1.0})
    assert inside.suggest("trial 2") is None
    inside.on_trial_complete("trial 0", {"loss": 1.0})
    assert inside.suggest("trial 2")["gap"]["pair"] == 1

    around = ConcurrencyLimiter(GapSearch(Proposing(), baselines=[0.9]), 1)
    assert around.suggest("a")["gap"]["mode"] == "scheduler"
    assert around.suggest("b") is None
    around.on_trial_complete("a", {"loss": 1.0})
    assert around.suggest("b")["gap"]["mode"] == "fixed"


def test_a_repeater_around_repeats_each_trial_of_a_pair() -> None:
    inner = Proposing()
    repeated = Repeater(GapSearch(inner, baselines=[0.9]), 2)
    found = suggestions(repeated, 0, 4)
    assert [c["gap"]["mode"] for c in found.values()] == ["scheduler"] * 2 + ["fixed"] * 2
    for name, loss in zip(found, (1.0, 3.0, 5.0, 7.0), strict=True):
        repeated.on_trial_complete(name, {"loss": loss})
    assert list(inner.ended.values()) == [(2.0, False)]


def test_a_baseline_that_was_evaluated_is_known_by_the_learning_rate_that_was_searched() -> None:
    inner = OptunaSearch(storage=(storage := InMemoryStorage()))
    search = GapSearch(inner, lr="lr", baselines=[0.5])
    assert search.set_search_properties("loss", "min", SPACE)
    baseline = suggestions(search, 0, 2)["trial 1"]
    search.add_evaluated_point(baseline, 0.5)
    asked, added = optuna_trials(storage)
    assert added.params == asked.params


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"baselines": [1.0]}, r"baselines must be a number in \[0, 1\), but got 1.0"),
        ({"baselines": [0.9, 0.9]}, r"baselines must be different momenta, but got \(0.9, 0.9\)"),
        ({"baselines": 0.9}, r"baselines must be momenta such as \(0.9,\), but got 0.9"),
        ({"baselines": "0.9"}, r"baselines must be momenta such as \(0.9,\), but got '0.9'"),
        ({"baselines": [None]}, r"baselines must be a number in \[0, 1\), but got None"),
        ({"seeds": 0}, "seeds must be an integer of at least 1, but got 0"),
        ({"seeds": 2.0}, "seeds must be an integer of at least 1, but got 2.0"),
        ({"seeds": 2, "baselines_share": 0}, r"baselines_share must be a number in \(0, 1\]"),
        ({"seeds": 2, "baselines_share": 1.5}, r"baselines_share must be a number in \(0, 1\]"),
        ({"baselines_share": 0.5}, "baselines_share must come with baselines or with more than"),
        ({"searcher": Repeater(Proposing(), 2), "seeds": 2}, "but got a Repeater: take it away"),
    ],
)
def test_arguments_that_make_no_pairs_are_refused(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(GapTuneError, match=complaint):
        GapSearch(**options)


def test_a_seed_in_param_space_must_be_one_to_count_from() -> None:
    search = GapSearch(Listed(), baselines=[0.9])
    with pytest.raises(GapTuneError, match="'seed' in param_space must be an integer"):
        search.set_search_properties("loss", "min", {"seed": "a"})
    GapSearch(Listed()).set_search_properties("loss", "min", {"seed": "a"})


def test_a_study_that_would_end_within_a_pair_is_told_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    search = GapSearch(Listed(), baselines=[0.9], seeds=3, baselines_share=0.5)
    # Six trials, one, six, one.
    search.set_search_properties("loss", "min", {}, num_samples=14)
    search.set_search_properties("loss", "min", {}, num_samples=-1)
    assert not caplog.records
    search.set_search_properties("loss", "min", {}, num_samples=10)
    assert "7 make 2 whole ones, 13 make 3" in caplog.text
