"""Experiments of many trials whose hyperparameters a test chooses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from gap_tune.records.records import Records
from tests.report.conftest import MakeRecords

Experiment = Callable[..., Records]


@pytest.fixture(scope="session")
def experiment(make_records: MakeRecords) -> Experiment:
    """Return a function ``[config]``, ``[final loss]`` -> records of trials of the arm gap."""

    def make(
        configs: Sequence[Mapping[str, Any]], finals: Sequence[float], **options: Any
    ) -> Records:
        records = make_records(
            {"gap": dict(enumerate(finals))}, study={"paired": False}, test_metrics=False, **options
        )
        return replace(
            records, configs={f"gap-{place}": config for place, config in enumerate(configs)}
        )

    return make
