"""What Ray Tune saved of an experiment, read without running any of it.

The formats of ``experiment_state-*.json``, ``search_gen_state-*.json`` (a pickle for all its name)
and ``tuner.pkl`` are private facts of Ray, which reads them itself for ``Tuner.restore``. This
module alone relies on them: on ``trial_data``, a list of pairs of a trial as JSON text with
``trial_id``, ``status`` and ``relative_logdir``, and of what happened to it, likewise, with
``start_time``; on the stopper in ``runner_data``; and on the names "metric" and "mode",
"total_samples" and "finished" before their values in the pickles.
"""

from __future__ import annotations

import pickletools
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

from gap_tune.files import parsed_json
from gap_tune.tune.keys import OBJECTIVE_MODES

_STATES = "experiment_state-*.json"
_SEARCHES = "search_gen_state-*.json"
# A pickle pushes small integers and truths as such; Ray's "endless" is a larger integer.
_INTEGERS = ("BININT", "BININT1", "BININT2")
_ENDED = ("TERMINATED", "ERROR")
# Of an experiment's tag, such as "6_lr=0.1".
_NUMBER = re.compile(r"\d+")
_NO_STOPPER = b"NoopStopper"


@dataclass(frozen=True)
class SavedState:
    """What Ray saved last of each trial.

    Attributes:
        trials: The trials in the order in which they began; each has "trial_id" and "status".
        planned: How many trials the searcher was asked for (``num_samples``); None where that is
            not known, or does not say how many there will be: the searcher ran out of suggestions,
            or a stopper or time budget ends the experiment.
        began: When each trial began to train, by its id, in seconds since 1970; of those that have.
    """

    trials: tuple[Mapping[str, Any], ...] = ()
    planned: int | None = None
    began: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> SavedState:
        """Return the newest state in an experiment's folder; one without trials where none is.

        A driver that runs may be writing it now, and one that was killed may not have ended.
        """
        try:
            newest = parsed_json(max(folder.glob(_STATES)).read_text())
            trials = [parsed_json(trial) for trial, _ in newest["trial_data"]]
        except (ValueError, KeyError, TypeError):
            return cls()
        needed = {"trial_id", "status"}
        return cls(
            tuple(each for each in trials if isinstance(each, dict) and needed <= set(each)),
            None if _has_stopper(newest) else _planned(folder),
            dict(_begun(newest["trial_data"])),
        )

    def to_come(self, begun: int) -> int:
        """Return how many trials were planned and have not begun, as far as that is known.

        Args:
            begun: How many trials have a folder; Ray saves its state now and then only.
        """
        # One that failed at once may have left none.
        ended = sum(status in _ENDED for status in self.statuses.values())
        return max(0, (self.planned or 0) - max(begun, ended))

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
        """Return when the trial in a folder of that name was suggested: its place among all."""
        place = self._places.get(folder)
        return len(self.trials) if place is None else self._order[place]

    @cached_property
    def _order(self) -> list[int]:
        """Each trial's place by the number that it was given when it was made.

        Ray saves trials that it first saves together in any order.
        """
        found = [_NUMBER.match(str(trial.get("experiment_tag"))) for trial in self.trials]
        numbers = [int(each[0]) for each in found if each is not None]
        places = range(len(self.trials))
        if len(numbers) < len(found):
            return list(places)
        ordered = sorted(places, key=numbers.__getitem__)
        return sorted(places, key=ordered.__getitem__)

    @cached_property
    def _places(self) -> dict[str, int]:
        return {str(t.get("relative_logdir")): place for place, t in enumerate(self.trials)}


def is_saved_in(folder: Path) -> bool:
    """Tell whether Ray has saved a state in a folder."""
    return any(folder.glob(_STATES))


def _begun(trial_data: Any) -> Iterator[tuple[str, float]]:
    """Yield the ids of trials that have begun, each with when."""
    for trial, happened in trial_data:
        with suppress(ValueError, KeyError, TypeError):
            began = float(parsed_json(happened)["start_time"])
            yield str(parsed_json(trial)["trial_id"]), began


def _has_stopper(state: Mapping[str, Any]) -> bool:
    """Tell whether something other than the number of trials may end the experiment."""
    try:
        return _NO_STOPPER not in bytes.fromhex(state["runner_data"]["_stopper"]["value"])
    except (ValueError, KeyError, TypeError):
        return True


def _planned(folder: Path) -> int | None:
    """Return how many trials a searcher was asked for; None where not, or where it ended before."""
    found: dict[str, Any] = {}
    try:
        for (name, _), (value, kind) in pairwise(_pushed(max(folder.glob(_SEARCHES)).read_bytes())):
            if name == "total_samples" and kind in _INTEGERS:
                found.setdefault(name, value)
            elif name == "finished" and kind in ("NEWTRUE", "NEWFALSE"):
                found.setdefault(name, kind == "NEWTRUE")
    except (OSError, ValueError, IndexError):
        return None
    return None if found.get("finished", True) else found.get("total_samples")


def _pushed(pickled: bytes) -> Iterator[tuple[Any, str]]:
    """Yield what a pickle pushes, in order, and by which operation."""
    for opcode, argument, _ in pickletools.genops(pickled):
        if opcode.name != "MEMOIZE":
            yield argument, opcode.name


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
