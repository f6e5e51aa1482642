"""What every callback of gap_tune has in common."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any

logger = logging.getLogger(__name__)


def contained(method: Callable[..., None]) -> Callable[..., None]:
    """Log instead of raise: an exception in a callback would end the whole study."""

    @functools.wraps(method)
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> None:
        try:
            method(self, *args, **kwargs)
        except Exception:
            logger.warning("%s.%s failed", type(self).__name__, method.__name__, exc_info=True)

    return wrapper
