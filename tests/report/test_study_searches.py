"""What random searches end with, in studies that sweep learning rates."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gap_tune.records.records import Records
from gap_tune.report import Comparison, verdict, write_csv, write_page
from gap_tune.report.figures.study import study_figures
from gap_tune.report.search_curve import SWEEP, Trials, trials_to_reach
from tests.report.conftest import MakeRecords
from tests.report.test_sweep import RATES, SWEPT, random_finals, swept_records

# The test loss of made-up trials is twice the validation loss.
TWICE = 2.0


def brute_force(losses: list[float], sign: float, trials: int) -> float:
    """Return the expected best of n draws with replacement, by counting all of them."""
    ordered = sorted(losses, key=lambda loss: sign * loss)
    cells = len(ordered)
    chances = [
        ((cells - i) ** trials - (cells - i - 1) ** trials) / cells**trials for i in range(cells)
    ]
    return TWICE * math.fsum(np.array(chances) * np.array(ordered))


@pytest.mark.parametrize("mode", ["min", "max"])
def test_curves_are_the_expected_best_of_random_trials(
    make_records: MakeRecords, mode: str
) -> None:
    finals = random_finals(3)
    searches = Comparison.of(swept_records(make_records, finals, mode=mode)).searches
    assert searches is not None
    assert (searches.shown, searches.seeds) == ("test_loss", 4)
    # Optuna searches its learning rate itself.
    assert list(searches.curves) == [SWEEP, *SWEPT]
    sign = 1.0 if mode == "min" else -1.0
    for method, curve in searches.curves.items():
        arms = ["fixed:0.5", "fixed:0.9"] if method == SWEEP else [method]
        for trials in (1, 2, 30):
            expected = [
                brute_force(
                    [finals[arm][lr, seed] for arm in arms for lr in SWEPT[arm]], sign, trials
                )
                for seed in range(4)
            ]
            assert curve.expected[trials - 1] == pytest.approx(np.mean(expected))
            assert min(expected) <= curve.low[trials - 1] <= curve.expected[trials - 1]
            assert curve.expected[trials - 1] <= curve.high[trials - 1] <= max(expected)
    sweep, gap = searches.curves[SWEEP], searches.curves["gap"]
    assert sweep.worth == Trials(1.0, 1.0, 1.0)
    assert gap.worth.count == trials_to_reach(sign * sweep.expected, sign * gap.expected[0])
    assert gap.match.count == trials_to_reach(sign * gap.expected, sign * sweep.expected[-1])
    assert gap.worth.low <= gap.worth.count <= gap.worth.high


def test_a_trial_that_failed_counts_as_the_worst_of_all(make_records: MakeRecords) -> None:
    finals = {
        arm: {(lr, seed): 0.2 for lr in RATES for seed in range(2)} for arm in ("gap", "fixed:0.9")
    }
    finals["fixed:0.9"][0.09, 1] = 0.6
    lost = frozenset({("gap", 0.27, 0)})
    searches = Comparison.of(swept_records(make_records, finals, lost)).searches
    assert searches is not None
    # Of seed 0 one of four is as bad as the worst.
    gap = searches.curves["gap"].expected
    assert gap[0] == pytest.approx(np.mean([0.75 * 0.4 + 0.25 * 1.2, 0.4]))
    assert gap[1] == pytest.approx(np.mean([(1 - 1 / 16) * 0.4 + 1.2 / 16, 0.4]))


def test_seeds_that_still_run_are_left_out_and_one_seed_has_no_interval(
    make_records: MakeRecords,
) -> None:
    finals = random_finals(1, seeds=2)
    del finals["gap"][0.09, 1]
    searches = Comparison.of(swept_records(make_records, finals)).searches
    assert searches is not None
    assert searches.seeds == 1
    gap = searches.curves["gap"]
    assert np.isnan(gap.low).all()
    assert not gap.match.has_interval
    assert gap.expected[0] == pytest.approx(TWICE * np.mean([finals["gap"][lr, 0] for lr in RATES]))
    del finals["gap"][0.09, 0]
    assert Comparison.of(swept_records(make_records, finals)).searches is None


def without_searches(make_records: MakeRecords) -> Mapping[str, Records]:
    finals = random_finals(0)
    alone = {"gap": finals["gap"], "adai": finals["adai"]}
    plain = {arm: {0: 0.3, 1: 0.4} for arm in ("gap", "fixed:0.9")}
    return {"no fixed arm": swept_records(make_records, alone), "no sweep": make_records(plain)}


@pytest.mark.parametrize("case", ["no fixed arm", "no sweep"])
def test_nothing_is_said_of_searches_where_there_are_none(
    make_records: MakeRecords, tmp_path: Path, case: str
) -> None:
    records = without_searches(make_records)[case]
    assert Comparison.of(records).searches is None
    assert [path.name for path in write_csv(records, tmp_path)] == [
        "results.csv",
        "trials.csv",
        "summary.csv",
    ]
    assert 'id="search"' not in write_page(records, tmp_path / "page.html").read_text()


def test_page_figure_and_file_show_searches(make_records: MakeRecords, tmp_path: Path) -> None:
    comparison = Comparison.of(swept_records(make_records, random_finals(2)))
    searches = comparison.searches
    assert searches is not None
    gap = searches.curves["gap"]
    assert (
        f"One trial of GAP at a random learning rate is as good as {gap.worth.text} of a search of "
        f"learning rate and momentum at random; {gap.match.text} match 30 of it."
    ) in verdict(comparison).sentences
    html = write_page(comparison, tmp_path / "page.html").read_text()
    part = html.split('<section id="search">')[1].split("</section>")[0]
    assert len(re.findall(r'<th scope="row"', part)) == 1 + len(SWEPT)
    assert "learning rate x momentum" in part
    assert "mean of 4 seeds" in part
    (plot,) = [each for each in study_figures(comparison) if "Search:" in each.layout.title.text]
    assert [line.name for line in plot.data] == [
        "learning rate x momentum",
        *(f"learning rate, {arm}" for arm in SWEPT),
    ]
    table = pd.read_csv(write_csv(comparison, tmp_path)[-1])
    assert len(table) == 30 * (1 + len(SWEPT))
    own = table[table["method"] == "gap"]
    assert own["test_loss"].to_numpy() == pytest.approx(searches.curves["gap"].expected)
    assert own["match"].nunique() == 1
