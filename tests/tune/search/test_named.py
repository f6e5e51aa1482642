"""Searchers by name: random search stays random, and is what Optuna itself would draw."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest
from ray import tune
from ray.tune.search.optuna import OptunaSearch

from gap_tune import GapSearch
from gap_tune.errors import InvalidValueError, UnsupportedError

SPACE = {"lr": tune.loguniform(1e-3, 1.0)}
SEEDED = {"name": "random", "seed": 7}


def suggested(search: GapSearch, count: int = 20, *, first: int = 0) -> list[float]:
    """Return the learning rates of trials that end one by one, the better the lower they are."""
    found = []
    for i in range(first, first + count):
        lr = search.suggest(f"trial-{i}")["lr"]
        search.on_trial_complete(f"trial-{i}", {"loss": lr})
        found.append(lr)
    return found


def prepared(searcher: Any) -> GapSearch:
    search = GapSearch(searcher)
    assert search.set_search_properties("loss", "min", SPACE)
    return search


def test_random_search_draws_what_optunas_sampler_draws_whatever_it_is_told() -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=7))
    lr = optuna.distributions.FloatDistribution(1e-3, 1.0, log=True)
    expected = [study.ask({"lr": lr}).params["lr"] for _ in range(20)]
    assert suggested(prepared(SEEDED)) == expected
    # Without a seed two studies differ.
    assert suggested(prepared("random")) != suggested(prepared("random"))


def test_the_default_is_optunas_tpe_which_learns() -> None:
    seeded = {"name": "tpe", "seed": 7}
    expected = suggested(prepared(OptunaSearch(seed=7)), 30)
    assert suggested(prepared(seeded), 30) == expected
    late = suggested(prepared(None), 40)[20:]
    # Low learning rates were the better ones: half of random draws would be above this.
    assert sum(lr > 10**-1.5 for lr in late) < 5


def test_a_random_search_that_is_resumed_goes_on_as_if_it_had_not_stopped(tmp_path: Path) -> None:
    whole = suggested(prepared(SEEDED), 10)
    stopped, resumed = prepared(SEEDED), prepared("random")
    first = suggested(stopped, 4)
    stopped.save(str(tmp_path / "search.pkl"))
    resumed.restore(str(tmp_path / "search.pkl"))
    assert first + suggested(resumed, 6, first=4) == whole


@pytest.mark.parametrize(
    ("searcher", "kind", "complaint"),
    [
        ("grid", InvalidValueError, r"one of \['random', 'tpe'\], but got 'grid'"),
        ({"seed": 7}, InvalidValueError, r"one of \['random', 'tpe'\], but got None"),
        ({"name": "random", "seed": -1}, InvalidValueError, "seed must be an integer of at least"),
        ({"name": "random", "seeds": 3}, InvalidValueError, r"name and seed, but got \['seeds'\]"),
        (3, UnsupportedError, "Searcher or the name of one, but got int"),
    ],
)
def test_other_names_and_options_are_refused(searcher: Any, kind: Any, complaint: str) -> None:
    with pytest.raises(kind, match=complaint):
        GapSearch(searcher)
