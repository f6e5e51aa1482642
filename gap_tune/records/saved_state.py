"""What Ray Tune saved of an experiment, read without running any of it."""

from __future__ import annotations

import json
import pickletools
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from gap_tune.tune.keys import OBJECTIVE_MODES


def saved_trials(folder: Path) -> list[dict[str, Any]]:
    """Return what Ray saved last of each trial, in the order of their beginning."""
    for path in sorted(folder.glob("experiment_state-*.json"))[-1:]:
        # A driver that runs may be writing it now, and one that was killed may not have ended.
        try:
            trials = [json.loads(trial) for trial, _ in json.loads(path.read_text())["trial_data"]]
        except (ValueError, KeyError, TypeError):
            continue
        return [trial for trial in trials if {"trial_id", "status"} <= set(trial)]
    return []


def tune_config(path: Path) -> dict[str, str]:
    """Return metric and mode in Ray's saved tuner, where they can be read.

    The file is a pickle, which is read without running anything in it: whoever opens somebody
    else's experiment must not run their code.
    """
    try:
        strings = list(_strings(path.read_bytes()))
    except (OSError, ValueError, IndexError):
        return {}
    found: dict[str, str] = {}
    for name, value in pairwise(strings):
        if name == "metric" and value is not None:
            found.setdefault("metric", value)
        elif name == "mode" and value in OBJECTIVE_MODES:
            found.setdefault("mode", value)
    return found


def _strings(pickled: bytes) -> Iterator[str | None]:
    """Yield what a pickle pushes, in order: strings, and None for everything else."""
    memo: list[str | None] = []
    last: str | None = None
    for opcode, argument, _ in pickletools.genops(pickled):
        if opcode.name == "MEMOIZE":
            memo.append(last)
            continue
        if opcode.name in ("BINGET", "LONG_BINGET") and isinstance(argument, int):
            last = memo[argument]
        else:
            last = argument if isinstance(argument, str) else None
        yield last
