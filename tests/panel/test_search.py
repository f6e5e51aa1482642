"""Search curves, groups and survival of made-up panels whose answers can be computed by hand."""

from __future__ import annotations

import math
from collections.abc import Mapping
from io import StringIO
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from gap_tune.errors import StateError
from gap_tune.panel.scores import Scores, score
from gap_tune.panel.summary import Survival, measures_table, search_table, shown_methods, standing
from gap_tune.panel.tables import arms_summary
from gap_tune.panel.verdict import verdict
from gap_tune.report.search_curve import SWEEP, Trials, expected_best
from tests.panel.made_up import SEEDS, note, rows

ARMS = ("gap", "switch", "fixed:0.5", "fixed:0.9")
SETTINGS = tuple("abcdefgh")
# Where momentum does not matter, two of three learning rates are twice as bad.
GOOD, BAD = 0.2, 0.28


def known(setting: str, arm: str, rate: int, seed: int) -> tuple[float, float]:
    value = GOOD if rate == 1 or arm == "gap" else BAD
    return value, value


def several(*settings: str) -> dict[str, Any]:
    """A note of both families and halves."""
    told = note(*settings)
    for place, setting in enumerate(told["settings"]):
        setting["family"] = ("sgd", "adamw")[place % 2]
        setting["half"] = ("development", "held-out")[place // 2 % 2]
    return told


@pytest.fixture(scope="module")
def scores() -> Scores:
    return score(rows(SETTINGS, ARMS, known), several(*SETTINGS))


def test_curves_of_known_losses_are_known(scores: Scores) -> None:
    curves = scores.curves
    assert curves["gap"].ratios == pytest.approx(1.0)
    for method in (SWEEP, "switch", "fixed:0.9"):
        # With n draws of three rates the good one is missed with probability (2/3)^n.
        missed = (2 / 3) ** np.arange(1, 31)
        expected = 1.0 + missed * (BAD / GOOD - 1.0)
        assert curves[method].ratios == pytest.approx(expected)
        assert curves[method].medians == pytest.approx(expected)
        assert curves[method].low == pytest.approx(expected)
    assert curves["gap"].worth == Trials(math.inf, math.inf, math.inf)
    assert curves["gap"].match == Trials(1.0, 1.0, 1.0)
    assert curves["switch"].worth == Trials(1.0, 1.0, 1.0)
    assert curves["switch"].match.count == pytest.approx(30.0)


def test_each_seed_is_a_search_of_its_own_and_the_mean_is_taken_of_losses() -> None:
    def loss(setting: str, arm: str, rate: int, seed: int) -> tuple[float, float]:
        chance = np.random.default_rng((SETTINGS.index(setting), ARMS.index(arm), rate, seed))
        return chance.uniform(0.2, 0.3), chance.uniform(0.2, 0.3)

    scores = score(rows(SETTINGS, ARMS, loss), note(*SETTINGS))
    logs = []
    for setting in SETTINGS:
        cells = [(arm, rate) for arm in ARMS[2:] for rate in range(3)]
        losses = np.array([[loss(setting, *cell, seed) for cell in cells] for seed in range(SEEDS)])
        curve = np.mean([expected_best(*one.T) for one in losses], axis=0)
        best = losses[:, :, 0].mean(axis=0).argmin()
        logs.append(np.log(curve / losses[:, best, 1].mean()))
    sweep = scores.curves[SWEEP]
    assert sweep.ratios == pytest.approx(np.exp(np.mean(logs, axis=0)))
    assert sweep.medians == pytest.approx(np.exp(np.median(logs, axis=0)))
    assert (sweep.low < sweep.ratios).all()
    assert (sweep.ratios < sweep.high).all()
    # The same resamples for both, so that a method is worth exactly one trial of itself.
    assert sweep.worth == Trials(1.0, 1.0, 1.0)


def test_shown_are_the_sweep_the_customary_and_the_best_single_momentum_and_other_arms() -> None:
    def loss(setting: str, arm: str, rate: int, seed: int) -> tuple[float, float]:
        return (0.1, 0.1) if arm == "fixed:0.5" else (0.2, 0.2)

    found = score(rows(("a", "b"), ARMS, loss), note("a", "b"))
    assert shown_methods(found) == [SWEEP, "fixed:0.9", "fixed:0.5", "gap", "switch"]
    without = score(rows(("a", "b"), ("gap",), loss), note("a", "b"))
    assert shown_methods(without) == []
    assert len(search_table(without)) == len(measures_table(without)) == 0


def test_groups_are_families_and_halves(scores: Scores) -> None:
    found = {(group.family, group.half): group.scores.settings for group in scores.groups}
    assert found == {
        ("sgd", "development"): ["a", "e"],
        ("sgd", "held-out"): ["c", "g"],
        ("adamw", "development"): ["b", "f"],
        ("adamw", "held-out"): ["d", "h"],
        ("", "development"): ["a", "b", "e", "f"],
        ("", "held-out"): ["c", "d", "g", "h"],
    }
    one = score(rows(("a", "b"), ARMS, known), note("a", "b"))
    assert [(group.family, group.half) for group in one.groups] == [("sgd", "")]
    assert one.groups[0].scores is one


def test_without_a_fixed_arm_there_is_nowhere_to_stand() -> None:
    alone = score(rows(("a", "b"), ("gap",), known), note("a", "b"))
    with pytest.raises(StateError, match="an arm of fixed momentum to compare with"):
        standing(alone, "gap", "tuned")


def test_a_group_says_what_its_settings_alone_would() -> None:
    def loss(setting: str, arm: str, rate: int, seed: int) -> tuple[float, float]:
        place = (SETTINGS.index(setting), ARMS.index(arm), rate, seed)
        value = np.random.default_rng(place).uniform(0.2, 0.6)
        return value, value

    made = rows(SETTINGS, ARMS, loss)
    whole = score(made, several(*SETTINGS))
    group = next(each for each in whole.groups if (each.family, each.half) == ("adamw", "held-out"))
    alone = score([row for row in made if row["setting"] in "dh"], several(*SETTINGS))
    assert alone.settings == ["d", "h"]
    for measure in ("tuned", "across", "per_rate"):
        assert standing(group.scores, "gap", measure) == standing(alone, "gap", measure)
    assert group.scores.curves["gap"].worth == alone.curves["gap"].worth
    table = measures_table(whole).set_index(["family", "half", "arm", "measure"])
    cell = table.loc[("adamw", "held-out", "switch", "across")]
    assert cell["ratio"] == standing(alone, "switch", "across").ratio
    assert cell["settings"] == 2


def test_a_search_table_has_a_row_per_group_method_and_number_of_trials(scores: Scores) -> None:
    table = search_table(scores)
    assert len(table) == len(scores.groups) * (1 + len(ARMS)) * 30
    own = table[(table["family"] == "sgd") & (table["half"] == "held-out")]
    own = own[own["method"] == "switch"].set_index("trials")
    assert own.loc[2, "ratio"] == pytest.approx(1 + (2 / 3) ** 2 * (BAD / GOOD - 1))
    assert set(own["match"].round(6)) == {30.0}


def diverging(setting: str, arm: str, rate: int, seed: int) -> tuple[float | None, float | None]:
    dies: Mapping[str, bool] = {
        "fixed:0.9": rate == 2,
        "fixed:0.5": rate == 2 and seed == 0,
        "gap": rate == 2 and seed == 1,
        "switch": rate == 0 and seed == 3,
    }
    return (None, None) if dies[arm] else (0.3, 0.3)


def test_runs_that_would_have_diverged_and_did_not_are_counted() -> None:
    scores = score(rows(("a", "b"), ARMS, diverging), note("a", "b"))
    assert Survival.of(scores, "gap") == Survival(places=8, survived=6, alone=2, lost=0)
    assert Survival.of(scores, "switch") == Survival(places=8, survived=8, alone=2, lost=2)
    told = verdict(scores).sentences
    assert (
        "Where a fixed momentum diverged, at 8 places (setting, learning rate, seed), gap did not "
        "at 6; at 2 of these every fixed momentum diverged."
    ) in told
    assert (
        "switch diverged at 2 places where no fixed momentum did."
        in verdict(scores, "switch").sentences
    )
    none = score(rows(("a",), ("gap",), lambda *place: (None, None)), note("a"))
    assert Survival.of(none, "gap") == Survival(0, 0, 0, lost=12)


def test_the_verdict_says_what_a_search_saves_by_family_and_half(scores: Scores) -> None:
    told = verdict(scores).sentences
    assert len([text for text in told if "one trial at a random learning rate" in text]) == 4
    (text,) = [text for text in told if text.startswith("AdamW, held-out, 2 settings: ")]
    assert text.endswith(
        "one trial at a random learning rate is as good as more than 30 of a sweep of learning "
        "rate and momentum at random, and 1.0 (95 % interval 1.0 to 1.0) are as good as 30 of it."
    )
    assert "+0.0 % at its tuned learning rate (as good within 3 %, worst setting +0.0 %)" in text


def test_the_verdict_says_it_in_one_sentence_where_there_is_one_family() -> None:
    told = verdict(score(rows(SETTINGS, ARMS, known), note(*SETTINGS))).sentences
    (text,) = [text for text in told if "one trial at a random learning rate" in text]
    assert text.startswith("SGD, 8 settings: one trial")


def test_the_margin_is_that_of_the_note(scores: Scores) -> None:
    told = {**several(*SETTINGS), "margin": 0.5}
    assert "within 50 %, a margin stated beforehand" in " ".join(
        verdict(score(rows(SETTINGS, ARMS, known), told)).sentences
    )
    assert "within 3 %, a margin stated beforehand" in " ".join(verdict(scores).sentences)


def test_the_terminal_shows_halves_beside_each_other_in_80_columns(scores: Scores) -> None:
    stream = StringIO()
    Console(file=stream, width=80).print(arms_summary(scores))
    lines = stream.getvalue().splitlines()
    titles = [
        "SGD: development 2 settings / held-out 2 settings",
        "AdamW: development 2 settings / held-out 2 settings",
        "All settings: development 4 settings / held-out 4 settings",
    ]
    assert [line for line in lines if "settings" in line] == titles
    assert sum(line.startswith("gap ") for line in lines) == 4
    row = next(line for line in lines if line.startswith("switch"))
    assert row.split()[-6:] == ["1.0", "/", "1.0", "30.0", "/", "30.0"]
    assert max(map(len, lines)) <= 80
    assert "…" not in stream.getvalue()
