"""Studies that were saved under an earlier layout find their classes."""

from __future__ import annotations

import pickle

import pytest

from gap_tune.tune.scheduling.decider import Decider
from gap_tune.tune.scheduling.decision_log import DecisionLog
from gap_tune.tune.scheduling.scheduler import GapScheduler


@pytest.mark.parametrize(
    ("module", "kind"),
    [
        ("gap_tune.tune.scheduler", GapScheduler),
        ("gap_tune.tune.deciding", Decider),
        ("gap_tune.tune.decisions", DecisionLog),
    ],
)
def test_a_saved_scheduler_finds_the_classes_it_is_made_of(module: str, kind: type) -> None:
    saved = f"c{module}\n{kind.__name__}\n.".encode()
    assert pickle.loads(saved) is kind
