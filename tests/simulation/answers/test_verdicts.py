"""How often answers are wrong where the truth is known, and what they say of made-up studies."""

from __future__ import annotations

import numpy as np
import pytest

from gap_tune.simulation.answers.answer import Answer
from gap_tune.simulation.answers.stopping import EarlyStopping, Judged, RunOn
from tests.simulation.answers.made_up import outcome, random_answer, studies

PAIR = ("gap+random+fifo", "sweep+random+fifo")


def drawn(seed: int, better: float, settings: int = 12) -> Answer:
    """Two methods whose losses follow one law, but for a factor."""
    random = np.random.default_rng(seed)
    made = {
        method: [
            [outcome((1.0 + random.exponential(0.5, size=6) * factor).tolist()) for _ in range(4)]
            for _ in range(settings)
        ]
        for method, factor in zip(PAIR, (better, 1.0), strict=True)
    }
    return Answer(studies(made, ceiling=9.0))


def test_without_any_difference_a_gain_is_said_as_seldom_as_a_loss() -> None:
    kinds = [drawn(seed, 1.0).kind for seed in range(24)]
    # Three looks at 5 % each, none of them independent of the others.
    assert kinds.count("gain") + kinds.count("loss") <= 4
    assert kinds.count("no gain") + kinds.count("as good") >= 18


def test_a_large_difference_is_said_either_way() -> None:
    assert {drawn(seed, 0.2).kind for seed in range(5)} == {"gain"}
    assert {drawn(seed, 5.0).kind for seed in range(5)} == {"loss"}


def test_a_loss_is_told_in_the_headline() -> None:
    headline = drawn(0, 5.0).headline
    assert headline.startswith("Loss: 6 simulated trials of gap+random+fifo end at +")
    assert "not as good as all of its trials" in headline


def judged(best: float) -> Judged:
    return Judged(0.6, best, best, 0.0, 0.5, 0.5)


@pytest.mark.parametrize(
    ("with_gap", "without", "said"),
    [(1.0, 0.0, "more often"), (0.0, 1.0, "less often"), (0.5, 0.5, "is not shown to stop")],
)
def test_early_stopping_is_said_to_be_wrong_more_often_or_less_or_neither(
    with_gap: float, without: float, said: str
) -> None:
    own, other = ([[judged(value)] * 2] * 3 for value in (with_gap, without))
    found = EarlyStopping.of(("gap+tpe+asha", "sweep+tpe+asha"), own, other, seeds=2)
    assert said in found.sentence
    assert found.sentence.startswith("ASHA ")


def test_what_one_setting_cannot_tell_is_not_told() -> None:
    own, other = ([[judged(value)] * 2] for value in (1.0, 0.0))
    names = ("gap+random+median", "sweep+random+median")
    sentence = EarlyStopping.of(names, own, other, seeds=2).sentence
    assert "one setting cannot tell" in sentence
    assert sentence.startswith("The median rule ")


def test_stopping_is_judged_by_the_ends_that_trials_would_have_had() -> None:
    ends = np.array([0.4, 0.1, 0.3, 0.2])
    study = RunOn(
        early=np.array([0.5, 0.9, 0.6, 0.7]),
        validation=ends,
        test=2 * ends,
        stopped=np.array([False, True, False, True]),
        kept=0.6,
    )
    found = Judged.of(study)
    assert found.stopped == 0.5
    # The best of all was stopped, and so was all of the best tenth; the second best as well.
    assert (found.best, found.top) == (1.0, 1.0)
    assert found.rank == pytest.approx((0 + 1) / 2 / 3)
    assert found.regret == pytest.approx(np.log(0.6 / 0.2))
    # Early ranks 0, 3, 1, 2 against late ranks 3, 0, 2, 1: exactly the reverse.
    assert found.foresight == pytest.approx(-1.0)


def test_a_sweep_wastes_what_it_spends_at_momenta_that_are_worse() -> None:
    answer = random_answer(("a", "b"), trials=6, repeats=2)
    # Of three momenta in turn the last is worse than the best on both seeds.
    assert answer.worse("a") == [0.99]
    by_method = {waste.method: waste for waste in answer.waste}
    assert by_method["sweep+tpe+fifo"].share == pytest.approx(1 / 3)
    sentence = by_method["sweep+tpe+fifo"].sentence
    assert "To equal gap+tpe+fifo: for 1 of its trials it takes " in sentence
    # Nobody has GAP with this searcher, so there is nothing to equal.
    assert by_method["sweep+random+fifo"].sentence.endswith("than the setting's best.")
    # Population based training changes momentum, and has no share.
    assert "sweep+random+pbt" not in by_method
