"""What is said of a sweep of learning rates, against numbers that pandas computes on its own."""

from __future__ import annotations

import dataclasses
import io
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from scipy import stats

from gap_tune.records.records import Records
from gap_tune.report import Comparison, summarise, summary_table, verdict, write_csv, write_page
from gap_tune.report.figures.rates import final_by_rate
from gap_tune.report.figures.study import study_figures
from tests.report.conftest import MakeRecords

RATES = (0.01, 0.03, 0.09, 0.27)
ARMS = ("gap", "fixed:0.5", "fixed:0.9", "adai", "optuna:4")
SWEPT = dict.fromkeys(ARMS[:3], RATES) | {"adai": tuple(10 * lr for lr in RATES)}

Finals = Mapping[str, Mapping[tuple[float, int], float]]


def swept_records(
    make_records: MakeRecords,
    finals: Finals,
    failed: frozenset[tuple[str, float, int]] = frozenset(),
    swept: Mapping[str, tuple[float, ...]] = SWEPT,
    **study: Any,
) -> Records:
    """Return the records of trials of ``{arm: {(learning rate, seed): final loss}}``."""
    trials, results = [], []
    for arm, by_pair in finals.items():
        for (lr, seed), final in by_pair.items():
            lost = {(arm, seed): "boom"} if (arm, lr, seed) in failed else {}
            one = make_records({arm: {seed: final}}, failed=lost)
            own = {"lr": lr, "trial_id": f"{arm}-{lr}-{seed}"}
            trials.append(one.trials.assign(**own))
            results.append(one.results.assign(**own))
    said = make_records({arm: {} for arm in finals}).study
    seeds = 1 + max(seed for by_pair in finals.values() for _, seed in by_pair)
    rates = {arm: list(lrs) for arm, lrs in swept.items() if arm in finals}
    said = {**said, "seeds": seeds, "lrs": 4, "swept": rates, "shared_trials": len(trials)}
    about = {**said, "budget_text": "every arm at 4 learning rates per seed", **study}
    return Records(about, pd.concat(results), pd.concat(trials, ignore_index=True))


def random_finals(seed: int, seeds: int = 4) -> dict[str, dict[tuple[float, int], float]]:
    rng = np.random.default_rng(seed)
    return {
        arm: {
            (lr, seed): float(rng.uniform(0.1, 0.9))
            for lr in SWEPT.get(arm, RATES)
            for seed in range(seeds)
        }
        for arm in ARMS
    }


@pytest.mark.parametrize("case", range(5))
@pytest.mark.parametrize("mode", ["min", "max"])
def test_tuned_and_across_are_what_pandas_computes(
    make_records: MakeRecords, case: int, mode: str
) -> None:
    finals = random_finals(case)
    comparison = Comparison.of(swept_records(make_records, finals, mode=mode))
    table = pd.DataFrame(
        [(arm, *pair, loss) for arm, own in finals.items() for pair, loss in own.items()],
        columns=["arm", "lr", "seed", "loss"],
    )
    sign, best = (1, "idxmin") if mode == "min" else (-1, "idxmax")
    means = table.groupby(["arm", "lr"])["loss"].mean()
    tuned = {arm: getattr(means[arm], best)() for arm in SWEPT}
    at_tuned = table[table["lr"] == table["arm"].map(tuned)].set_index("seed")
    values = {arm: rows["loss"] for arm, rows in at_tuned.groupby("arm")}
    # What searches is the best of its trials, seed by seed, as it would be without a sweep.
    searched = table[table["arm"] == "optuna:4"].groupby("seed")["loss"]
    values["optuna:4"] = searched.min() if mode == "min" else searched.max()
    fixed = getattr(pd.Series({arm: values[arm].mean() for arm in ARMS[1:3]}), best)()

    assert comparison.sweep is not None
    assert {arm: rate.lr for arm, rate in comparison.sweep.tuned.items()} == tuned
    assert comparison.best_fixed == fixed
    summary = summarise(comparison).set_index("arm")
    assert summary["lr"].dropna().to_dict() == tuned
    for arm in ARMS:
        rates = SWEPT.get(arm, ())
        assert summary.loc[arm, "at_edge"] == (tuned.get(arm) in (*rates[:1], *rates[-1:]))
        assert summary.loc[arm, "validation_loss_mean"] == pytest.approx(values[arm].mean())
        assert summary.loc[arm, "trials"] == 16
        expected = sign * (values[arm] - values[fixed])
        assert comparison.differences[arm].by_seed == pytest.approx(expected.to_dict())
        # The test loss is twice the validation loss.
        assert comparison.values(arm, "test_loss").to_dict() == pytest.approx(
            (2 * values[arm]).to_dict()
        )

    by_seed = table.groupby(["arm", "seed"])["loss"].mean()
    rival = getattr(by_seed.groupby("arm").mean()[list(ARMS[1:3])], best)()
    for arm in ("gap", "adai"):
        across = comparison.sweep.across(arm)
        assert across is not None
        assert (across.best_fixed, across.pairs, across.lost) == (rival, 16, (0, 0))
        expected = sign * (by_seed[arm] - by_seed[rival])
        assert across.difference.by_seed == pytest.approx(expected.to_dict())
        low, high = stats.ttest_1samp(expected, 0.0).confidence_interval(0.95)
        assert across.difference.interval == pytest.approx((low, high))
    assert comparison.sweep.across("optuna:4") is None


def constant(by_lr: Mapping[float, float], seeds: int = 3) -> dict[tuple[float, int], float]:
    """Return the final losses of an arm, a little apart from seed to seed."""
    return {(lr, s): loss + 0.001 * s for lr, loss in by_lr.items() for s in range(seeds)}


LOSSES = {
    "gap": constant(dict(zip(RATES, (0.5, 0.2, 0.3, 0.9), strict=True))),
    "fixed:0.9": constant(dict(zip(RATES, (0.6, 0.4, 0.25, 0.1), strict=True))),
}


def test_a_rate_at_which_seeds_failed_that_others_finished_does_not_win(
    make_records: MakeRecords,
) -> None:
    failed = frozenset({("fixed:0.9", 0.27, 1), ("gap", 0.27, 0)})
    records = swept_records(make_records, LOSSES, failed)
    comparison = Comparison.of(records)
    assert comparison.sweep is not None
    assert comparison.sweep.tuned["fixed:0.9"].lr == 0.09
    assert comparison.sweep.tuned["gap"].lr == 0.03
    # At the rates that are compared, nothing was lost.
    assert comparison.lost_seeds == {"gap": frozenset(), "fixed:0.9": frozenset()}
    assert comparison.costs["gap"].ended == {
        "finished": 11, "stopped": 0, "failed": 1, "unfinished": 0
    }  # fmt: skip
    across = comparison.sweep.across("gap")
    assert across is not None
    assert (across.pairs, across.lost) == (10, (1, 1))
    # Three rates on seeds 0 and 1, of which either failed, and four on seed 2.
    three, four = (0.5 + 0.2 + 0.3 - 0.6 - 0.4 - 0.25) / 3, (0.9 - 0.1 - 0.25) / 4
    assert across.difference.by_seed == pytest.approx({0: three, 1: three, 2: four})
    assert (
        "leaves out 1 trial of GAP and 1 of fixed:0.9 that failed, with those they are paired with."
    ) in verdict(comparison).text


