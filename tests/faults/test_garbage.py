"""Results that hold garbage where statistics should be, in a real study."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ray import tune

from gap_tune.testing import make_statistics
from tests.tune.conftest import make_run

REPORTS = 3
GOOD = make_statistics(
    (0.8, 0.9), alignment=(1.0, 2.0), autocorrelation=(4.0, 1.0), weight=5.0, steps=100
).to_dict()
GARBAGE: dict[str, Any] = {
    "malformed": "{not JSON",
    "no text": 3.0,
    "wrong K": json.dumps({**GOOD, "alignment": [1.0]}),
    "NaN": json.dumps({**GOOD, "weight": float("nan")}),
    "10 MB": "[" + "0," * 5_000_000 + "0]",
    "good": json.dumps(GOOD),
}


def report_garbage(config: dict[str, Any]) -> None:
    own = {"gap/momentum": 0.9, "gap/seq": 0, "gap/steps": 100, "gap/steps_since_change": 100}
    for _ in range(REPORTS):
        tune.report({"loss": 1.0, "gap/statistics": GARBAGE[config["kind"]], **own})


@pytest.mark.slow
def test_garbage_in_statistics_ends_neither_trial_nor_study(
    ray_address: str, tmp_path: Path
) -> None:
    grid = make_run(tmp_path)([{"kind": kind} for kind in GARBAGE], function=report_garbage)
    assert not grid.errors
    assert [r.config["kind"] for r in grid] == list(GARBAGE)
    for result in grid:
        assert len(result.metrics_dataframe) == REPORTS  # type: ignore[arg-type]
