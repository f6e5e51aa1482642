"""Workers: reports of the processes that Ray Train starts (facts 17 and 28)."""

from __future__ import annotations

import warnings
from typing import Any

import ray.train


def is_worker() -> bool:
    """Tell whether this process is a worker of Ray Train.

    Ray Train's first generation (``RAY_TRAIN_V2_ENABLED=0``, and what Ray 2.50 does unasked) has a
    context in every process: a plain trial's has no rank, one outside of Ray rank 0 of nothing.
    """
    try:
        context = ray.train.get_context()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # The first generation's, outside of a session.
            return None not in (context.get_world_rank(), context.get_experiment_name())
    except (RuntimeError, DeprecationWarning):
        return False


def finish_report(result: dict[str, Any]) -> bool:
    """Send a worker's result whose checkpoint could not be stored.

    Reporting once more would be one report more than the other ranks make, unless Ray is one
    that stores the checkpoint before the ranks agree.

    Returns:
        Whether this Ray can do so.
    """
    try:
        from ray.train.v2._internal.execution.context import get_train_context

        context = get_train_context()
    except (ImportError, RuntimeError):
        ray.train.report(result)
        return True
    try:
        report = context._upload_checkpoint("", result, None)
        context._wait_then_report(report, context.report_call_index)
    except (AttributeError, TypeError):
        return False
    return True
