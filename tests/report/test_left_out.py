"""Pairs that a test leaves out, each with what its trials did instead of ending."""

from __future__ import annotations

import pandas as pd

from gap_tune.records.records import Records
from gap_tune.report.evidence.left_out import LeftOut


def left_out(statuses: dict[tuple[str, int], str], results: dict[str, dict[int, float]]) -> LeftOut:
    rows = [(arm, seed, status) for (arm, seed), status in statuses.items()]
    trials = pd.DataFrame(rows, columns=["arm", "seed", "status"])
    values = {arm: pd.Series(own, dtype=float) for arm, own in results.items()}
    return LeftOut.of(Records({}, trials, trials), values)


def test_every_kind_of_missing_result_is_told_by_arm() -> None:
    found = left_out(
        {
            ("gap", 0): "finished",
            ("gap", 1): "failed",
            ("gap", 2): "stopped",
            ("gap", 3): "finished",
            ("fixed:0.9", 0): "finished",
            ("fixed:0.9", 1): "unfinished",
            ("fixed:0.9", 2): "finished",
            # Another arm's trials are nobody's pair.
            ("fixed:0.5", 7): "failed",
        },
        {"gap": {0: 0.1}, "fixed:0.9": {0: 0.2, 2: 0.3}},
    )
    assert found.pairs == 3
    assert found.reasons == {
        ("gap", "failed"): 1,
        ("fixed:0.9", "unfinished"): 1,
        ("gap", "stopped"): 1,
        ("gap", "finished"): 1,
        ("fixed:0.9", ""): 1,
    }
    assert found.text == (
        "3 pairs are left out: gap failed in 1, fixed:0.9 not ended in 1, gap stopped early in 1, "
        "gap without a finite result in 1, fixed:0.9 not started in 1."
    )
    assert found.was("failed", "gap")
    assert not found.was("failed", "fixed:0.9")


def test_equal_reasons_are_counted() -> None:
    statuses = {("gap", seed): "failed" for seed in range(3)}
    statuses |= {("fixed:0.9", seed): "finished" for seed in range(3)}
    found = left_out(statuses, {"gap": {}, "fixed:0.9": dict.fromkeys(range(3), 0.2)})
    assert (found.pairs, dict(found.reasons)) == (3, {("gap", "failed"): 3})
    assert found.text == "3 pairs are left out: gap failed in 3."


def test_nothing_is_left_out_of_whole_pairs_or_of_no_trials() -> None:
    whole = left_out({("gap", 0): "finished"}, {"gap": {0: 0.1}})
    for found in (whole, left_out({}, {"gap": {}, "fixed:0.9": {}})):
        assert (found.pairs, found.reasons, found.text) == (0, {}, "")
