"""A trial's checkpoint: gap_tune's file in the folder that goes to Ray."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gap_tune.errors import StateError, UnsupportedError

FILE = "gap_tune.pt"
_VERSION = 2


def write(folder: Path, state: Mapping[str, Any], *, check: bool) -> None:
    """Write a trial's state into a folder.

    Args:
        folder: Where gap_tune's file goes, next to whatever else is there.
        state: Tensors and plain values by name.
        check: Whether to try reading it back, which shows early what would fail after a fault.

    Raises:
        UnsupportedError: When the state holds what ``weights_only`` loading refuses.
    """
    torch.save({"version": _VERSION, **_plain(state)}, folder / FILE)
    if not check:
        return
    try:
        torch.load(folder / FILE, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError as error:
        reason = str(error).partition("\n")[0]
        raise UnsupportedError(
            "what a checkpoint saves must consist of tensors and plain values, which load without "
            f"running code, but got a state that does not: {reason}"
        ) from None


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
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    missing = sorted(set(objects) - set(state.get("objects", ())))
    if state.get("version") != _VERSION or missing:
        raise StateError(
            f"the checkpoint must be of version {_VERSION} and hold {sorted(objects)}, "
            f"but got version {state.get('version')}, which lacks {missing}."
        )
    return state


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


def _plain(state: Any) -> Any:
    """Turn NumPy scalars, enums and named tuples into what ``weights_only`` loading admits."""
    if isinstance(state, dict):
        copied = {_plain(key): _plain(value) for key, value in state.items()}
        if not isinstance(state, OrderedDict):
            return copied
        ordered = OrderedDict(copied)
        # A module's state dict keeps its modules' versions in an attribute.
        vars(ordered).update(vars(state))
        return ordered
    if isinstance(state, list):
        return [_plain(item) for item in state]
    if isinstance(state, tuple):
        return tuple(_plain(item) for item in state)
    if isinstance(state, np.generic):
        return state.item()
    return _plain(state.value) if isinstance(state, Enum) else state
