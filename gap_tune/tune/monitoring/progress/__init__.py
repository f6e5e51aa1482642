"""What a terminal or a log shows of a study while it runs."""

from __future__ import annotations

from gap_tune.tune.monitoring.progress.callback import STYLES, Progress

__all__ = ["STYLES", "Progress"]
