"""The sentences of a verdict: each says one thing, with its numbers."""

from __future__ import annotations

import math

import pandas as pd

from gap_tune.formatting import count, duration, number, plural
from gap_tune.records.records import Records
from gap_tune.report.finals import (
    arm_names,
    final_metrics,
    fixed_arms,
    trials_with,
    unit,
    values_by_seed,
)
from gap_tune.report.paired import CONFIDENCE, PairedDifference
from gap_tune.report.tables import spent
from gap_tune.study.arms import GAP

_FEW_SEEDS = 5


def comparison(records: Records, finals: pd.DataFrame, best: str, metric: str) -> str:
    """Return the means of GAP and the best fixed arm in a metric, and the interval between."""
    gap, fixed = (values_by_seed(finals, arm, metric) for arm in (GAP.name, best))
    difference = PairedDifference.between(gap, fixed, records.mode)
    seeds = list(difference.by_seed)
    if not seeds:
        return ""
    text = (
        f"Over {plural(len(seeds), 'paired seed')}, GAP's mean {metric} is "
        f"{number(gap[seeds].mean())}, {best}'s {number(fixed[seeds].mean())}: "
        f"{_side(difference.mean)}"
    )
    return f"{text}{_interval(difference)}."


def on_test_data(records: Records, finals: pd.DataFrame, best: str) -> str:
    """Return the difference in the test metric that goes with a validation metric, if reported."""
    metric = records.metric.replace("validation_", "test_", 1)
    if metric == records.metric or metric not in finals:
        return ""
    gap, fixed = (values_by_seed(finals, arm, metric) for arm in (GAP.name, best))
    difference = PairedDifference.between(gap, fixed, records.mode)
    if not difference.by_seed:
        return ""
    return f"On test data, in {metric}: {_side(difference.mean)}{_interval(difference)}."


def few_seeds(difference: PairedDifference) -> str:
    """Return what the small number of seeds limits; nothing from five seeds on."""
    pairs = len(difference.by_seed)
    if not difference.has_spread or pairs >= _FEW_SEEDS:
        return ""
    low, high = difference.interval
    if low <= 0.0 <= high:
        limit = f"only a difference beyond {number((high - low) / 2)} would show at this spread"
    else:
        limit = "the test trusts that differences are normally distributed, which they cannot show"
    return f"{plural(pairs, 'seed')} are few: {limit}."


def conditions(records: Records) -> str:
    """Return at which budget the arms are compared, and what limits the comparison."""
    budget = records.study.get("budget_text")
    texts = [f"Compared: {budget}." if budget else ""]
    if records.study.get("settings", {}).get("hold_out"):
        texts.append("Every arm trains without the samples held out for gap-validation.")
    return " ".join(filter(None, texts))


def hindsight(records: Records, best: str) -> str:
    """Return how the fixed arm came to be the one compared with."""
    arms = len(fixed_arms(records))
    trials = records.trials[records.trials["arm"] == best].groupby("seed").size().max()
    if trials > 1:
        return (
            f"{best}'s result on a seed is the best of {count(trials)} trials by {records.metric}, "
            "which favours it in that metric."
        )
    if arms == 1:
        return f"{best} is the only fixed arm: another momentum may do better."
    return (
        f"{best} was picked in hindsight as the best of {arms} fixed arms on these same seeds; "
        "that favours it, since nobody knows it beforehand."
    )


def cost(records: Records) -> str:
    """Return the trials per seed and training steps of GAP and of all fixed arms together."""
    arms = [GAP.name], fixed_arms(records)
    (gap, gap_steps), (fixed, fixed_steps) = (spent(records, names) for names in arms)
    gap_seeds, fixed_seeds = (_seeds(records, names) for names in arms)
    return (
        f"Cost: {plural(gap / gap_seeds, 'trial')} per seed for GAP, {count(fixed / fixed_seeds)} "
        f"for the fixed arms ({count(gap_steps)} and {count(fixed_steps)} training steps in all)."
    )


def best_trial(records: Records) -> str:
    """Return the best trial by its last report, of the ended ones where there are any."""
    ended = trials_with(records, "finished")
    for trials, so_far in ((ended, ""), (records.trials, " so far")):
        if records.metric not in trials:
            continue
        values = pd.to_numeric(trials[records.metric], errors="coerce").replace(
            [math.inf, -math.inf], math.nan
        )
        if values.notna().any():
            place = values.idxmin() if records.mode == "min" else values.idxmax()
            best = trials.loc[place]
            return (
                f"Best {records.metric}{so_far}: {number(values[place])}, by trial "
                f"{best['trial_id']} ({best['arm']})."
            )
    return f"No trial has reported a finite {records.metric} yet."


def by_arm(records: Records) -> str:
    """Return the mean of each arm's trials, where there are several arms."""
    finals = final_metrics(records)
    values = {arm: values_by_seed(finals, arm, records.metric) for arm in arm_names(records)}
    told = [
        f"{arm} {number(own.mean())} ({plural(len(own), unit(records))})"
        for arm, own in values.items()
        if len(own)
    ]
    return f"Mean {records.metric} of ended trials: {', '.join(told)}." if len(told) > 1 else ""


def progress(records: Records) -> str:
    """Return how many trials are open or failed; nothing when all ended well."""
    amounts = {name: len(trials_with(records, name)) for name in ("unfinished", "failed")}
    told = [f"{count(amount)} {name}" for name, amount in amounts.items() if amount]
    return f"Of {plural(len(records.trials), 'trial')}, {', '.join(told)}." if told else ""


def unpaired(records: Records) -> str:
    """Return why no test compares the arms, and what would let one."""
    if GAP.name in arm_names(records) and fixed_arms(records) and not records.study["paired"]:
        why = "its trials share no seeds, so they differ in more than momentum"
    else:
        why = "it does not hold both trials that GapScheduler tunes and trials of fixed momenta"
    return (
        f"Whether GAP helped cannot be told from this experiment: {why}. Give every trial "
        'config["seed"], run both kinds with each seed and the same other settings, and this page '
        "compares them seed by seed."
    )


def total_cost(records: Records) -> str:
    """Return the trials, training steps and time of all arms together."""
    trials, steps = spent(records, arm_names(records))
    seconds = float(records.trials["seconds"].sum())
    return (
        f"Cost: {plural(trials, 'trial')}, {plural(steps, 'training step')}, "
        f"{duration(seconds)} of trial time."
    )


def _seeds(records: Records, arms: list[str]) -> int:
    """Return on how many seeds arms have started trials, at least 1."""
    if records.trials.empty:
        return 1
    return max(int(records.trials[records.trials["arm"].isin(arms)]["seed"].nunique()), 1)


def _side(difference: float) -> str:
    if difference == 0.0:
        return "no difference"
    return f"{number(abs(difference))} {'better' if difference < 0 else 'worse'}"


def _interval(difference: PairedDifference) -> str:
    if not difference.has_spread:
        return ""
    low, high = map(_side, difference.interval)
    return (
        f" ({CONFIDENCE:.0%} interval from {low} to {high}, paired t test, "
        f"p = {number(difference.p_value)})"
    )
