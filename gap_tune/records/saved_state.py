"""What Ray Tune saved of an experiment, read without running any of it.

The formats of ``experiment_state-*.json`` and ``tuner.pkl`` are private facts of Ray, which reads
them itself for ``Tuner.restore``. This module alone relies on them: on ``trial_data``, a list of
pairs whose first is a trial as JSON text with ``trial_id``, ``status`` and ``relative_logdir``, and
on the names "metric" and "mode" before their values in the pickle.
"""

from __future__ import annotations

import json
import pickletools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

from gap_tune.tune.keys import OBJECTIVE_MODES

_STATES = "experiment_state-*.json"


@dataclass(frozen=True)
class SavedState:
    """What Ray saved last of each trial.

    Attributes:
        trials: The trials in the order in which they began; each has "trial_id" and "status".
    """

    trials: tuple[Mapping[str, Any], ...] = ()

    @classmethod
    def read(cls, folder: Path) -> SavedState:
        """Return the newest state in an experiment's folder; one without trials where none is.

        A driver that runs may be writing it now, and one that was killed may not have ended.
        """
        try:
            newest = json.loads(max(folder.glob(_STATES)).read_text())
            trials = [json.loads(trial) for trial, _ in newest["trial_data"]]
        except (ValueError, KeyError, TypeError):
            return cls()
        needed = {"trial_id", "status"}
        return cls(tuple(each for each in trials if isinstance(each, dict) and needed <= set(each)))

    @cached_property
    def statuses(self) -> dict[str, str]:
        """Ray's status of each trial, by the trial's id."""
        return {str(trial["trial_id"]): str(trial["status"]) for trial in self.trials}

    def trial_in(self, folder: str) -> str:
        """Return the id of the trial in a folder of that name; where Ray saved none, its last part.

        >>> SavedState().trial_in("gap_seed0_1a2b")
        '1a2b'
        """
        if folder not in self._places:
            return folder.rpartition("_")[2]
        return str(self.trials[self._places[folder]]["trial_id"])

    def place_of(self, folder: str) -> int:
        """Return when the trial in a folder of that name began: its place among all trials."""
        return self._places.get(folder, len(self.trials))

    @cached_property
    def _places(self) -> dict[str, int]:
        return {str(t.get("relative_logdir")): place for place, t in enumerate(self.trials)}


def is_saved_in(folder: Path) -> bool:
    """Tell whether Ray has saved a state in a folder."""
    return any(folder.glob(_STATES))


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
