"""An experiment's folder as somebody else could hand it over."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

OWN = {"gap/momentum": 0.9, "gap/seq": 0, "gap/steps": 10, "gap/mode": "scheduler"}


def write_trial(folder: Path, name: str, *, error: str = "", **more: Any) -> Path:
    """Write a trial that reported once, as Ray Tune writes it; return its folder."""
    path = folder / f"train_{name}_1"
    path.mkdir(parents=True)
    (path / "params.json").write_text(json.dumps({"lr": 0.1, "momentum": 0.9}))
    row = {"loss": 1.0, "training_iteration": 1, "trial_id": name, "time_total_s": 1.0}
    (path / "result.json").write_text(json.dumps({**row, **OWN, **more}) + "\n")
    if error:
        (path / "error.txt").write_text(error)
    return path