def test_a_fixed_arm_that_failed_more_is_no_rival_over_all_rates_and_that_is_said(
    make_records: MakeRecords,
) -> None:
    better = {pair: loss / 2 for pair, loss in LOSSES["fixed:0.9"].items()}
    swept = {arm: RATES for arm in (*LOSSES, "fixed:0.99")}  # noqa: C420
    finals = {**LOSSES, "fixed:0.99": better}
    failed = frozenset({("fixed:0.99", 0.01, 0)})
    comparison = Comparison.of(swept_records(make_records, finals, failed, swept))
    assert comparison.best_fixed == "fixed:0.99"
    assert (
        "where fixed:0.9 is the best of the fixed arms that failed least: 0.137 worse"
    ) in verdict(comparison).text
    whole = verdict(swept_records(make_records, finals, swept=swept)).text
    assert "where fixed:0.99 is the best of the fixed arms: " in whole


def test_an_arm_that_failed_at_every_rate_is_lost_on_its_seeds(make_records: MakeRecords) -> None:
    failed = frozenset(("gap", lr, seed) for lr in RATES for seed in range(3))
    comparison = Comparison.of(swept_records(make_records, LOSSES, failed))
    assert comparison.lost_seeds["gap"] == {0, 1, 2}
    assert verdict(comparison).kind == "loss"
    gap = summarise(comparison).set_index("arm").loc["gap"]
    assert math.isnan(gap["lr"])
    assert (gap["failed"], gap["trials"]) == (12, 12)
    assert len(study_figures(comparison)) > 0


def test_a_study_that_has_only_begun_or_failed_as_a_whole_has_no_tuned_rate(
    make_records: MakeRecords, tmp_path: Path
) -> None:
    records = swept_records(make_records, LOSSES)
    empty = dataclasses.replace(records, results=pd.DataFrame(), trials=pd.DataFrame())
    stands_for = records.trials.iloc[[0]][["arm", "seed", "steps", "seconds", "reports"]].assign(
        lr=math.nan, trial_id="", status="failed", error="boom"
    )
    for few in (empty, dataclasses.replace(empty, trials=stands_for)):
        comparison = Comparison.of(few)
        assert comparison.sweep is not None
        assert comparison.sweep.tuned == {}
        assert verdict(comparison).kind == "undecided"
        write_page(comparison, tmp_path / "report.html")


def test_a_grid_has_its_best_momentum_at_every_rate(make_records: MakeRecords) -> None:
    grids = [
        swept_records(make_records, {"fixed:grid": constant(losses)}, swept={"fixed:grid": RATES})
        for losses in (dict(zip(RATES, v, strict=True)) for v in ((0.9, 0.2, 0.5, 0.6),
                                                                  (0.3, 0.8, 0.1, 0.7)))
    ]  # fmt: skip
    trials = pd.concat([grid.trials for grid in grids], ignore_index=True)
    comparison = Comparison.of(dataclasses.replace(grids[0], trials=trials))
    assert comparison.sweep is not None
    assert comparison.sweep.means("fixed:grid").to_dict() == pytest.approx(
        {0.01: 0.301, 0.03: 0.201, 0.09: 0.101, 0.27: 0.601}
    )
    assert comparison.sweep.tuned["fixed:grid"].lr == 0.09
    assert comparison.costs["fixed:grid"].trials == 24


def shown(records: Records) -> str:
    console = Console(file=io.StringIO(), width=80, no_color=True)
    console.print(summary_table(records))
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_verdict_and_table_say_in_words_what_is_compared(make_records: MakeRecords) -> None:
    records = swept_records(make_records, {**LOSSES, "optuna:4": LOSSES["gap"]})
    text = verdict(records).text
    assert "Over 3 paired seeds, each arm at the best of its 4 learning rates, GAP's mean" in text
    assert (
        "Averaged over all 4 learning rates, where fixed:0.9 is the best of the fixed arms: 0.137 "
        "worse"
    ) in text
    assert (
        "At the edge of the range of learning rates: fixed:0.9's best, 0.27, is the largest tried, "
        "so a wider range may change the answer."
    ) in text
    assert "fixed:0.9 is the only fixed arm" in text
    assert "Cost: 12 trials per seed for GAP" not in text
    assert "Cost: 4 trials per seed for GAP, 4 for the fixed arms (480 and 480" in text
    lines = shown(records).splitlines()
    assert max(map(len, lines)) <= 80
    table = "\n".join(lines)
    assert re.search(r"^arm +seeds +lr ", table, re.MULTILINE)
    assert re.search(r"^gap +3 +0\.03 ", table, re.MULTILINE)
    assert re.search(r"^fixed:0\.9 +3 +0\.27 .*\n +at edge ", table, re.MULTILINE)
    assert re.search(r"^optuna:4 +3 +0\.2", table, re.MULTILINE)
    flat = " ".join(table.split())
    assert "At edge: the smallest or largest learning rate tried." in flat
    assert "Each of those arms is shown at the best of its 4 learning rates, by its mean" in flat


