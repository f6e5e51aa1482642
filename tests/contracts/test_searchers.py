"""The facts about Ray's searchers, and about what becomes of their suggestions."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import optuna
import pytest
from ray import tune
from ray.tune.experiment import Experiment, Trial
from ray.tune.search import ConcurrencyLimiter, Repeater, Searcher, SearchGenerator
from ray.tune.search.optuna import OptunaSearch

from gap_tune.tune.ray_private import searchers


class Unnamed(dict[str, Any]):
    """Notes who asks for its items, and has none."""

    callers: list[str]

    def items(self) -> Any:
        self.callers.append(sys._getframe(1).f_code.co_name)
        return {}.items()

    def __deepcopy__(self, memo: dict[int, Any]) -> Unnamed:
        copied = Unnamed(self)
        copied.callers = self.callers
        return copied


class Suggesting(Searcher):  # type: ignore[misc]
    """Suggests one configuration, and notes the space that it is told."""

    def __init__(self) -> None:
        super().__init__(metric="loss", mode="min")
        self.told: dict[str, Any] = {}
        self.own = Unnamed(a=1)
        self.own.callers = []

    def set_search_properties(
        self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any
    ) -> bool:
        self.told = config
        return True

    def suggest(self, trial_id: str) -> dict[str, Any]:
        return {"lr": 0.1, "inner": {"own": self.own}}


def suggested(searcher: Suggesting, space: dict[str, Any], folder: Path) -> Trial:
    """Return the trial that Ray makes of what a searcher suggests."""
    experiment = Experiment("e", lambda config: None, config=space, storage_path=str(folder))
    generator = SearchGenerator(searcher)
    generator.add_configurations(experiment)
    generator.set_search_properties("loss", "min", experiment.spec["config"])
    return generator.next_trial()


def test_fact_18_a_trial_is_named_after_the_items_of_the_dicts_in_its_configuration(
    tmp_path: Path,
) -> None:
    searcher = Suggesting()
    trial = suggested(searcher, {"inner": {"x": 1}}, tmp_path)
    assert trial.experiment_tag == "1_x=1,lr=0.1000", "trials are named otherwise"
    assert trial.evaluated_params == {"lr": 0.1}, "what was suggested is shown otherwise"
    named, shown, *_ = searcher.own.callers
    assert (named, shown) == ("_resolve_nested_dict", "flatten_dict")
    assert type(trial.config["inner"]["own"]) is Unnamed, "a suggestion's dicts are replaced"


def test_fact_19_a_searcher_is_told_the_space_that_suggestions_are_merged_into(
    tmp_path: Path,
) -> None:
    searcher, space = Suggesting(), {"inner": {"x": 1}}
    trial = suggested(searcher, space, tmp_path)
    assert searcher.told is space, "a searcher is told a copy of the space"
    assert trial.config["inner"]["x"] == 1
    assert trial.config["lr"] == 0.1


def test_fact_22_optuna_keeps_the_space_and_the_points_that_it_was_given() -> None:
    def define(trial: optuna.Trial) -> None:
        trial.suggest_float("lr", 0.1, 1.0)

    axis, point = optuna.distributions.FloatDistribution(0.1, 1.0), {"lr": 0.2}
    given = OptunaSearch({"lr": axis}, metric="loss", mode="min", points_to_evaluate=[point])
    message = "the space of an OptunaSearch is kept elsewhere"
    assert searchers.own_space(given) == searchers.given_space(given) == {"lr": axis}, message
    assert searchers.own_points(given) == [point], "points to evaluate are kept elsewhere"
    by_run = OptunaSearch(define, metric="loss", mode="min")
    assert searchers.given_space(by_run) is define, message
    assert searchers.own_space(by_run) == {}


def test_fact_22_optuna_makes_its_space_by_path() -> None:
    made = OptunaSearch(metric="loss", mode="min")
    assert not searchers.given_space(made), "an OptunaSearch has a space before it is told one"
    made.set_search_properties("loss", "min", {"loop": {"lr": tune.uniform(0.1, 1.0)}})
    assert list(searchers.own_space(made)) == ["loop/lr"]


def test_fact_23_a_searcher_shows_metric_and_mode_that_were_put_into_it() -> None:
    searcher = Searcher()
    searchers.remember(searcher, "loss", "min")
    assert (searcher.metric, searcher.mode) == ("loss", "min"), "metric and mode are kept elsewhere"
    searchers.remember(searcher, None, None)
    assert (searcher.metric, searcher.mode) == (None, None)


class Counting(Searcher):  # type: ignore[misc]
    """Wraps another searcher under a name, and has a state of its own."""

    def __init__(self, wrapped: Searcher, name: str) -> None:
        setattr(self, name, wrapped)
        super().__init__(metric="loss", mode="min")
        self.count = 0

    def get_state(self) -> dict[str, int]:
        return {"count": self.count}

    def set_state(self, state: dict[str, int]) -> None:
        self.count = state["count"]


@pytest.mark.parametrize(("name", "found"), [("searcher", 1), ("another", 0)])
def test_fact_24_ray_finds_states_of_what_is_wrapped_by_one_name(
    tmp_path: Path, name: str, found: int
) -> None:
    class Nothing(Searcher):  # type: ignore[misc]
        def save(self, checkpoint_path: str) -> None:
            Path(checkpoint_path).write_text("")

        def restore(self, checkpoint_path: str) -> None:
            pass

        save_to_dir = restore_from_dir = lambda *_, **__: None

    counting = Counting(Nothing(), name)
    counting.count = 1
    if name != "searcher":
        counting.save_to_dir = counting.restore_from_dir = lambda *_, **__: None
    SearchGenerator(counting).save_to_dir(str(tmp_path), "session")
    counting.count = 0
    SearchGenerator(counting).restore_from_dir(str(tmp_path))
    assert counting.count == found, "Ray finds what a searcher wraps by another name"


def test_fact_24_rays_own_wrappers_keep_what_they_wrap_as_searcher() -> None:
    inner = OptunaSearch(metric="loss", mode="min")
    limited = ConcurrencyLimiter(inner, max_concurrent=1)
    repeated = Repeater(limited, repeat=2)
    assert list(searchers.chain(repeated)) == [repeated, limited, inner]
    assert searchers.innermost(repeated) is inner
