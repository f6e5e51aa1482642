"""verdict against scipy's paired t test, and in the cases where it must not decide."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.power import TTestPower

from gap_tune.report import verdict
from gap_tune.report.evidence.equivalence import Equivalence

BASE = {0: 0.30, 1: 0.35, 2: 0.25}


def times(*factors: float) -> dict[int, float]:
    return {seed: BASE[seed] * factor for seed, factor in enumerate(factors)}


def shifted(*differences: float) -> dict[int, float]:
    return {seed: BASE[seed] + difference for seed, difference in enumerate(differences)}


@pytest.mark.parametrize(
    ("differences", "kind"),
    [
        ((-0.10, -0.11, -0.12), "gain"),
        ((-0.10, 0.02, -0.05), "no gain"),
        ((0.10, -0.02, 0.05), "no gain"),
        ((0.10, 0.11, 0.12), "loss"),
        ((0.0, 0.0, 0.0), "no gain"),
    ],
)
def test_kind_follows_the_paired_t_test(make_records, differences, kind):
    answer = verdict(make_records({"gap": shifted(*differences), "fixed:0.9": BASE}))
    assert answer.kind == kind
    if any(differences):
        gap = np.array([*shifted(*differences).values()])
        test = stats.ttest_rel(gap, np.array([*BASE.values()]))
        interval = test.confidence_interval(0.95)
        assert answer.difference.p_value == pytest.approx(test.pvalue)
        assert answer.difference.interval == pytest.approx((interval.low, interval.high))
        assert (test.pvalue < 0.05) == (kind in ("gain", "loss"))


def test_pairing_finds_what_unpaired_arms_hide(make_records):
    base = {0: 0.1, 1: 1.0, 2: 5.0}
    gap = {0: 0.08, 1: 0.979, 2: 4.981}
    assert stats.ttest_ind([*gap.values()], [*base.values()]).pvalue > 0.9
    assert verdict(make_records({"gap": gap, "fixed:0.9": base})).kind == "gain"


def test_higher_is_better_when_the_metric_is_maximised(make_records):
    finals = {"gap": shifted(0.10, 0.11, 0.12), "fixed:0.9": BASE}
    answer = verdict(make_records(finals, mode="max"))
    assert answer.kind == "gain"
    assert answer.difference.mean == pytest.approx(-0.11)
    assert "0.110 better" in answer.text


def test_no_gain_is_said_plainly_with_what_could_be_seen(make_records):
    answer = verdict(make_records({"gap": shifted(-0.10, 0.02, -0.05), "fixed:0.9": BASE}))
    assert answer.headline.startswith("No gain shown")
    half = stats.sem([-0.10, 0.02, -0.05]) * stats.t.ppf(0.975, 2)
    assert f"only a difference beyond {half:#.3g} would show" in answer.text


CLOSE = {0: 0.302, 1: 0.349, 2: 0.2505}


def test_as_good_within_the_margin_is_said_with_what_it_saves(make_records):
    worse = {seed: value + 0.2 for seed, value in BASE.items()}
    finals = {"gap": CLOSE, "fixed:0.9": BASE, "fixed:0": worse}
    answer = verdict(make_records(finals, study={"margin": 0.03}))
    assert answer.kind == "as good"
    assert answer.headline == (
        "Stop sweeping momentum: with 50 % of the trials, GAP is within 3 % of the best of 2 fixed "
        "momenta, fixed:0.9 (two one-sided tests over 3 seeds); plain 0.9 is that best one."
    )
    logs = np.log([CLOSE[seed] / BASE[seed] for seed in BASE])
    above = stats.ttest_1samp(logs, np.log(1.03), alternative="less").pvalue
    below = stats.ttest_1samp(logs, -np.log(1.03), alternative="greater").pvalue
    assert answer.equivalence.p_value == pytest.approx(max(above, below))
    low, high = np.exp(stats.ttest_1samp(logs, 0.0).confidence_interval(0.9))
    assert (
        "That GAP is as good within 3 %, the margin stated beforehand, is shown: in "
        f"validation_loss it is {100 * (np.exp(logs.mean()) - 1):.1f} % worse (90% interval from "
        f"{100 * (1 - low):.1f} % better to {100 * (high - 1):.1f} % worse, two one-sided paired t "
    ) in answer.text


def test_the_margin_is_the_one_that_the_study_stated(make_records):
    finals = {"gap": CLOSE, "fixed:0.9": BASE}
    strict = verdict(make_records(finals, study={"margin": 0.005}))
    assert strict.kind == "no gain"
    assert "as good within 0.5 %, the margin stated beforehand, is not shown" in strict.text


def test_a_margin_that_nobody_stated_is_not_called_stated(make_records):
    answer = verdict(make_records({"gap": CLOSE, "fixed:0.9": BASE}))
    assert answer.kind == "as good"
    assert "That GAP is as good within 3 %, as usual, is shown:" in answer.text


def test_worse_though_within_the_margin_is_said_in_one_sentence(make_records):
    gap = times(1.01, 1.011, 1.01)
    answer = verdict(make_records({"gap": gap, "fixed:0.9": BASE}))
    assert answer.kind == "loss"
    assert answer.headline == "GAP lost, though within 3 %: it is worse than fixed:0.9, by less."
    assert "is shown" in answer.text


def test_no_gain_says_what_was_saved(make_records):
    finals = {"gap": shifted(-0.10, 0.02, -0.05), "fixed:0.9": BASE, "fixed:0": BASE}
    finals |= {"fixed:0.5": {seed: value + 0.01 for seed, value in BASE.items()}}
    headline = verdict(make_records(finals)).headline
    assert headline == (
        "No gain shown, and too little evidence to stop sweeping momentum: with 33 % of the "
        "trials, GAP and the best of 3 fixed momenta, fixed:0.9, cannot be told apart over 3 "
        "seeds; plain 0.9 is that best one."
    )


LEVEL = {seed: 0.3 + 0.01 * seed for seed in range(6)}


def test_much_better_is_not_worse_where_no_gain_is_shown(make_records):
    # As good within 3 % asks the wrong question of an arm that is better by more.
    gap = {seed: LEVEL[seed] * factor for seed, factor in enumerate((0.6, 0.7, 1.1, 0.9, 0.8, 1))}
    finals = {"gap": gap, "fixed:0.9": LEVEL}
    answer = verdict(make_records(finals, study={"margin": 0.03}))
    logs = np.log([gap[seed] / LEVEL[seed] for seed in LEVEL])
    p_value = stats.ttest_1samp(logs, np.log(1.03), alternative="less").pvalue
    assert answer.equivalence.not_worse_p_value == pytest.approx(p_value)
    assert p_value < 0.05 < answer.difference.p_value
    assert not answer.equivalence.shown
    assert answer.kind == "not worse"
    assert answer.headline == "GAP is not worse than fixed:0.9 by more than 3 %."
    assert (
        "That GAP is not worse by more than 3 %, the margin stated beforehand, is shown: in "
        f"validation_loss it is {100 * (1 - np.exp(logs.mean())):.1f} % better (90% interval from "
    ) in answer.text
    assert f"one one-sided paired t test, p = {p_value:#.3g})" in answer.text
    assert "as good" not in answer.text


def test_not_worse_than_the_best_of_several_stops_a_sweep(make_records):
    gap = {seed: LEVEL[seed] * factor for seed, factor in enumerate((0.6, 0.7, 1.1, 0.9, 0.8, 1))}
    finals = {"gap": gap, "fixed:0.95": LEVEL}
    finals |= {"fixed:0.9": {seed: 2 * value for seed, value in LEVEL.items()}}
    assert verdict(make_records(finals)).headline == (
        "Stop sweeping momentum: with 50 % of the trials, GAP is not worse than the best of 2 "
        "fixed momenta, fixed:0.95, by more than 3 % (one one-sided test at 5 % over 6 seeds); "
        "plain 0.9 is not as good."
    )


def test_a_loss_to_the_best_of_several_keeps_a_sweep(make_records):
    finals = {"gap": shifted(0.10, 0.11, 0.12), "fixed:0.9": BASE}
    finals |= {"fixed:0": {seed: value + 1.0 for seed, value in BASE.items()}}
    assert verdict(make_records(finals)).headline == (
        "Keep sweeping momentum: GAP is worse than the best of 2 fixed momenta, fixed:0.9 (paired "
        "t test at 5 % over 3 seeds); plain 0.9 is that best one."
    )


def test_a_small_loss_to_the_best_of_several_leaves_it_to_the_reader(make_records):
    finals = {"gap": times(1.01, 1.011, 1.01), "fixed:0.9": BASE}
    finals |= {"fixed:0": {seed: value + 1.0 for seed, value in BASE.items()}}
    assert verdict(make_records(finals)).headline == (
        "Stop sweeping momentum if 3 % is little to you: with 50 % of the trials, GAP is worse "
        "than the best of 2 fixed momenta, fixed:0.9, but by less (one one-sided test at 5 % over "
        "3 seeds); plain 0.9 is that best one."
    )


def fewer_steps(records, share):
    trials = records.trials.copy()
    trials.loc[trials["arm"] == "gap", "steps"] *= share
    return replace(records, trials=trials)


@pytest.mark.parametrize(
    ("gap", "one", "several"),
    [
        (
            shifted(-0.10, -0.11, -0.12),
            "GAP won: it is better than fixed:0.9, at half the steps.",
            "Stop sweeping momentum: with 50 % of the trials (25 % of the steps), GAP is better "
            "than the best of 2 fixed momenta, fixed:0.9 (paired t test at 5 % over 3 seeds); "
            "plain 0.9 is that best one.",
        ),
        (
            times(1.001, 0.999, 1.002),
            "GAP is as good as fixed:0.9 within 3 %, at half the steps.",
            "Stop sweeping momentum: with 50 % of the trials (25 % of the steps), GAP is within "
            "3 % of the best of 2 fixed momenta, fixed:0.9 (two one-sided tests over 3 seeds); "
            "plain 0.9 is that best one.",
        ),
        (
            shifted(0.10, 0.11, 0.12),
            "GAP lost: it is worse than fixed:0.9.",
            "Keep sweeping momentum: GAP is worse than the best of 2 fixed momenta, fixed:0.9 "
            "(paired t test at 5 % over 3 seeds); plain 0.9 is that best one.",
        ),
    ],
)
def test_the_headline_says_what_was_found_and_what_was_paid(make_records, gap, one, several):
    arms = {"gap": gap, "fixed:0.9": BASE}
    assert verdict(fewer_steps(make_records(arms), 0.5)).headline == one
    arms["fixed:0.5"] = times(1.5, 1.4, 1.6)
    assert verdict(fewer_steps(make_records(arms), 0.5)).headline == several


NEARLY = {0: 0.3003, 1: 0.3496, 2: 0.2501}


@pytest.mark.parametrize(
    ("fixed", "said"),
    [
        ({"fixed:0.5": times(1.5, 1.4, 1.6), "fixed:0.9": BASE}, "; plain 0.9 is that best one."),
        ({"fixed:0.5": BASE, "fixed:0.9": times(1.001, 1.002, 1.001)}, "; plain 0.9 is as good."),
        ({"fixed:0.5": BASE, "fixed:0.9": times(1.3, 1.32, 1.31)}, "; plain 0.9 is not as good."),
        (
            {"fixed:0.5": BASE, "fixed:0.9": times(1.3, 0.9, 1.2)},
            "; plain 0.9 is not shown to be as good.",
        ),
        # It failed where the best one did not, however good it was elsewhere.
        (
            {"fixed:0.5": BASE, "fixed:0.9": {0: 0.299, 1: 0.349, 2: math.nan}},
            "; plain 0.9 is not shown to be as good.",
        ),
        ({"fixed:0.5": BASE, "fixed:0.8": times(1.5, 1.4, 1.6)}, "3 seeds)."),
    ],
)
def test_what_nobody_has_to_sweep_for_is_compared_with_the_best(make_records, fixed, said):
    answer = verdict(make_records({"gap": NEARLY, **fixed}))
    assert answer.kind == "as good"
    assert answer.headline.endswith(said), answer.headline


def test_momenta_are_counted_in_arms_of_several(make_records):
    finals = {"gap": CLOSE, "fixed:0|0.5|0.9": BASE}
    assert "the best of 3 fixed momenta" in verdict(make_records(finals)).headline


@pytest.mark.parametrize("spread", [0.02, 0.1])
def test_so_many_pairs_as_are_said_to_be_needed_show_a_level_arm_in_four_cases_of_five(spread):
    random = np.random.default_rng(0)
    pilot = pd.Series(np.exp(spread * np.array([1.0, -1.0, 1.0, -1.0]) * np.sqrt(3 / 4)))
    found = Equivalence.between(pilot, pilot * 0 + 1.0, "min", 0.03)
    assert found.deviation == pytest.approx(spread)
    needed = found.pairs_needed()

    def power(pairs):
        logs = random.normal(0.0, spread, (4_000, pairs))
        tests = stats.ttest_1samp(logs, np.log(1.03), axis=1, alternative="less")
        return (tests.pvalue < 0.05).mean()

    assert power(needed) > 0.78
    assert power(needed - 1) < 0.82


@pytest.mark.parametrize("deviation", np.geomspace(0.005, 0.3, 30))
def test_the_pairs_needed_are_those_of_statsmodels_power_of_a_t_test(deviation):
    found = Equivalence(0.03, 1.0, (0.9, 1.1), 0.5, 0.5, 4, deviation)
    needed = found.pairs_needed()
    effect = np.log(1.03) / deviation

    def power(pairs):
        return TTestPower().power(effect, pairs, 0.05, alternative="larger")

    assert power(needed) >= 0.8 - 1e-9
    assert needed == 2 or power(needed - 1) < 0.8
    assert found.pairs_needed(most=needed) == needed
    assert found.pairs_needed(most=needed - 1) is None


def test_a_spread_that_a_thousand_pairs_do_not_beat_is_said(make_records):
    gap = {0: 3.0, 1: 0.05, 2: 0.9}
    text = verdict(make_records({"gap": gap, "fixed:0.9": BASE})).text
    assert "not even 1,000 seeds would show that GAP is not worse by more than 3 %" in text


def test_a_gain_is_tested_first_however_small_it_is(make_records):
    gap = times(0.99, 0.989, 0.99)
    answer = verdict(make_records({"gap": gap, "fixed:0.9": BASE}))
    assert answer.kind == "gain"
    assert "as good" not in answer.text


def test_gap_is_not_as_good_where_it_failed_on_a_seed_of_the_baseline(make_records):
    finals = {"gap": {**CLOSE, 3: 9.0}, "fixed:0.9": {**BASE, 3: 0.4}}
    answer = verdict(make_records(finals, failed={("gap", 3): "diverged"}))
    assert answer.kind == "no gain"
    assert "as good" not in answer.text


def test_of_accuracies_errors_must_be_alike(make_records):
    accuracy = {0: 0.99, 1: 0.991, 2: 0.989}
    gap = {0: 0.9909, 1: 0.99, 2: 0.989}
    finals = {"gap": gap, "fixed:0.9": accuracy}
    options = {"mode": "max", "metric": "validation_loss"}
    # As a score of which nobody knows the most, one of 0.99 is as good as one of 0.991.
    assert verdict(make_records(finals, **options)).kind == "as good"
    answer = verdict(accuracies(make_records(finals, **options)))
    assert answer.kind == "no gain"
    assert "in errors (1 - validation_accuracy) it is" in answer.text


def accuracies(records):
    """The same records with the losses for accuracies."""
    rename = {"validation_loss": "validation_accuracy"}
    trials = records.trials.drop(columns="validation_accuracy").rename(columns=rename)
    study = {**records.study, "metric": "validation_accuracy"}
    return replace(
        records, study=study, trials=trials, results=records.results.drop(columns=rename)
    )


def test_loss_is_said_plainly(make_records):
    answer = verdict(make_records({"gap": shifted(0.10, 0.11, 0.12), "fixed:0.9": BASE}))
    assert answer.headline.startswith("GAP lost")


def test_one_seed_decides_nothing_however_large_the_difference(make_records):
    answer = verdict(make_records({"gap": {0: 0.01}, "fixed:0.9": {0: 5.0}}))
    assert answer.kind == "undecided"
    assert "one seed" in answer.headline
    assert math.isnan(answer.difference.p_value)


def test_equal_differences_on_every_seed_are_not_taken_for_certainty(make_records):
    # As accuracies on a small test set give; a t test would divide by zero.
    answer = verdict(make_records({"gap": shifted(-0.1, -0.1, -0.1), "fixed:0.9": BASE}))
    assert answer.kind == "undecided"


def test_the_best_fixed_arm_is_named_as_picked_in_hindsight(full_study):
    answer = verdict(full_study)
    assert answer.best_fixed == "fixed:0.9"
    assert "picked in hindsight as the best of 6 fixed arms" in answer.text
    assert "Cost: 1 trial per seed for GAP, 6 for the fixed arms (120 and 720" in answer.cost


def test_a_single_fixed_arm_is_not_called_the_best(make_records):
    answer = verdict(make_records({"gap": shifted(0.1, 0.11, 0.12), "fixed:0.9": BASE}))
    assert "best" not in answer.headline
    assert "only fixed arm" in answer.text


def test_gain_is_not_claimed_where_gap_failed_on_a_seed_of_the_baseline(make_records):
    base = {**BASE, 3: 0.4}
    finals = {"gap": {**shifted(-0.10, -0.11, -0.12), 3: 9.0}, "fixed:0.9": base}
    answer = verdict(make_records(finals, failed={("gap", 3): "diverged"}))
    assert answer.kind == "undecided"
    assert "GAP failed on 1 seed that fixed:0.9 finished" in answer.text


def test_gap_failing_everywhere_is_a_loss(make_records):
    finals = {"gap": BASE, "fixed:0.9": BASE}
    answer = verdict(make_records(finals, failed={("gap", seed): "diverged" for seed in BASE}))
    assert answer.kind == "loss"
    assert "failed on every seed" in answer.headline


def test_a_study_that_still_runs_is_undecided_whatever_it_shows(make_records):
    finals = {"gap": shifted(-0.10, -0.11, -0.12), "fixed:0.9": BASE}
    running = make_records({**finals, "fixed:0": {0: 1.0}}, unfinished=[("fixed:0", 0)])
    assert verdict(running).kind == "undecided"
    # Seven of nine planned trials: fixed:0 has started on one seed of three.
    assert "6 of 9 trials ended" in verdict(running).headline
    never_started = make_records({**finals, "fixed:0": {}})
    assert "6 of 9 trials ended" in verdict(never_started).headline


def test_a_fixed_arm_without_any_finished_trial_does_not_stop_the_answer(make_records):
    finals = {"gap": shifted(-0.10, -0.11, -0.12), "fixed:0.9": BASE, "fixed:0.99": BASE}
    failed = {("fixed:0.99", seed): "diverged" for seed in BASE}
    answer = verdict(make_records(finals, failed=failed))
    assert (answer.kind, answer.best_fixed) == ("gain", "fixed:0.9")


@pytest.mark.parametrize("finals", [{"fixed:0.9": BASE}, {"gap": BASE}, {}])
def test_nothing_is_compared_without_gap_or_without_a_fixed_arm(make_records, finals):
    answer = verdict(make_records(finals))
    assert (answer.kind, answer.best_fixed) == ("undecided", None)
    assert "Nothing to compare" in answer.headline


def test_no_common_seed_and_no_finished_baseline_are_undecided(make_records):
    records = make_records({"gap": {0: 0.1}, "fixed:0.9": {1: 0.2}})
    assert "no seed has finished with both" in verdict(records).headline
    records = make_records({"gap": {0: 0.1}, "fixed:0.9": {0: 0.2}}, failed={("fixed:0.9", 0): "x"})
    assert "no trial of a fixed arm has finished" in verdict(records).headline
    nothing = replace(records, trials=records.trials[:0], results=records.results[:0])
    assert verdict(nothing).kind == "undecided"


def test_test_data_is_compared_too(make_records):
    answer = verdict(make_records({"gap": shifted(0.10, 0.11, 0.12), "fixed:0.9": BASE}))
    assert "On test data, in test_loss: 0.220 worse" in answer.text
