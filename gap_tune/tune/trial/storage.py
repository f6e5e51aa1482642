"""Storage that is full or out of order costs checkpoints, never results."""

from __future__ import annotations

import logging
import re

logger = logging.getLogger(__name__)

# What torch's and safetensors' own writers say, in errors that are no OSError.
_WORDS = re.compile(
    r"inline_container|PytorchStreamWriter|iostream error|No space left on device"
    r"|Disk quota exceeded|Read-only file system|Input/output error|\(os error \d+\)"
)


def is_storage_fault(error: BaseException) -> bool:
    """Tell whether something could not be written (or read), rather than had a mistake in it.

    True for every ``OSError``, and for what ``torch.save`` and safetensors raise instead when a
    disk is full, also where such an error was the cause of another. ``report`` then goes on
    without a checkpoint; whoever writes files of their own may do the same.

    >>> is_storage_fault(OSError(28, "No space left on device"))
    True
    >>> is_storage_fault(RuntimeError("[enforce fail at inline_container.cc:671] unexpected pos"))
    True
    >>> is_storage_fault(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    False
    """
    if isinstance(error, OSError) or _WORDS.search(str(error)):
        return True
    return error.__cause__ is not None and is_storage_fault(error.__cause__)


def go_on_without(error: BaseException) -> None:
    """Say that a checkpoint is left out."""
    logger.warning("The trial goes on without this checkpoint: %s", error)
