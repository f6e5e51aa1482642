"""Whole answers: no gain where there is none, the gain where it was put in, on real schedulers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gap_tune.errors import InvalidValueError, StateError
from gap_tune.simulation.answers.answer import Answer
from gap_tune.simulation.answers.methods import Method
from gap_tune.simulation.answers.reached import TRIALS
from gap_tune.simulation.answers.running import Conditions, run_studies
from gap_tune.simulation.answers.setting import Setting
from gap_tune.simulation.answers.studies import Studies
from gap_tune.simulation.cluster import Cluster
from tests.simulation.answers.tasks import CANDIDATES, REPORTS, Descent, Valley

CONDITIONS = Conditions(trials=9, repeats=2, cluster=Cluster(trials_per_node=4))


def run(settings: Sequence[Setting], *methods: str, conditions: Conditions = CONDITIONS) -> Studies:
    return run_studies(settings, [Method.parse(name) for name in methods], conditions)


@pytest.fixture(scope="module")
def useless() -> Answer:
    """Momentum is of no account: whoever searches it draws learning rates from the same law."""
    settings = [Valley(f"flat {place}", noise=0.02 * place).setting() for place in range(1, 4)]
    return Answer(run(settings, "gap+random+fifo", "sweep+random+fifo"))


@pytest.fixture(scope="module")
def useful() -> Answer:
    """The right momentum changes halfway: no fixed one can be right all the time."""
    settings = [
        Valley(f"turning {place}", price=0.1 * place, rights=(0.5, 0.99)).setting()
        for place in range(1, 4)
    ]
    return Answer(run(settings, "gap+random+fifo", "sweep+random+fifo", "fixed:0.9+random+fifo"))


def test_where_momentum_is_of_no_account_there_is_no_gain(useless: Answer) -> None:
    assert useless.kind in ("no gain", "as good")
    assert useless.pairs[0].end.ratio == pytest.approx(1.0, abs=0.05)
    assert useless.headline.startswith(("No gain shown", "As good"))


def test_a_gain_that_was_put_in_is_found(useful: Answer) -> None:
    assert [pair.kind for pair in useful.pairs] == ["gain", "gain"]
    assert [pair.rival for pair in useful.pairs] == ["sweep+random+fifo", "fixed:0.9+random+fifo"]
    assert useful.headline.startswith("Gain")
    # By the formula every fixed momentum pays for half of its reports at least, GAP for few.
    assert useful.pairs[0].end.high < 1.0
    assert useful.pairs[0].trials.value < 9


def test_a_loss_is_said_as_well(useful: Answer) -> None:
    swapped = Answer(useful.studies)
    curves = swapped.curves
    assert curves.standing("sweep+random+fifo", "gap+random+fifo").kind == "behind"
    assert not curves.to_match("sweep+random+fifo", "gap+random+fifo", TRIALS, 9).is_reached


def test_the_evidence_is_the_settings_and_the_answer_says_so(useless: Answer) -> None:
    assert "The unit of evidence is the setting, 3 in all" in " ".join(useless.sentences)
    alone = Answer(run([Valley().setting()], "gap+random+fifo", "sweep+random+fifo"))
    assert alone.kind == "undecided"


def test_hindsight_is_the_best_of_the_grid(useful: Answer) -> None:
    # At the best learning rate, 0.1, which is in the grid of five, it pays for half its reports.
    found = useful.studies.hindsight["turning 1"]
    assert found.reference == pytest.approx(2.0 * (1.0 + 0.1 * REPORTS / 2))


def test_momenta_that_are_worse_are_told_from_those_that_are_not() -> None:
    # 0.9 is right all the time; with 0.5 and 0.99 every report costs, whatever the seed.
    setting = Valley(price=0.05, noise=0.001).setting(seeds=(0, 1, 2, 3))
    answer = Answer(run([setting], "sweep+grid+fifo", "sweep+random+asha"))
    assert answer.worse("valley") == [0.5, 0.99]
    grid, _ = answer.waste
    # Nine trials of a grid are three of each momentum.
    assert grid.share == pytest.approx(2 / 3)
    flat = Answer(run([Valley(noise=0.02).setting(seeds=(0, 1, 2, 3))], "sweep+grid+fifo"))
    assert flat.worse("valley") == []
    assert flat.waste[0].share == 0.0


def test_population_based_training_costs_as_much_as_others() -> None:
    studies = run([Valley(price=0.05).setting()], "sweep+random+pbt", "sweep+random+fifo")
    assert studies.cost("sweep+random+fifo") == 9.0
    assert studies.cost("sweep+random+pbt") == pytest.approx(9.0, rel=0.1)
    answer = Answer(studies)
    ((method, population, _),) = answer.populations
    assert (method, population) == ("sweep+random+fifo", "sweep+random+pbt")


def test_bug_population_based_training_keeps_momenta_and_rates_that_there_are() -> None:
    used: list[tuple[float, float]] = []

    class Noted(Valley):
        def begin(self, config: Mapping[str, Any]) -> Descent:
            used.append((config["momentum"], config["lr"]))
            begun = super().begin(config)
            begun.changed_to = used
            return begun

    task = Noted(price=0.05)
    run([Setting(task, (0.01, 1.0), CANDIDATES, (0, 1), rates=3)], "sweep+random+pbt")
    assert len(set(used)) > 9 + 9
    assert {momentum for momentum, _ in used} == set(CANDIDATES)
    assert all(0.01 <= lr <= 1.0 for _, lr in used)


def test_slots_make_a_study_shorter_and_nothing_else() -> None:
    settings = [Valley(price=0.05, rights=(0.5, 0.99)).setting()]
    one, nine = (
        run(
            settings,
            "sweep+random+fifo",
            conditions=Conditions(trials=9, repeats=2, cluster=Cluster(trials_per_node=slots)),
        )
        for slots in (1, 9)
    )
    assert one.seconds("sweep+random+fifo") == pytest.approx(9 * REPORTS)
    assert nine.seconds("sweep+random+fifo") == pytest.approx(REPORTS)
    key = ("valley", "sweep+random+fifo")
    for first, second in zip(one.outcomes[key], nine.outcomes[key], strict=True):
        assert first.after_trials.tolist() == second.after_trials.tolist()


def test_trials_take_as_long_as_asked_for() -> None:
    conditions = Conditions(2, 2, Cluster(trials_per_node=2), trial_seconds=600.0)
    studies = run([Valley(seconds=0.3).setting()], "fixed:0.9+random", conditions=conditions)
    assert studies.seconds("fixed:0.9+random+fifo") == pytest.approx(600.0)
    tuned = replace(conditions, step_cost=1.25)
    studies = run([Valley(seconds=0.3).setting()], "gap+random", conditions=tuned)
    assert studies.seconds("gap+random+fifo") == pytest.approx(750.0)


def test_the_same_arguments_give_the_same_studies_whatever_the_order() -> None:
    settings = [Valley(noise=0.1).setting()]
    one = run(settings, "gap+tpe+asha", "sweep+random+median")
    other = run(settings, "sweep+random+median", "gap+tpe+asha")
    for key, outcomes in one.outcomes.items():
        for first, second in zip(outcomes, other.outcomes[key], strict=True):
            assert np.array_equal(first.after_trials, second.after_trials)
            assert np.array_equal(first.at_moments, second.at_moments)


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(InvalidValueError, match="settings must be some, each once"):
        run([], "gap+random")
    with pytest.raises(InvalidValueError, match="methods must be some, each once"):
        run([Valley().setting()], "gap+random", "gap+random+fifo")
    with pytest.raises(StateError, match="must end with a finite loss"):
        run([Valley(price=np.inf, rights=(0.7,)).setting()], "gap+random")
