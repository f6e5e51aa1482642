"""What tests take from Ray's insides, in one place: parts that Ray names with an underscore."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

from ray.train._internal.session import _TrainingResult, shutdown_session
from ray.train._internal.storage import StorageContext
from ray.tune import Checkpoint
from ray.tune.callback import CallbackList

__all__ = [
    "StorageContext",
    "callback_count",
    "continue_from",
    "hidden_callbacks",
    "shutdown_session",
]


def continue_from(
    trial: Any, folder: Path | PurePosixPath, result: dict[str, Any], filesystem: Any = None
) -> None:
    """Let a trial start from the checkpoint in a folder, which came with a result."""
    saved = _TrainingResult(Checkpoint(str(folder), filesystem=filesystem), result)
    trial.run_metadata.checkpoint_manager._latest_checkpoint_result = saved


def callback_count(callbacks: CallbackList) -> int:
    """Return how many callbacks Ray calls."""
    return len(callbacks._callbacks)


def hidden_callbacks() -> CallbackList:
    """Return the callbacks of a Ray that keeps them elsewhere."""
    callbacks = CallbackList([])
    del callbacks._callbacks
    return callbacks
