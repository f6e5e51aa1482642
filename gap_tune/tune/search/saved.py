"""One file for a searcher and all that it wraps."""

from __future__ import annotations

import os
import pickle
import tempfile
from pathlib import Path

from ray import cloudpickle
from ray.tune.search import Searcher

from gap_tune.errors import StateError
from gap_tune.files import unwritable, write_whole
from gap_tune.tune.ray_private.searchers import chain

_KIND = "gap_tune searcher"


def save_chain(searcher: Searcher, path: str | os.PathLike[str]) -> None:
    """Save the states of a searcher's wrappers and the innermost searcher's own file as one.

    Raises:
        InvalidValueError: When the folder cannot be written.
    """
    *wrappers, base = chain(searcher)
    states = [(type(w).__name__, w.get_state()) for w in wrappers]
    try:
        # Temporary files go elsewhere: if that is full, the searcher can still be saved.
        with tempfile.TemporaryDirectory(dir=Path(path).parent, prefix=".searcher-") as folder:
            file = Path(folder) / "searcher"
            base.save(str(file))
            saved = {"kind": _KIND, "wrappers": states, "searcher": file.read_bytes()}
    except OSError as error:
        raise unwritable(path, error) from None
    write_whole(path, cloudpickle.dumps(saved))


def restore_chain(searcher: Searcher, path: str | os.PathLike[str]) -> None:
    """Restore what ``save_chain`` wrote into searchers that are wrapped alike.

    Raises:
        StateError: When the file is something else, or the wrappers differ; nothing is changed.
    """
    *wrappers, base = chain(searcher)
    try:
        saved = cloudpickle.loads(Path(path).read_bytes())
    except (pickle.UnpicklingError, EOFError, AttributeError, ImportError, ValueError) as error:
        raise _wrong(path, repr(error)) from None
    if not isinstance(saved, dict) or saved.get("kind") != _KIND:
        raise _wrong(path, type(saved).__name__)
    names, present = [n for n, _ in saved["wrappers"]], [type(w).__name__ for w in wrappers]
    if names != present:
        raise _wrong(path, f"the state of {names} for {present}")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "searcher"
        file.write_bytes(saved["searcher"])
        base.restore(str(file))
    for wrapper, (_, state) in zip(wrappers, saved["wrappers"], strict=True):
        wrapper.set_state(state)


def _wrong(path: str | os.PathLike[str], what: str) -> StateError:
    return StateError(
        f"the searcher's file must be one that GapSearch.save wrote, with the same searchers "
        f"around each other, but {os.fspath(path)} holds {what}."
    )
