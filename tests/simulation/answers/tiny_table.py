"""A folder of recorded runs that is small, and by its formula favours momentum 0.9."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from gap_tune.simulation.recorded.files import write_tables
from gap_tune.simulation.recorded.recordings import (
    ALIGNMENTS,
    COUNTED,
    FLOATS,
    ArmFacts,
    Recordings,
)
from gap_tune.tune.spelling import fixed_name

MOMENTA = (0.5, 0.9, 0.99)
RATES = (0.01, 0.1, 1.0)
MOMENTS = 9
# What the tuned arms have come to after the first report, and what a wrong momentum costs.
_TUNED = ("gap", "gap-unscaled")
_PRICE = {0.5: 0.3, 0.9: 0.0, 0.99: 0.6}


def tiny_table(folder: Path, *names: str, seeds: int = 2) -> Path:
    """Write a table with settings of these names, and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    write_tables(folder, [_recordings(name, seeds) for name in names], {"suite": {}})
    return folder


def _recordings(name: str, seeds: int) -> Recordings:
    arms = [*map(fixed_name, MOMENTA), *_TUNED]
    shape = (len(arms), len(RATES), seeds, MOMENTS)
    done = np.arange(1, MOMENTS + 1) / MOMENTS
    prices = np.array([*_PRICE.values(), 0.0, 0.0])[:, None, None, None]
    off = np.array([0.2, 0.0, 0.4])[None, :, None, None]
    luck = 0.01 * np.arange(seeds)[None, None, :, None]
    loss = np.broadcast_to(0.5 + prices + off + luck + (1.0 - done), shape)
    columns: dict[str, Any] = {key: np.full(shape, 1.0) for key in FLOATS}
    columns |= {key: np.zeros(shape, np.int32) for key in COUNTED}
    columns |= {"validation_loss": loss, "test_loss": 1.1 * loss}
    momenta = np.array([*MOMENTA, 0.9, 0.9])[:, None, None, None]
    columns["momentum"] = np.broadcast_to(momenta, shape).copy()
    columns["lr"] = np.broadcast_to(np.array(RATES)[None, :, None, None], shape).copy()
    columns["steps"] = np.broadcast_to(20 * np.arange(1, MOMENTS + 1), shape).astype(np.int32)
    columns["whitening"] = np.full(shape, np.nan)
    for key, aligned in zip(ALIGNMENTS, (0.1, 9.0, 0.1, 0.0), strict=True):
        columns[key] = np.full(shape, aligned)
    return Recordings(
        name,
        "sgd",
        {arm: ArmFacts(MOMENTA, 0.01, 0.1) for arm in arms},
        RATES,
        tuple(20 * place for place in range(1, MOMENTS + 1)),
        dimension=10,
        sampled=10,
        initial_validation=(1.6,) * seeds,
        initial_test=(1.76,) * seeds,
        columns=columns,
    )