def test_csv_files_have_the_learning_rate(make_records: MakeRecords, tmp_path: Path) -> None:
    write_csv(swept_records(make_records, LOSSES), tmp_path)
    tables = {path.stem: pd.read_csv(path) for path in tmp_path.iterdir()}
    assert len(tables["trials"]) == 24
    assert sorted(tables["trials"]["lr"].unique()) == list(RATES)
    assert sorted(tables["results"]["lr"].unique()) == list(RATES)
    assert tables["summary"]["lr"].to_list() == [0.03, 0.27]
    assert tables["summary"]["at_edge"].to_list() == [False, True]


def test_the_figure_has_a_line_per_arm_with_gaps_where_trials_failed(
    make_records: MakeRecords,
) -> None:
    finals = {arm: own for arm, own in random_finals(0).items() if arm != "fixed:0.5"}
    comparison = Comparison.of(swept_records(make_records, finals, frozenset({("gap", 0.09, 2)})))
    assert comparison.sweep is not None
    plot = final_by_rate(comparison, comparison.sweep)
    lines = {trace.name: trace for trace in plot.data}
    assert list(lines) == ["gap", "fixed:0.9", "adai"]
    # Adai's range is another, so all are shown over the middle of theirs.
    middle = math.sqrt(0.03 * 0.09)
    for trace in lines.values():
        assert list(trace.x) == pytest.approx([lr / middle for lr in RATES])
    assert list(lines["adai"].customdata) == ["0.1", "0.3", "0.9", "2.7"]
    expected = [np.mean([finals["gap"][lr, seed] for seed in range(4)]) for lr in RATES]
    expected[2] = math.nan
    assert list(lines["gap"].y) == pytest.approx(expected, nan_ok=True)
    tuned = comparison.sweep.tuned["gap"].lr
    sizes = dict(zip(RATES, lines["gap"].marker.size, strict=True))
    assert [lr for lr in RATES if sizes[lr] == max(sizes.values())] == [tuned]


def test_the_page_shows_the_tuned_rate_and_what_failed_at_which(
    make_records: MakeRecords, tmp_path: Path
) -> None:
    records = swept_records(make_records, LOSSES, frozenset({("gap", 0.27, 1)}))
    comparison = Comparison.of(records)
    html = write_page(comparison, tmp_path / "report.html").read_text()
    flat = " ".join(re.sub(r"<[^>]+>", " ", html).split())
    assert "arm seeds learning rate validation loss" in flat
    assert "fixed:0.9 3 0.27 at edge" in flat
    assert "gap, seed 1, lr 0.27" in flat
    assert "Each arm is shown at the best of its 4 learning rates" in flat
    assert "over learning rates: mean of seeds" in flat
    # Momentum, gains and decisions are those of the trials that are compared.
    assert {trial.trial_id for trial in comparison.tuned} == {f"gap-0.03-{s}" for s in range(3)}
    absolute = final_by_rate(comparison, comparison.sweep) if comparison.sweep else None
    assert absolute is not None
    assert list(absolute.data[0].x) == pytest.approx(RATES)
    assert absolute.layout.xaxis.title.text == "learning rate"
