"""One comparison serves everything that a report says, and says it as every part would alone."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
import pytest

from gap_tune.records.records import Records
from gap_tune.report import Comparison, summarise, verdict, write_csv, write_page
from gap_tune.report.finals import final_metrics
from tests.report.conftest import MakeRecords


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[Records]:
    """The records of which final metrics are computed from now on, wherever that is."""
    found: list[Records] = []

    def counting(records: Records) -> pd.DataFrame:
        found.append(records)
        return final_metrics(records)

    for module in [each for name, each in sys.modules.items() if name.startswith("gap_tune")]:
        for name, value in list(vars(module).items()):
            if value is final_metrics:
                monkeypatch.setattr(module, name, counting)
    return found


def test_final_metrics_are_computed_once_per_page(
    full_study: Records, computed: list[Records], tmp_path: Path
) -> None:
    write_page(full_study, tmp_path / "report.html")
    assert computed == [full_study]


def test_whoever_has_a_comparison_computes_nothing_anew(
    full_study: Records, computed: list[Records], tmp_path: Path
) -> None:
    comparison = Comparison.of(full_study)
    assert Comparison.of(comparison) is comparison
    write_page(comparison, tmp_path / "of-comparison.html")
    write_csv(comparison, tmp_path)
    answer, summary = verdict(comparison), summarise(comparison)
    assert len(computed) == 1
    assert answer == verdict(full_study)
    pd.testing.assert_frame_equal(summary, summarise(full_study))
    write_page(full_study, tmp_path / "of-records.html")
    pages = [(tmp_path / f"of-{name}.html").read_bytes() for name in ("comparison", "records")]
    assert pages[0] == pages[1]


def test_arms_compete_on_the_seeds_that_those_with_the_fewest_failures_share(
    make_records: MakeRecords,
) -> None:
    records = make_records(
        {
            "gap": {0: 0.3, 1: 0.5},
            "fixed:0.5": {0: 0.1, 1: 9.0},
            "fixed:0.9": {0: 0.4, 1: 0.6},
            "fixed:0.8": {0: 0.2, 1: 0.9},
        },
        failed={("fixed:0.5", 1): "diverged"},
    )
    comparison = Comparison.of(records)
    assert comparison.fixed_arms == ("fixed:0.5", "fixed:0.9", "fixed:0.8")
    assert comparison.best_fixed == "fixed:0.9"
    assert comparison.lost_seeds["fixed:0.5"] == {1}
    assert comparison.lost_seeds["gap"] == frozenset()
    assert comparison.differences["gap"].by_seed == pytest.approx({0: -0.1, 1: -0.1})
    assert comparison.differences["fixed:0.9"].mean == 0.0
    # The test loss is twice the validation loss.
    assert comparison.difference("gap", "test_loss").mean == pytest.approx(-0.2)
    assert comparison.costs["fixed:0.5"].ended["failed"] == 1


def test_without_a_fixed_arm_nothing_is_compared(make_records: MakeRecords) -> None:
    comparison = Comparison.of(make_records({"gap": {0: 0.2}}))
    assert comparison.best_fixed is None
    assert comparison.values(comparison.best_fixed).empty
    assert comparison.differences["gap"].by_seed == {}
