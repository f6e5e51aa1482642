"""A monitor whose statistics are held against the oracle."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from gap_tune import AlignmentStatistics, GradientMonitor
from tests.gradients import oracle

CANDIDATES = (0.5, 0.9)


def monitored(parameters: list[Any], **options: Any) -> tuple[torch.optim.SGD, GradientMonitor]:
    optimizer = torch.optim.SGD(parameters, lr=0.0, momentum=0.9)
    return optimizer, GradientMonitor(optimizer, candidates=CANDIDATES, decay=1.0, **options)


def assert_matches(statistics: AlignmentStatistics, history: list[Any], rtol: float) -> None:
    flat = [np.asarray(g, dtype=np.float64).ravel() for g in history]
    expected = [oracle.alignment(flat, beta, 1.0) for beta in CANDIDATES]
    np.testing.assert_allclose(statistics.alignment, expected, rtol=rtol)
    assert statistics.power == pytest.approx(oracle.autocorrelation(flat, 0, 1.0), rel=rtol)
