"""SavedTuning: what a self-tuning optimizer saves and loads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gap_tune.errors import StateError
from gap_tune.gradients.observed_bank import warn_of_new_start
from gap_tune.optim.tuned_groups import TunedGroups

_KEY = "gap_tune"
_VERSION = 1


class SavedTuning(TunedGroups):
    """Tuned groups whose state dict holds the tuning too, beside what torch's optimizer saves."""

    def state_dict(self) -> dict[str, Any]:
        """Return torch's state dict, with the tuning's own state under the key "gap_tune"."""
        # First: it takes out of the groups what a step that raised has left behind.
        control = self._control.state_dict()
        own = {
            "version": _VERSION,
            "control": control,
            "observers": [observer.state_dict() for observer in self._observers],
            "scale": self._scale.state_dict(),
        }
        return {**super().state_dict(), _KEY: own}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Load a state of this optimizer or of its torch counterpart.

        A torch state brings no statistics: they start anew, and the constructor's reference
        momentum stays. It brings no scale either: unless the constructor was given a
        ``trust_region``, a training that began without one goes on without, since its learning
        rate would become a third of what it was from one step to the next. Statistics of other
        shapes, candidates, values of beta2 or numbers of rules start anew as well, with a warning
        that says what differs.

        Raises:
            StateError: When the version is not this optimizer's, or the statistics are none;
                nothing is loaded then.
        """
        self._control.settle()
        own = state_dict.get(_KEY)
        if own is not None:
            _check_version(own)
        # Earlier states hold no scale.
        scale = {} if own is None else own.get("scale", {})
        self._enter(self._choice.continuing(scale))
        difference = "" if own is None else self._difference(own)
        super().load_state_dict({k: v for k, v in state_dict.items() if k != _KEY})
        if own is None:
            self._control.load_state_dict({})
            self._start_anew({})
            return
        self._control.load_state_dict(own["control"])
        if difference:
            self._start_anew(scale)
            warn_of_new_start(difference)
            return
        for observer, state in zip(self._observers, own["observers"], strict=True):
            observer.load_state_dict(state)
        self._load_scale(scale)

    def _start_anew(self, scale: Mapping[str, Any]) -> None:
        """Forget all gradients; the scale goes on where it was saved."""
        self._observe_groups()
        self._scale.observe(self._watched(), self)
        self._load_scale({**scale, "filters": []})

    def _difference(self, own: Mapping[str, Any]) -> str:
        """Return why saved statistics cannot be continued; "" where they can."""
        states, parts = own.get("observers", ()), self._parts()
        if len(states) != len(parts):
            return f"{len(states)} rules, but here are {len(parts)}"
        for observer, part, state in zip(self._observers, parts, states, strict=True):
            # Another group may have come since the last step.
            observer.follow(part)
            if difference := observer.difference(state):
                return difference
        return ""


def _check_version(own: Mapping[str, Any]) -> None:
    if own.get("version") != _VERSION:
        raise StateError(
            f"the tuning's state must be of version {_VERSION}, but got {own.get('version')!r}."
        )
