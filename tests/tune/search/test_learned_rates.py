"""Later trials start at the learning rate that earlier ones came to train with."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ray import tune
from ray.tune.search import ConcurrencyLimiter, Repeater, Searcher
from ray.tune.search.optuna import OptunaSearch

from gap_tune import GapSearch, TrustRegion
from gap_tune.errors import InvalidValueError
from gap_tune.tune import keys
from gap_tune.tune.search.learned_rates import SHARE, SPREAD, LearnedRates

LOW, HIGH = 1e-3, 1.0


def search(inner: Searcher | None = None, **options: Any) -> GapSearch:
    inner = OptunaSearch(sampler=optuna.samplers.RandomSampler(seed=0)) if inner is None else inner
    found = GapSearch(inner, **{"lr": "lr", "trust_region": TrustRegion(), **options})
    found.set_search_properties("loss", "min", {"lr": tune.loguniform(LOW, HIGH)})
    return found


def ends(
    searcher: GapSearch, trial: str, loss: float, scale: float, steps: int = 100, reports: int = 8
) -> None:
    for report in range(1, reports + 1):
        # What trained in the middle counts, not the start of the scale or its end.
        part = scale if reports // 4 < report <= reports - reports // 4 else 0.2
        result = {"loss": loss, keys.SCALE: part, keys.STEPS: steps * report // reports}
        searcher.on_trial_result(trial, result)
    searcher.on_trial_complete(trial, {"loss": loss})


def test_the_next_trials_start_around_what_the_best_one_trained_with() -> None:
    searcher = search()
    first, second = searcher.suggest("a"), searcher.suggest("b")
    assert "lr_reason" not in first["gap"]
    assert first["gap"]["trust_region"]["span"] == TrustRegion().span
    ends(searcher, "a", loss=0.5, scale=2.0)
    ends(searcher, "b", loss=0.9, scale=8.0)
    wanted = first["lr"] * 2.0**SHARE
    for i in range(20):
        later = searcher.suggest(f"later{i}")
        assert LOW <= later["lr"] <= HIGH
        assert abs(math.log(later["lr"] / wanted)) <= SPREAD + 1e-9 or later["lr"] in (LOW, HIGH)
        assert later["gap"]["lr_reason"] == "trial a came to train with 2 times its learning rate"
        assert later["gap"]["trust_region"]["span"] == 3.0
        # The momentum's own coupling is beside it.
        assert later["gap"]["searched_lr"] == later["lr"]
    assert second["lr"] != later["lr"]


def test_trials_that_were_stopped_early_are_not_compared() -> None:
    searcher = search()
    first, _ = searcher.suggest("a"), searcher.suggest("stopped")
    ends(searcher, "stopped", loss=0.1, scale=5.0, steps=10)
    ends(searcher, "a", loss=0.5, scale=2.0, steps=100)
    assert searcher.suggest("later")["gap"]["lr_reason"].startswith("trial a ")
    assert first["lr"] > 0


@pytest.mark.parametrize("loss", [math.nan, None])
def test_trials_that_failed_teach_nothing(loss: float | None) -> None:
    searcher = search()
    searcher.suggest("a")
    searcher.on_trial_result("a", {"loss": 0.1, keys.SCALE: 2.0, keys.STEPS: 10})
    if loss is None:
        searcher.on_trial_complete("a", error=True)
    else:
        searcher.on_trial_complete("a", {"loss": loss})
    assert "lr_reason" not in searcher.suggest("b")["gap"]


@pytest.mark.parametrize(
    "options",
    [{"lr": None}, {"trust_region": TrustRegion.off()}, {"trust_region": {"span": 1}}],
    ids=["no key", "no region", "a region of one size"],
)
def test_without_a_key_or_a_region_nothing_is_learned(options: dict[str, Any]) -> None:
    searcher = search(**options)
    searcher.suggest("a")
    ends(searcher, "a", loss=0.5, scale=2.0)
    assert "lr_reason" not in searcher.suggest("b")["gap"]


def test_by_default_trials_learn_and_configurations_are_left_alone_before() -> None:
    searcher = search(trust_region=None)
    first = searcher.suggest("a")
    assert "trust_region" not in first["gap"]
    ends(searcher, "a", loss=0.5, scale=2.0)
    later = searcher.suggest("b")["gap"]
    assert later["lr_reason"].startswith("trial a ")
    assert later["trust_region"]["span"] == 3.0


def test_with_the_papers_rule_nothing_is_learned() -> None:
    searcher = GapSearch(OptunaSearch(), lr="lr")
    space = {"lr": tune.loguniform(LOW, HIGH), "gap": {"rule": "paper"}}
    searcher.set_search_properties("loss", "min", space)
    searcher.suggest("a")
    ends(searcher, "a", loss=0.5, scale=2.0)
    assert not {"lr_reason", "trust_region"} & searcher.suggest("b")["gap"].keys()


def test_a_suggested_region_that_is_none_is_off() -> None:
    searcher = GapSearch(OptunaSearch(), lr="lr")
    space = {"lr": tune.loguniform(LOW, HIGH), "gap": {"trust_region": tune.choice(["on"])}}
    searcher.set_search_properties("loss", "min", space)
    assert searcher.suggest("a")["gap"]["trust_region"]["span"] == 1.0


def test_repeats_of_a_configuration_stay_equal() -> None:
    inner = OptunaSearch(sampler=optuna.samplers.RandomSampler(seed=0))
    searcher = search(Repeater(inner, repeat=2))
    suggestions = [searcher.suggest("a"), searcher.suggest("b")]
    ends(searcher, "a", loss=0.5, scale=2.0)
    assert suggestions[0]["lr"] == suggestions[1]["lr"]
    assert "lr_reason" not in searcher.suggest("c")["gap"]


def test_optuna_is_told_what_was_used_in_place_of_what_it_suggested() -> None:
    storage = optuna.storages.InMemoryStorage()
    inner = OptunaSearch(
        sampler=optuna.samplers.RandomSampler(seed=0), storage=storage, study_name="told"
    )
    searcher = search(ConcurrencyLimiter(inner, max_concurrent=4))
    first = searcher.suggest("a")
    ends(searcher, "a", loss=0.5, scale=2.0)
    later = searcher.suggest("b")
    ends(searcher, "b", loss=0.25, scale=1.0)
    study = optuna.load_study(study_name="told", storage=storage)
    done = [t for t in study.trials if t.state is optuna.trial.TrialState.COMPLETE]
    told = {trial.params["lr"]: trial.value for trial in done}
    assert told == {first["gap"]["searched_lr"]: 0.5, later["gap"]["searched_lr"]: 0.25}


class Counting(optuna.samplers.TPESampler):
    """Notes of how many results a suggestion was made."""

    def __init__(self) -> None:
        super().__init__(n_startup_trials=3, seed=0)
        self.results: list[int] = []

    def infer_relative_search_space(self, study: Any, trial: Any) -> Any:
        counted = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)
        self.results.append(len(study.get_trials(deepcopy=False, states=counted)))
        return super().infer_relative_search_space(study, trial)


def test_a_suggestion_that_was_moved_is_no_result_of_its_own() -> None:
    storage, sampler = optuna.storages.InMemoryStorage(), Counting()
    searcher = search(OptunaSearch(sampler=sampler, storage=storage, study_name="counted"))
    used = {}
    for i in range(8):
        used[f"t{i}"] = searcher.suggest(f"t{i}")["gap"]["searched_lr"]
        if i == 5:
            searcher.on_trial_complete("t5", error=True)
        else:
            ends(searcher, f"t{i}", loss=1.0 / (1 + i), scale=2.0)
    del used["t5"]
    study = optuna.load_study(study_name="counted", storage=storage)
    states = [trial.state.name for trial in study.trials]
    # One result per trial that gave one, and the suggestions of all but the first failed.
    assert (states.count("COMPLETE"), states.count("FAIL"), len(states)) == (7, 7, 14)
    assert [t.params["lr"] for t in study.trials if t.value is not None] == list(used.values())
    assert study.best_params == {"lr": used["t7"]}
    # The sampler begins to choose after as many trials as without any that are moved.
    assert sampler.results == [0, 1, 2, 3, 4, 5, 5, 6]


def test_bug_a_suggestion_nobody_trained_had_the_result_where_optuna_took_no_other() -> None:
    class Refusing(OptunaSearch):
        def add_evaluated_point(self, *args: Any, **kwargs: Any) -> None:
            raise ValueError("no")

    storage = optuna.storages.InMemoryStorage()
    searcher = search(Refusing(storage=storage, study_name="refused"))
    for i in range(2):
        searcher.suggest(f"t{i}")
        ends(searcher, f"t{i}", loss=0.5, scale=2.0)
    study = optuna.load_study(study_name="refused", storage=storage)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "FAIL"]


def test_what_was_learned_survives_a_restart(tmp_path: Any) -> None:
    searcher = search()
    searcher.suggest("a")
    ends(searcher, "a", loss=0.5, scale=2.0)
    searcher.suggest("running")
    searcher.save(str(tmp_path / "state"))
    state = searcher.get_state()
    assert json.loads(json.dumps(state["rates"])) == state["rates"]
    again = search()
    again.restore(str(tmp_path / "state"))
    assert again.suggest("b") == searcher.suggest("b")
    ends(again, "running", loss=0.1, scale=3.0)
    assert again.suggest("c")["gap"]["lr_reason"].startswith("trial running ")


def test_bug_a_trial_that_was_stopped_early_moved_all_others() -> None:
    """ASHA ends the worst trials first: those that still run have trained longer."""
    searcher = search()
    for name in ("a", "stopped"):
        searcher.suggest(name)
    searcher.on_trial_result("a", {"loss": 0.3, keys.SCALE: 1.0, keys.STEPS: 300})
    ends(searcher, "stopped", loss=9.0, scale=0.5, steps=100)
    assert "lr_reason" not in searcher.suggest("b")["gap"]
    searcher.on_trial_complete("a", {"loss": 0.3})
    assert searcher.suggest("c")["gap"]["lr_reason"].startswith("trial a ")


def test_numbers_of_numpy_are_numbers() -> None:
    searcher = search()
    searcher.suggest("a")
    result = {"loss": np.float32(0.5), keys.SCALE: np.float64(2.0), keys.STEPS: 100}
    searcher.on_trial_result("a", result)
    searcher.on_trial_complete("a", result)
    assert "lr_reason" in searcher.suggest("b")["gap"]


ENDED = st.lists(st.tuples(st.integers(1, 12), st.sampled_from([0.1, 0.2, 0.3])), max_size=12)


@given(ENDED, st.integers(0, 14), st.sampled_from(["min", "max"]))
def test_the_best_is_that_of_all_trials_that_ended(
    ended: list[tuple[int, float]], running: int, mode: str
) -> None:
    rates = LearnedRates()
    for i, (steps, value) in enumerate(ended):
        rates.suggest(f"{i}", 0.1, None, mode)
        rates.take(f"{i}", {keys.SCALE: 1.0, keys.STEPS: steps})
        rates.finish(f"{i}", value)
    rates.suggest("running", 0.1, None, mode)
    rates.take("running", {keys.SCALE: 1.0, keys.STEPS: running})
    again = LearnedRates()
    again.load_state(rates.state())
    longest = max([running, *(steps for steps, _ in ended)])
    able = [(value, i) for i, (steps, value) in enumerate(ended) if steps >= 0.9 * longest]
    sign = 1 if mode == "min" else -1
    wanted = min(able, key=lambda each: (sign * each[0], each[1]), default=None)
    for each in (rates, again):
        best = each.best(mode)
        assert (best and int(best.trial)) == (wanted and wanted[1])


def test_bug_every_trial_that_ended_was_looked_at_for_each_new_one() -> None:
    searcher = search(OptunaSearch(sampler=optuna.samplers.RandomSampler(seed=0)))
    for i in range(300):
        searcher.suggest(f"t{i}")
        ends(searcher, f"t{i}", loss=math.sin(i), scale=2.0, steps=90 + i % 10, reports=1)
    assert len(searcher.get_state()["rates"]["finished"]) <= 20


@pytest.mark.parametrize("reports", [600, 5000])
def test_the_mean_scale_of_many_reports_is_that_of_all(reports: int) -> None:
    rates = LearnedRates()
    rates.suggest("a", 0.1, None, "min")
    for report in range(reports):
        rates.take("a", {keys.SCALE: math.exp(report / reports), keys.STEPS: report})
    rates.finish("a", 0.5)
    best = rates.best("min")
    assert best is not None
    assert best.log_scale == pytest.approx(0.5, abs=0.02)


def test_a_region_narrower_than_ours_stays_as_narrow() -> None:
    searcher = search(trust_region={"span": 1.5, "floor": 0.6, "start": 0.9})
    searcher.suggest("a")
    ends(searcher, "a", loss=0.5, scale=1.2)
    later = searcher.suggest("b")["gap"]["trust_region"]
    assert (later["span"], later["floor"]) == (1.5, 0.6)
    assert 0.6 <= later["start"] <= 1.5


def test_points_that_a_user_asked_for_are_evaluated_where_they_are() -> None:
    points = [{"lr": 0.5}, {"lr": 0.001}, {"lr": 0.25}]
    searcher = search(OptunaSearch(points_to_evaluate=points))
    used = []
    for i in range(3):
        used.append(searcher.suggest(f"t{i}")["gap"]["searched_lr"])
        ends(searcher, f"t{i}", loss=0.5, scale=4.0)
    assert used == [0.5, 0.001, 0.25]


def test_what_is_searched_in_the_section_reaches_optuna_as_well() -> None:
    storage = optuna.storages.InMemoryStorage()
    inner = OptunaSearch(storage=storage, study_name="ruled")
    searcher = GapSearch(inner, lr="lr", trust_region={})
    space = {"lr": tune.loguniform(LOW, HIGH), "gap": {"rule": tune.choice(["paper", "alignment"])}}
    searcher.set_search_properties("loss", "min", space)
    for i in range(3):
        searcher.suggest(f"t{i}")
        ends(searcher, f"t{i}", loss=0.5, scale=2.0)
    study = optuna.load_study(study_name="ruled", storage=storage)
    done = [t for t in study.trials if t.state is optuna.trial.TrialState.COMPLETE]
    assert len(done) == 3
    assert all(set(trial.params) == {"lr", "gap/rule"} for trial in done)


@pytest.mark.parametrize("region", [TrustRegion(), {"span": 4.0}])
def test_a_region_may_stand_in_the_space(region: Any) -> None:
    searcher = GapSearch(OptunaSearch(), lr="lr")
    space = {"lr": tune.loguniform(LOW, HIGH), "gap": {"trust_region": region}}
    searcher.set_search_properties("loss", "min", space)
    for i in range(2):
        section = searcher.suggest(f"t{i}")["gap"]
        assert section["trust_region"]["gain"] == TrustRegion().gain
        ends(searcher, f"t{i}", loss=0.5, scale=2.0)


def test_a_region_that_is_none_is_refused_where_the_study_begins() -> None:
    searcher = GapSearch(OptunaSearch(), lr="lr")
    space = {"lr": tune.loguniform(LOW, HIGH), "gap": {"trust_region": {"spam": 1}}}
    with pytest.raises(InvalidValueError, match="must be a mapping of"):
        searcher.set_search_properties("loss", "min", space)


def test_a_state_of_before_regions_leaves_the_region_on(tmp_path: Any) -> None:
    searcher = search()
    state = searcher.get_state()
    for name in ("of_all", "rates", "moved"):
        del state[name]
    searcher.set_state(state)
    assert searcher.suggest("a")["gap"]["trust_region"]["span"] == TrustRegion().span


ENDED = st.tuples(
    st.sampled_from([10.0, 20.0, 95.0, 100.0, 300.0]), st.sampled_from([1.0, 2.0, 3.0])
)


@given(st.lists(ENDED, max_size=40), st.sampled_from(["min", "max"]))
def test_the_best_of_thousands_is_found_among_the_few_that_are_kept(
    ended: list[tuple[float, float]], mode: str
) -> None:
    rates, known = LearnedRates(), []
    for number, (steps, value) in enumerate(ended):
        trial = f"{number}"
        rates.suggest(trial, 0.1, None, mode)
        rates.take(trial, {keys.SCALE: 2.0, keys.STEPS: steps})
        rates.finish(trial, value)
        known.append((trial, steps, value))
        longest = max(steps for _, steps, _ in known)
        sign = 1.0 if mode == "min" else -1.0
        comparable = [each for each in known if each[1] >= 0.9 * longest]
        best = rates.best(mode)
        assert best is not None
        assert best.trial == min(comparable, key=lambda each: sign * each[2])[0]
        # One for each length at most, and as many where more is better.
        assert len(rates.state()["finished"]) <= 10
