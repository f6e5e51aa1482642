"""Experiments in which GapSearch compared configurations: what is paired, tested, left out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from gap_tune.records.experiments import read_experiment
from gap_tune.records.pairing import Pairing
from gap_tune.records.records import Records
from gap_tune.report import Comparison, summary_table, verdict, write_csv, write_page
from gap_tune.report.choosing import by_unit
from gap_tune.report.evidence.ended_with import expected_best
from gap_tune.report.evidence.equivalence import Equivalence

# Loss by arm, configuration and seed.
Losses = Mapping[str, Mapping[tuple[int, int], float]]
STATES = {"finished": "TERMINATED", "stopped": "TERMINATED", "failed": "ERROR", "open": "RUNNING"}


def config_of(arm: str, place: tuple[int, int] | None) -> dict[str, Any]:
    configuration, seed = place or (99, 0)
    own = {"mode": "scheduler" if arm == "gap" else "fixed"}
    own |= {} if place is None else {"pair": configuration}
    momentum = 0.9 if arm == "gap" else float(arm.removeprefix("fixed:"))
    lr = 0.1 * (1 + configuration) * (1.0 if arm == "gap" else 1.0 - momentum / 2)
    return {"lr": lr, "seed": seed, "momentum": momentum, "gap": own}


def written(
    folder: Path,
    losses: Losses,
    ends: Mapping[tuple[str, int, int], str] | None = None,
    more: int = 0,
) -> Records:
    """Write an experiment as Ray Tune does, and read it.

    Args:
        folder: Where to.
        losses: The last ones.
        ends: How trials ended, by arm, configuration and seed; "finished" where it is not said.
        more: How many trials of GAP nothing is compared with.
    """
    states = []
    jobs = [(arm, place, loss) for arm, own in losses.items() for place, loss in own.items()]
    jobs += [("gap", None, 0.001)] * more
    for number, (arm, place, loss) in enumerate(jobs):
        end = (ends or {}).get((arm, *(place or (99, 0))), "finished")
        name, path = f"t{number}", folder / f"train_{number}"
        path.mkdir(parents=True)
        config = config_of(arm, place)
        (path / "params.json").write_text(json.dumps(config))
        reports = {"finished": 3, "open": 2}.get(end, 1)
        rows = [
            {
                "loss": loss,
                "training_iteration": i,
                "trial_id": name,
                "time_total_s": float(i),
                "done": end == "stopped" and i == reports,
                "config": config,
                "gap/momentum": 0.9,
                "gap/seq": 0,
                "gap/steps": 10 * i,
                "gap/mode": config["gap"]["mode"],
            }
            for i in range(1, reports + 1)
        ]
        (path / "result.json").write_text("".join(json.dumps(row) + "\n" for row in rows))
        if end == "failed":
            (path / "error.txt").write_text("ValueError: diverged\n")
        states.append(
            [
                json.dumps({"trial_id": name, "status": STATES[end], "relative_logdir": path.name}),
                "{}",
            ]
        )
    (folder / "experiment_state-2026.json").write_text(json.dumps({"trial_data": states}))
    return read_experiment(folder, metric="loss", mode="min")


def made_up(configurations: int, seeds: int, *, gap: float = 1.0, noise: float = 0.01) -> Losses:
    """Losses of GAP and of 0.5, 0.9 and 0.99, of which 0.9 is the best and GAP so many times it."""
    random = np.random.default_rng(configurations + 10 * seeds)
    levels = {"gap": gap, "fixed:0.5": 1.5, "fixed:0.9": 1.0, "fixed:0.99": 2.0}
    places = [(c, s) for c in range(configurations) for s in range(seeds)]
    hard = random.uniform(0.2, 0.8, configurations)
    return {
        arm: {(c, s): hard[c] * level * random.lognormal(0, noise) for c, s in places}
        for arm, level in levels.items()
    }


def without(losses: Losses, *arms: str) -> Losses:
    return {arm: own for arm, own in losses.items() if arm not in arms}


def test_the_unit_of_the_test_is_the_configuration_where_there_are_several(tmp_path: Path) -> None:
    losses = made_up(4, 3)
    records = written(tmp_path, losses)
    assert records.unit == "configuration"
    answer = verdict(records)
    means = {
        arm: np.array([np.mean([own[c, s] for s in range(3)]) for c in range(4)])
        for arm, own in losses.items()
    }
    logs = np.log(means["gap"] / means["fixed:0.9"])
    assert answer.best_fixed == "fixed:0.9"
    assert answer.equivalence is not None
    assert answer.equivalence.count == 4
    found = stats.ttest_1samp(logs, np.log(1.03), alternative="less").pvalue
    assert answer.equivalence.not_worse_p_value == pytest.approx(found)
    assert answer.difference.p_value == pytest.approx(
        stats.ttest_rel(means["gap"], means["fixed:0.9"]).pvalue
    )
    assert answer.headline == (
        "Stop sweeping momentum: with 33 % of the trials, GAP is within 3 % of the best of 3 fixed "
        "momenta, fixed:0.9 (two one-sided tests over 4 configurations); plain 0.9 is that best "
        "one."
    )
    assert "Over 4 paired configurations, each the mean of its seeds, GAP's mean" in answer.text


def test_the_unit_is_the_seed_where_there_is_one_configuration(tmp_path: Path) -> None:
    losses = made_up(1, 5)
    records = written(tmp_path, losses)
    assert records.unit == "seed"
    answer = verdict(records)
    assert answer.difference.by_seed == pytest.approx(
        {s: losses["gap"][0, s] - losses["fixed:0.9"][0, s] for s in range(5)}
    )
    assert "over 5 seeds" in answer.headline
    assert "at one configuration, and says nothing of others" in answer.text


def test_learning_rates_may_differ_within_a_pair_and_seeds_repeat_over_configurations() -> None:
    configs = [config_of(arm, place) for arm in ("gap", "fixed:0.5") for place in ((0, 0), (1, 0))]
    found = Pairing.of(configs, ["gap", "gap", "fixed:0.5", "fixed:0.5"])
    assert found == Pairing("configuration", (0, 1, 0, 1), ((0, 0), (1, 0), (0, 0), (1, 0)))


@pytest.mark.parametrize("mark", [True, "0", 0.0, None, [0]])
def test_a_mark_that_is_no_number_pairs_nothing(mark: object) -> None:
    config = {"lr": 0.1, "gap": {"mode": "scheduler", "pair": mark}, "seed": 1, "momentum": 0.9}
    other = {**config, "lr": 0.2, "gap": {"mode": "fixed", "pair": mark}}
    assert Pairing.of([config, other], ["gap", "fixed:0.9"]).unit == "trial"


def test_a_second_trial_of_the_same_place_does_not_count() -> None:
    configs = [config_of("gap", (0, 0))] * 2 + [config_of("fixed:0.9", (0, 0))]
    found = Pairing.of(configs, ["gap", "gap", "fixed:0.9"])
    assert found.places == ((0, 0), None, (0, 0))
    assert len(set(found.numbers)) == 2


def test_what_nothing_is_compared_with_counts_for_neither(tmp_path: Path) -> None:
    losses = made_up(4, 1, gap=1.2)
    answer = verdict(written(tmp_path / "a", losses, more=5))
    alone = verdict(written(tmp_path / "b", losses))
    assert answer.headline == alone.headline
    assert answer.headline.startswith("Keep sweeping momentum")
    assert answer.difference == alone.difference
    assert (
        "5 more trials had nothing to be compared with and count for neither side." in answer.text
    )
    assert "1 trial per configuration for GAP, 3 for the fixed arms" in answer.cost


ENDS = ("failed", "stopped")


@pytest.mark.parametrize("end", ENDS)
def test_gap_that_did_not_end_where_the_best_did_stops_no_sweep(tmp_path: Path, end: str) -> None:
    answer = verdict(written(tmp_path, made_up(5, 1, gap=0.5), {("gap", 2, 0): end}))
    assert answer.kind == "undecided"
    assert "Stop sweeping" not in answer.text
    did = {"failed": "failed", "stopped": "stopped early"}[end]
    assert f"1 pair is left out: gap {did} in 1." in answer.text


@pytest.mark.parametrize("end", ENDS)
def test_a_pair_that_the_baseline_did_not_end_is_left_out_and_counted(
    tmp_path: Path, end: str
) -> None:
    losses = without(made_up(5, 2), "fixed:0.5", "fixed:0.99")
    answer = verdict(written(tmp_path, losses, {("fixed:0.9", 2, 1): end}))
    assert answer.kind in ("as good", "not worse")
    did = {"failed": "failed", "stopped": "stopped early"}[end]
    assert f"1 pair is left out: fixed:0.9 {did} in 1." in answer.text
    # The other seed of the configuration stays, in both arms.
    only = losses["gap"][2, 0] - losses["fixed:0.9"][2, 0]
    assert answer.difference.by_seed[2] == pytest.approx(only)


def test_gap_that_was_stopped_early_everywhere_has_not_lost(tmp_path: Path) -> None:
    losses = made_up(3, 1)
    ends = {("gap", c, 0): "stopped" for c in range(3)}
    answer = verdict(written(tmp_path / "stopped", losses, ends))
    assert (answer.kind, answer.headline) == (
        "undecided",
        "Undecided: GAP has no result where fixed:0.9 has one, since it was stopped early.",
    )
    answer = verdict(written(tmp_path / "failed", losses, dict.fromkeys(ends, "failed")))
    assert (answer.kind, answer.headline) == (
        "loss",
        "GAP lost: it failed on every seed that fixed:0.9 finished.",
    )


def test_what_still_runs_decides_nothing(tmp_path: Path) -> None:
    answer = verdict(written(tmp_path, made_up(5, 1), {("fixed:0.9", 4, 0): "open"}))
    assert answer.kind == "undecided"
    assert "19 of 20 trials ended" in answer.headline
    assert "fixed:0.9 not ended in 1" in answer.text


def test_what_stopped_early_is_no_result_of_its_arm(tmp_path: Path) -> None:
    # It would be the best of all.
    losses = {"gap": {(0, 0): 0.5, (0, 1): 0.001}, "fixed:0.9": {(0, 0): 0.6, (0, 1): 0.7}}
    records = written(tmp_path, losses, {("gap", 0, 1): "stopped"})
    assert Comparison.of(records).values("gap").to_dict() == {0: 0.5}
    assert records.trials["status"].tolist() == ["finished", "stopped", "finished", "finished"]


def test_one_momentum_says_nothing_of_a_sweep_but_how_to_ask(tmp_path: Path) -> None:
    losses = without(made_up(4, 1), "fixed:0.5", "fixed:0.99")
    answer = verdict(written(tmp_path, losses))
    assert "sweeping" not in answer.headline
    assert (
        "Whether sweeping momentum pays takes several: "
        "GapSearch(baselines=(0.5, 0.9, 0.99), seeds=3)."
    ) in answer.text


def test_one_configuration_on_one_seed_is_too_little(tmp_path: Path) -> None:
    answer = verdict(written(tmp_path, made_up(1, 1)))
    assert answer.headline == "Undecided: one seed cannot tell a difference from chance."


def test_how_many_seeds_are_missing_is_said_with_the_code_to_add(tmp_path: Path) -> None:
    answer = verdict(written(tmp_path, made_up(1, 3, noise=0.1)))
    assert answer.kind == "no gain"
    assert answer.equivalence is not None
    needed = answer.equivalence.pairs_needed()
    assert f"about {needed} seeds would show that GAP is not worse by more than 3 %" in answer.text
    assert f"GapSearch(baselines=(0.5, 0.9, 0.99), seeds={needed})" in answer.text


def test_the_best_of_n_trials_is_told_for_gap_and_for_plain_momentum(tmp_path: Path) -> None:
    losses = made_up(6, 1)
    records = written(tmp_path, losses, more=2)
    found = Comparison.of(records).ended_with
    assert found is not None
    for arm, own in losses.items():
        values = np.array([own[c, 0] for c in range(6)])
        assert found.curves[arm][0] == pytest.approx(values.mean())
        assert found.curves[arm][-1] == pytest.approx(values.min())
    best = [min(losses[arm].values()) for arm in ("gap", "fixed:0.9")]
    assert (
        f"the best of 6 trials ended at {best[0]:#.3g} in loss with GAP and at {best[1]:#.3g} with "
        "fixed:0.9; expected of 4 "
    ) in verdict(records).text
    write_csv(records, tmp_path / "out")
    table = pd.read_csv(tmp_path / "out" / "search.csv")
    assert len(table) == 4 * 6
    assert table[table["method"] == "gap"]["loss"].to_numpy() == pytest.approx(found.curves["gap"])


def test_a_failed_trial_is_the_worst_of_a_search(tmp_path: Path) -> None:
    losses = made_up(3, 1)
    easiest = min(losses["gap"], key=losses["gap"].__getitem__)
    records = written(tmp_path, losses, {("gap", *easiest): "failed"})
    found = Comparison.of(records).ended_with
    assert found is not None
    others = [loss for place, loss in losses["gap"].items() if place != easiest]
    assert found.curves["gap"][-1] == pytest.approx(min(others))
    worst = max(max(own.values()) for own in losses.values())
    assert found.curves["gap"][0] == pytest.approx(np.mean([*others, worst]))


def test_the_expected_best_is_the_mean_over_all_draws() -> None:
    from itertools import combinations

    results = np.random.default_rng(1).normal(size=7)
    drawn = [np.mean([min(some) for some in combinations(results, n)]) for n in range(1, 8)]
    assert expected_best(results, 7) == pytest.approx(drawn)


def stops(
    *, configurations: int, seeds: int, gap: float, own: float, within: float, by_seed: bool = False
) -> float:
    """Simulate how often one-sided tests show GAP to be not worse by more than 3 %.

    Args:
        configurations: How many.
        seeds: Of each.
        gap: How many times the baseline's loss GAP's truly is.
        own: Spread of what a configuration adds to that, the same for all its seeds.
        within: Spread between seeds.
        by_seed: Whether to take each seed for a unit.
    """
    random, times, shown = np.random.default_rng(0), 250, 0
    units = dict(enumerate(np.repeat(np.arange(configurations), seeds)))
    for _ in range(times):
        hard, mine, theirs = (
            np.repeat(random.lognormal(0.0, spread, configurations), seeds)
            for spread in (0.5, own, own)
        )
        noise = random.lognormal(0.0, within, (2, configurations * seeds))
        arms = [pd.Series(hard * each) for each in (gap * mine * noise[0], theirs * noise[1])]
        found = Equivalence.between(
            *(arm if by_seed else by_unit(arm, units) for arm in arms), "min", 0.03
        )
        shown += found is not None and found.not_worse
    return shown / times


# With 250 draws, a rate of 5 % is seen below 8.5 % in 99 cases of 100.
@pytest.mark.parametrize(("configurations", "seeds"), [(8, 1), (4, 3)])
def test_a_sweep_is_stopped_wrongly_in_one_case_of_twenty(configurations: int, seeds: int) -> None:
    rate = stops(configurations=configurations, seeds=seeds, gap=1.03, own=0.04, within=0.02)
    assert rate < 0.085


def test_seeds_of_a_configuration_err_together_and_would_stop_sweeps_wrongly() -> None:
    common = {"configurations": 4, "seeds": 5, "gap": 1.03, "own": 0.05, "within": 0.02}
    assert stops(**common, by_seed=True) > 0.15  # type: ignore[arg-type]
    assert stops(**common) < 0.085  # type: ignore[arg-type]


def test_where_gap_is_level_sweeps_are_stopped() -> None:
    assert stops(configurations=8, seeds=2, gap=1.0, own=0.01, within=0.01) > 0.9


def test_the_answer_follows_the_test_in_simulated_experiments(make_records: Any) -> None:
    random, kinds = np.random.default_rng(2), []
    for gap in (1.0, 1.2):
        base = {seed: random.lognormal(0.0, 0.3) for seed in range(6)}
        own = {seed: value * gap * random.lognormal(0, 0.01) for seed, value in base.items()}
        rest = {seed: 1.5 * value for seed, value in base.items()}
        records = make_records({"gap": own, "fixed:0.9": base, "fixed:0": rest})
        kinds.append(verdict(records).headline.partition(":")[0])
    assert kinds == ["Stop sweeping momentum", "Keep sweeping momentum"]


def test_terminal_and_page_show_such_an_experiment(tmp_path: Path) -> None:
    from rich.console import Console

    ends = {("gap", 1, 0): "failed", ("fixed:0.5", 2, 1): "stopped"}
    records = written(tmp_path, made_up(4, 2), ends, more=1)
    console = Console(record=True, width=80)
    console.print(summary_table(records))
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= 80
    page = write_page(records, tmp_path / "report.html").read_text()
    for part in ("Mean over configurations", "pair is left out"):
        assert part in " ".join(text.split())
        assert part in page
