"""The journal of a recording that nobody trained: numbers from a generator."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

ARMS = ("fixed:0", "fixed:0.9", "gap", "gap-unscaled")
RATES = (0.01, 0.1, 1.0)
SEEDS = 2
MOMENTS = 4
CANDIDATES = (0.8, 0.9, 0.95, 0.99)


def statistics(random: np.random.Generator, moment: int, candidates: Sequence[float]) -> Any:
    """Return the statistics of a moment, their candidates nearly level more often than not."""
    power = float(10.0 ** random.uniform(-30, 30))
    level = [power * (1.0 - 0.3 * s) / (b * s) for b in candidates if (s := np.sqrt(1 - b * b))]
    near = random.choice([1e-1, 1e-4, 1e-6, 1e-12])
    return {
        "version": 1,
        "candidates": list(candidates),
        "alignment": [float(a * (1.0 + near * random.normal())) for a in level],
        "validation_alignment": [0.0] * len(candidates),
        "autocorrelation": [power, *random.normal(size=3).tolist()],
        "whitening": None,
        "weight": float(sum(0.8**n for n in range(10 * moment))),
        "validation_weight": 0.0,
        "steps": 10 * moment,
        "skipped_steps": 0,
        "dimension": 50,
        "sampled": 40,
        "agreement": None,
    }


def runs(seed: int = 0, setting: str = "one") -> list[dict[str, Any]]:
    """Return the lines of all runs; at the highest learning rate, momentum 0.9 diverges."""
    random = np.random.default_rng(seed)
    found = []
    for arm in ARMS:
        for rate, lr in enumerate(RATES):
            for number in range(SEEDS):
                diverged = arm == "fixed:0.9" and lr == RATES[-1]
                moments = [
                    {
                        "step": 10 * moment,
                        "validation_loss": float(random.lognormal()),
                        "test_loss": float(random.lognormal()),
                        "momentum": float(arm[6:]) if arm.startswith("fixed:") else 0.9,
                        "lr": lr * (5 - moment) / 5,
                        "scale": 1.0,
                        "agreement": float(random.uniform(-1, 1)) if arm == "gap" else None,
                        "statistics": statistics(random, moment, CANDIDATES),
                    }
                    for moment in range(1, (3 if diverged else MOMENTS + 1))
                ]
                found.append(
                    {
                        **{"setting": setting, "arm": arm, "rate": rate, "seed": number, "lr": lr},
                        "status": "diverged" if diverged else "finished",
                        "error": "",
                        "initial_validation_loss": 2.0 + number,
                        "initial_test_loss": 3.0 + number,
                        "moments": moments,
                    }
                )
    return found


def write_journal(folder: Path, lines: Sequence[dict[str, Any]]) -> Path:
    """Write what a recording leaves, and return its folder."""
    names = list(dict.fromkeys(line["setting"] for line in lines))
    common = {"seeds": SEEDS, "lr_span": 100.0, "lr_count": len(RATES), "rule": "", "version": "0"}
    settings = [{"name": name, "family": "sgd"} for name in names]
    times = [
        {"setting": name, "arm": arm, "seconds_per_step": seconds, "evaluation_seconds": 0.5}
        for name in names
        for arm in ARMS
        for seconds in (0.02, 0.01, 0.03)
    ]
    folder.mkdir(exist_ok=True)
    (folder / "recorded.json").write_text(json.dumps({**common, "settings": settings}))
    for name, rows in (("runs.jsonl", lines), ("timing.jsonl", times)):
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder
