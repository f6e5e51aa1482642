"""What keeps a class trainable's state in its checkpoints, whatever a subclass overrides.

Ray's tutorials override ``save_checkpoint`` and ``load_checkpoint`` without ``super()``. So every
override is wrapped: the outermost call adds gap_tune's file to what was saved, and reads it after
what was restored.
"""

from __future__ import annotations

import copy
import functools
import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gap_tune.tune.trial.checkpointing import FILE

logger = logging.getLogger(__name__)

# Where gap_tune's file is in a checkpoint that a subclass returned as a dictionary.
_KEY = "gap_tune"
_WRAPPED = "_wrapped_by_gap_tune"


def wrap(trainable: type[Any]) -> None:
    """Wrap the overrides of a class, its own or those of a mixin."""
    for name, wrapper in (("save_checkpoint", _saving), ("load_checkpoint", _loading)):
        method = getattr(trainable, name)
        if method.__module__ != _BASE and not hasattr(method, _WRAPPED):
            wrapped = wrapper(method)
            setattr(wrapped, _WRAPPED, True)
            setattr(trainable, name, wrapped)


def split(checkpoint: Any) -> tuple[Any, Path | bytes | None]:
    """Return a subclass's part of a checkpoint, and where gap_tune's file is; None where nowhere.

    Args:
        checkpoint: What Ray passes to ``load_checkpoint``: a folder, or what was returned.
    """
    if not isinstance(checkpoint, Mapping):
        return checkpoint, Path(checkpoint)
    if _KEY not in checkpoint:
        return checkpoint, None
    theirs: Any = copy.copy(checkpoint)
    return theirs, theirs.pop(_KEY)


@contextmanager
def folder_of(own: Path | bytes | None) -> Iterator[Path]:
    """Yield the folder with gap_tune's file."""
    if isinstance(own, Path):
        yield own
        return
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        if own is not None:
            (Path(folder) / FILE).write_bytes(own)
        yield Path(folder)


def _saving(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def save_checkpoint(self: Any, checkpoint_dir: Any, *args: Any, **kwargs: Any) -> Any:
        with _outermost(self) as outermost:
            if not outermost:
                return method(self, checkpoint_dir, *args, **kwargs)
            trial = self._receive()
            returned = method(self, checkpoint_dir, *args, **kwargs)
            if isinstance(returned, Mapping):
                # Ray hands this to load_checkpoint, and not the folder.
                returned = copy.copy(returned)
                with folder_of(None) as folder:
                    trial.save(folder, whole=True)
                    returned[_KEY] = (folder / FILE).read_bytes()  # type: ignore[index]
            elif not self._done:
                trial.save(Path(checkpoint_dir), whole=True)
            return returned

    return save_checkpoint


def _loading(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def load_checkpoint(self: Any, checkpoint: Any, *args: Any, **kwargs: Any) -> None:
        with _outermost(self) as outermost:
            if not outermost:
                method(self, checkpoint, *args, **kwargs)
                return
            theirs, self._own = split(checkpoint)
            trial, held = self._trial, self._places()
            method(self, theirs, *args, **kwargs)
            if (
                trial is not None
                and self._trial is trial
                and self._has_replaced_its_optimizer(held)
            ):
                self._attach_again(held)
                self._done = False
            _continue(self)

    return load_checkpoint


def _continue(trainable: Any) -> None:
    """Restore gap_tune's part after a subclass has restored its own."""
    own = trainable._own
    if own is None or (isinstance(own, Path) and not (own / FILE).exists()):
        logger.warning(
            "the checkpoint of trial %s should hold %s, but got none, as of a %s that saved "
            "without it: momentum and statistics start anew.",
            *(trainable.trial_id, FILE, type(trainable).__name__),
        )
        return
    with folder_of(own) as folder:
        # Where super() has loaded all, the subclass may have loaded an optimizer since.
        trainable._load(folder, whole=not trainable._done)


@contextmanager
def _outermost(trainable: Any) -> Iterator[bool]:
    """Yield whether a call is not from within another override of the same kind."""
    first = trainable._depth == 0
    if first:
        trainable._done, trainable._own = False, None
    trainable._depth += 1
    try:
        yield first
    finally:
        trainable._depth -= 1
        if first:
            trainable._own = None


_BASE = "gap_tune.tune.integrations.trainable"
