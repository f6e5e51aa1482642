"""Results: what a trial reported last, and with its last checkpoint (facts 8 and 13)."""

from __future__ import annotations

from typing import Any

from ray.tune.result import TRIAL_ID
from ray.tune.utils import flatten_dict

_CHECKPOINT_PATH = "checkpoint_path"


def last_result(trial: Any) -> dict[str, Any]:
    """Return what a trial reported last; nothing before its first report.

    Not ``trial.last_result``: before that it asks the trial's process, waits for the answer, and
    notes the trial's id as if it had been reported (fact 13).
    """
    result: dict[str, Any] = trial.run_metadata.last_result
    return result if result and result.keys() - {TRIAL_ID} else {}


def checkpoint_metrics(trial: Any) -> dict[str, Any] | None:
    """Return the flattened result that came with a trial's latest checkpoint, if it has one."""
    latest, last = trial.latest_checkpoint_result, last_result(trial)
    metrics = last if latest is None and last.get(_CHECKPOINT_PATH) else None
    if latest is not None:
        metrics = latest.metrics
    flat: dict[str, Any] | None = flatten_dict(metrics) if metrics else None
    return flat
