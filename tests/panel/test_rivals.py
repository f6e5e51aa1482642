"""Who is ahead of whom, on made-up panels whose answers can be computed by hand."""

from __future__ import annotations

import math
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from gap_tune.panel.page import render
from gap_tune.panel.rivals import against_rivals, is_rival, judged, rivals_table
from gap_tune.panel.scores import Scores, score
from gap_tune.panel.summary import arms_table, rates_table
from gap_tune.panel.tables import arms_summary, write_tables
from gap_tune.panel.verdict import verdict
from gap_tune.report.search_curve import expected_best
from tests.panel.made_up import SEEDS, note, rows

ARMS = ("gap", "prodigy", "switch", "nesterov:0.9", "gap-scaled", "fixed:0.5", "fixed:0.9")
RIVALS = ["prodigy", "switch", "nesterov:0.9"]
SETTINGS = tuple("abcdefgh")
GOOD, BAD = 0.2, 0.28


def known(setting: str, arm: str, rate: int, seed: int) -> tuple[float, float]:
    """Good everywhere: gap. At one learning rate of three: switch. Everywhere better: prodigy."""
    value = {"gap": GOOD, "nesterov:0.9": GOOD, "prodigy": 0.9 * GOOD}.get(
        arm, GOOD if rate == 1 else BAD
    )
    return value, value


def drawn(setting: str, arm: str, rate: int, seed: int) -> tuple[float, float]:
    chance = np.random.default_rng((SETTINGS.index(setting), ARMS.index(arm), rate, seed))
    return chance.uniform(0.2, 0.3), chance.uniform(0.2, 0.3)


@pytest.fixture(scope="module")
def scores() -> Scores:
    return score(rows(SETTINGS, ARMS, known), note(*SETTINGS))


def test_rivals_are_optimizers_and_a_warm_up_and_neither_ours_nor_fixed(scores: Scores) -> None:
    assert [each.rival for each in against_rivals(scores)] == RIVALS
    assert is_rival("warmup:0.9")
    assert judged(scores) == "gap"
    assert not is_rival("my_module:MyRule")


def test_a_known_panel_says_who_is_ahead(scores: Scores) -> None:
    prodigy, switch, nesterov = against_rivals(scores)
    assert {each.kind for each in prodigy.standings.values()} == {"behind"}
    assert prodigy.standings["across"].ratio == pytest.approx(1 / 0.9)
    assert {each.kind for each in nesterov.standings.values()} == {"as good"}
    assert switch.standings["tuned"].kind == "as good"
    assert switch.standings["across"].kind == "ahead"
    assert switch.standings["across"].ratio == pytest.approx(3 * GOOD / (GOOD + 2 * BAD))
    for trials in (1, 3, 30):
        expected = 1 + (2 / 3) ** trials * (BAD / GOOD - 1)
        found = switch.standings[f"best of {trials}"].ratio
        assert found == pytest.approx(1 / expected)
    # Gap's one trial is never reached by theirs, or by the first of them.
    assert switch.worth.count == math.inf
    assert nesterov.worth.count == prodigy.worth.count == 1.0


def test_searches_are_paired_by_setting_and_seed() -> None:
    scores = score(rows(SETTINGS, ARMS, drawn), note(*SETTINGS))
    place = against_rivals(scores)[1].standings["best of 3"]
    logs = []
    for setting in SETTINGS:
        losses = np.array(
            [
                [[drawn(setting, arm, rate, seed) for rate in range(3)] for seed in range(SEEDS)]
                for arm in ("gap", "switch")
            ]
        )
        own, other = expected_best(losses[..., 0], losses[..., 1])[..., 2].mean(axis=1)
        logs.append(np.log(own / other))
    assert place.ratio == pytest.approx(np.exp(np.mean(logs)))
    assert place.median == pytest.approx(np.exp(np.median(logs)))
    assert place.low < place.ratio < place.high
    # An arm against itself, under another name, has no spread at all.
    same = score(rows(SETTINGS, ARMS, lambda *at: drawn(at[0], "gap", *at[2:])), note(*SETTINGS))
    (alike, *_) = against_rivals(same)
    assert alike.standings["best of 3"].low == alike.standings["best of 3"].high == 1.0
    assert alike.worth.count == 1.0


def test_the_table_has_a_row_per_group_rival_and_measure(scores: Scores, tmp_path: Path) -> None:
    table = rivals_table(scores)
    assert list(table["rival"].unique()) == RIVALS
    assert len(table) == len(RIVALS) * 6
    assert set(table["family"]) == {"sgd"}
    assert set(table["half"]) == {"all"}
    path = next(p for p in write_tables(scores, tmp_path) if p.name == "panel-rivals.csv")
    pd.testing.assert_frame_equal(pd.read_csv(path), table, check_dtype=False)


def test_the_verdict_counts_rivals_and_names_those_it_is_behind(scores: Scores) -> None:
    assert (
        "Rivals, SGD, 8 settings: gap is ahead, of 3, of 1 across learning rates (behind "
        "prodigy), 1 in the best of 1 (behind prodigy), 1 in the best of 3 (behind prodigy), 1 in "
        "the best of 30 (behind prodigy)."
    ) in verdict(scores).sentences
    assert not any("rival" in text for text in verdict(scores, "switch").sentences)


@pytest.mark.parametrize("halves", [1, 2])
def test_the_terminal_shows_rivals_in_80_columns(halves: int) -> None:
    arms = (*ARMS, "trainable-rank-one", "adaptive-memory")

    def far(setting: str, arm: str, rate: int, seed: int) -> tuple[float, float]:
        value = {"gap": 1e-3 if setting in "abcd" else 1.0}.get(arm, 0.1)
        return value, value

    told = note(*SETTINGS)
    for place, setting in enumerate(told["settings"]):
        setting["half"] = ("development", "held-out")[place % halves]
    stream = StringIO()
    Console(file=stream, width=80).print(arms_summary(score(rows(SETTINGS, arms, far), told)))
    lines = stream.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert "…" not in stream.getvalue()
    assert any(line.startswith("rival of gap ") for line in lines)


def test_the_page_says_it_too_and_not_where_there_are_no_rivals(scores: Scores) -> None:
    html = render(scores, note(*SETTINGS))
    part = html.split('<section id="rivals">')[1].split("</section>")[0]
    for rival in RIVALS:
        assert part.count(f'<th scope="row"><span class="name">{rival}</span>') == 1
    assert "gap-scaled" not in part
    assert part.count("<td>ahead") == 4
    assert part.count("<td>behind") == 4
    few = score(rows(SETTINGS, ("gap", "fixed:0.9"), known), note(*SETTINGS))
    assert 'id="rivals"' not in render(few, note(*SETTINGS))
    without = score(rows(SETTINGS, ("gap", "prodigy"), known), note(*SETTINGS))
    assert against_rivals(without) == ()
    assert 'id="rivals"' not in render(without, note(*SETTINGS))


def test_the_range_is_the_worst_learning_rate_over_the_best() -> None:
    def loss(setting: str, arm: str, rate: int, seed: int) -> tuple[float, float]:
        # Means over seeds are 0.25, 0.2 and that of the last learning rate.
        value = (0.25, 0.2, 0.2 if arm == "gap" else 1.0)[rate] + 0.01 * (seed - 1.5)
        return 0.5, value if setting == "a" else 0.2

    scores = score(rows(("a", "b"), ARMS, loss), note("a", "b"))
    table = rates_table(scores).set_index("arm")
    assert table.loc["gap", ["median", "largest"]].to_list() == pytest.approx([1.125, 1.25])
    assert table.loc["switch", ["median", "largest"]].to_list() == pytest.approx([3.0, 5.0])
    assert table["settings"].to_list() == [2] * len(ARMS)
    assert table.loc[["gap", "switch"], "within"].to_list() == [2, 1]
    arms = arms_table(scores).set_index("arm")
    assert arms.loc["switch", "range_median"] == pytest.approx(3.0)
    assert arms.loc["switch", "range_within"] == 1
    assert "+200.0 % <small>1 of 2</small>" in render(scores, note("a", "b"))
