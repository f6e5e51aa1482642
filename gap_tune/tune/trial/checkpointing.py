"""A trial's checkpoint: gap_tune's file in the folder that goes to Ray."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gap_tune.errors import StateError, UnsupportedError
from gap_tune.files import replacing
from gap_tune.tune.trial import exact_types
from gap_tune.tune.trial.storage import is_storage_fault

FILE = "gap_tune.pt"
_VERSION = 2


def write(folder: Path, state: Mapping[str, Any]) -> None:
    """Write a trial's state into a folder: all of it, or nothing.

    Args:
        folder: Where gap_tune's file goes, next to whatever else is there.
        state: What to save by name. Every type must come back as it was.

    Raises:
        UnsupportedError: When the state holds what ``weights_only`` loading refuses.
        OSError: When the storage cannot take it.
    """
    with replacing(folder / FILE) as unfinished:
        _write(unfinished, {"version": _VERSION, **state})


def _write(path: Path, state: Mapping[str, Any]) -> None:
    try:
        # The file is Python's, since torch's own hides what is wrong with a disk.
        with path.open("wb") as file:
            torch.save(dict(state), file, pickle_module=exact_types)
        # This is tried each time: a state may hold other types later. Tensors are not read.
        with exact_types.admitted():
            torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:
        if is_storage_fault(error):
            raise
        raise UnsupportedError(
            "what a checkpoint saves must consist of tensors and plain values, which load without "
            f"running code, but got a state with {_refused(state) or error}."
        ) from error


def _refused(state: Mapping[str, Any]) -> str | None:
    found = (exact_types.refused(value, name) for name, value in state.items())
    return next((each for each in found if each is not None), None)


def read(folder: Path, objects: Mapping[str, Any]) -> dict[str, Any]:
    """Return the state that ``write`` left in a folder.

    Args:
        folder: The checkpoint's folder.
        objects: The objects to restore from it, by name.

    Raises:
        StateError: When there is no state, it is of another version, or lacks an object.
    """
    path = folder / FILE
    if not path.exists():
        raise StateError(f"the checkpoint must hold {FILE}, but got a folder without it: {folder}.")
    try:
        with exact_types.admitted():
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, StateError):
        raise
    except Exception as error:
        # torch's own sentences are about what its users could do.
        text = str(error)
        reason = (text.partition("WeightsUnpickler error: ")[2] or text).partition("\n")[0]
        raise StateError(
            f"{FILE} of the checkpoint must be whole and of types that this process knows, but "
            f"got one that cannot be loaded: {reason}"
        ) from error
    missing = sorted(set(objects) - set(state.get("objects", ())))
    if state.get("version") != _VERSION or missing:
        raise StateError(
            f"the checkpoint must be of version {_VERSION} and hold {sorted(objects)}, "
            f"but got version {state.get('version')}, which lacks {missing}."
        )
    return state


def holds_all(folder: Path) -> bool:
    """Tell whether a folder has a state with an optimizer in it, and not gap_tune's part only."""
    with suppress(OSError, StateError):
        return (folder / FILE).exists() and "optimizer" in read(folder, {})
    return False


def check_objects(objects: Mapping[str, Any]) -> None:
    """Check that objects can be saved and restored.

    Raises:
        UnsupportedError: When one has no state.
    """
    for name, thing in objects.items():
        if not has_state(thing):
            raise UnsupportedError(
                "what is saved and restored must have state_dict and load_state_dict, or be a "
                f"torch.Generator, but got {type(thing).__name__} for {name!r}."
            )


def has_state(thing: Any) -> bool:
    """Tell whether an object can be saved and restored."""
    methods = (getattr(thing, each, None) for each in ("state_dict", "load_state_dict"))
    return isinstance(thing, torch.Generator) or all(map(callable, methods))


def save_objects(objects: Mapping[str, Any]) -> dict[str, Any]:
    """Return the state of each object: of generators their own, of others ``state_dict()``."""
    return {
        name: thing.get_state() if isinstance(thing, torch.Generator) else thing.state_dict()
        for name, thing in objects.items()
    }


def load_objects(objects: Mapping[str, Any], states: Mapping[str, Any]) -> None:
    """Put the states that ``save_objects`` returned into the objects."""
    for name, thing in objects.items():
        if isinstance(thing, torch.Generator):
            thing.set_state(states[name])
        else:
            thing.load_state_dict(states[name])


def random_state() -> dict[str, Any]:
    """Return the state of torch's global random number generators."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"cpu": torch.get_rng_state(), "cuda": cuda}


def set_random_state(state: Mapping[str, Any]) -> None:
    """Continue torch's random numbers; the devices' only where there are as many as before."""
    torch.set_rng_state(state["cpu"])
    if torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])


def plain(state: Any) -> Any:
    """Return a state of gap_tune's own without enumerations and NumPy's numbers.

    Such a state must load whatever its types are called by then. What users save stays as it is.
    """
    if isinstance(state, dict):
        return {plain(key): plain(value) for key, value in state.items()}
    if isinstance(state, (list, tuple)):
        return (list if isinstance(state, list) else tuple)(map(plain, state))
    if isinstance(state, np.generic):
        return state.item()
    return plain(state.value) if isinstance(state, Enum) else state
