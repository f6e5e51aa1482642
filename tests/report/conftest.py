"""Synthetic studies: records whose every number a test chooses or can compute by hand."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import pandas as pd
import pytest

from gap_tune.records.records import Records

CANDIDATES = (0.8, 0.9, 0.95, 0.99)
STEPS_PER_REPORT = 10
FIXED = tuple(f"fixed:{momentum:g}" for momentum in (0, 0.5, 0.8, 0.9, 0.95, 0.99))


def statistics(scale: float = 1.0) -> str:
    """Statistics whose gains are largest at 0.8."""
    return json.dumps(
        {
            "version": 1,
            "candidates": list(CANDIDATES),
            "alignment": [scale] * len(CANDIDATES),
            "validation_alignment": [0.0] * len(CANDIDATES),
            "autocorrelation": [2 * scale, 0.5 * scale],
            "whitening": None,
            "weight": 1.0,
            "validation_weight": 0.0,
            "steps": 10,
            "skipped_steps": 0,
            "dimension": 100,
            "sampled": 100,
        }
    )


def changes(momenta: Sequence[float], reports: int) -> int:
    """How often momentum had changed before the report of that number."""
    used = [momenta[i % len(momenta)] for i in range(reports + 1)]
    return sum(a != b for a, b in pairwise(used))


def report_rows(
    arm: str, seed: int, final: float, reports: int, momenta: Sequence[float]
) -> list[dict[str, Any]]:
    """The reports of a trial: loss falls to ``final``, momentum follows ``momenta``."""
    rows = []
    for i in range(reports):
        used, after = momenta[i % len(momenta)], momenta[(i + 1) % len(momenta)]
        decided = i < reports - 1
        rows.append(
            {
                "arm": arm,
                "seed": seed,
                "trial_id": f"{arm}-{seed}",
                "iteration": i + 1,
                "epoch": (i + 1) / 2,
                "validation_loss": final + 0.1 * (reports - 1 - i),
                "validation_accuracy": 0.5 + i / (2 * reports),
                "gap/momentum": used,
                "gap/mode": "scheduler" if arm == "gap" else "fixed",
                "gap/seq": changes(momenta, i) if arm == "gap" else 0,
                "gap/reason": ("best gain" if after != used else "already best") * decided,
                "gap/decision": f"{after:g} has the largest gain." * decided,
                "gap/gain": 1.0 + i,
                "gap/steps": STEPS_PER_REPORT * (i + 1),
                "gap/statistics": statistics(1.0 + i),
            }
        )
    return rows


MakeRecords = Callable[..., Records]


@pytest.fixture(scope="session")
def make_records() -> MakeRecords:
    """Return a function ``{arm: {seed: final loss}}`` -> records.

    ``failed`` and ``unfinished`` name (arm, seed) pairs; ``momenta`` are used in turn by arm gap.
    """

    def make(
        finals: Mapping[str, Mapping[int, float]],
        *,
        mode: str = "min",
        metric: str = "validation_loss",
        failed: Mapping[tuple[str, int], str] | None = None,
        unfinished: Sequence[tuple[str, int]] = (),
        test_metrics: bool = True,
        reports: int = 4,
        momenta: Sequence[float] = (0.9, 0.8, 0.8, 0.95),
        study: Mapping[str, Any] | None = None,
    ) -> Records:
        failed = failed or {}
        results, trials = [], []
        for arm, by_seed in finals.items():
            for seed, final in by_seed.items():
                used = momenta if arm == "gap" else (0.9,)
                rows = report_rows(arm, seed, final, reports, used)
                ended_well = (arm, seed) not in failed and (arm, seed) not in unfinished
                if ended_well and test_metrics:
                    rows[-1] |= {"test_loss": 2 * final, "test_accuracy": 1 - final / 10}
                status = "failed" if (arm, seed) in failed else "unfinished"
                trials.append(
                    {
                        **rows[-1],
                        "status": "finished" if ended_well else status,
                        "error": failed.get((arm, seed), ""),
                        "reports": reports,
                        "steps": STEPS_PER_REPORT * reports,
                        "seconds": 1.0,
                    }
                )
                results += rows
        about = {
            "arms": list(finals),
            "seeds": max((len(by_seed) for by_seed in finals.values()), default=0),
            "metric": metric,
            "mode": mode,
            "settings": {"workload": "digits-resnet", "lr": 0.1},
            "command": "gap-tune demo",
            "versions": {"python": "3.11"},
        }
        about |= study or {}
        return Records(about, pd.DataFrame(results), pd.DataFrame(trials))

    return make


@pytest.fixture(scope="session")
def full_study(make_records: MakeRecords) -> Records:
    """Seven arms and three seeds: GAP from 0.20 to 0.24, fixed:0.9 the best fixed one."""
    levels = dict(zip(FIXED, (0.9, 0.6, 0.4, 0.25, 0.3, 0.8), strict=True))
    finals = {"gap": {0: 0.20, 1: 0.24, 2: 0.21}}
    finals |= {
        arm: {seed: level + 0.01 * seed for seed in range(3)} for arm, level in levels.items()
    }
    return make_records(finals)
