"""Complaints: warnings that are given once per cause, however many results share it."""

from __future__ import annotations

import logging
import re
from typing import Any

from gap_tune.formatting import plain

logger = logging.getLogger(__name__)

_MOST = 50


class Complaints:
    """Logs a warning the first time; can be saved with its owner."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def __call__(self, what: str, trial: Any = None, error: Exception | None = None) -> None:
        """Warn, unless the same was said of an earlier result or trial."""
        # Numbers in a message vary from result to result, its cause does not.
        cause = re.sub(r"[-+.\w]*\d[-+.\w]*", "#", f"{what} {error!r}")[:300]
        if cause in self._known or len(self._known) >= _MOST:
            return
        self._known.add(cause)
        if trial is None:
            logger.warning("%s", plain(what))
        else:
            logger.warning("%s (trial %s, told once): %r", plain(what), trial.trial_id, error)
