"""References: the momentum that each parameter group's learning rate belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from gap_tune.control.momentum import group_momentum

_KEY = "reference_momentum"


class References:
    """The reference momenta of an optimizer's groups.

    Each stands in its group as ``reference_momentum`` too, where torch saves it and where whatever
    loads or replaces a group's options is seen to have done so.

    Args:
        optimizer: The optimizer.
        given: One for all groups; None takes each group's momentum as it joins.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, given: float | None) -> None:
        self._optimizer = optimizer
        self._given = given
        self._known: dict[int, float] = {}
        # Groups whose reference is simply the momentum which they joined with.
        self._own: set[int] = set()

    def take_in(self, *, loaded: bool = False, changed: bool = False) -> list[int]:
        """Let groups take part that were added since, or whose options a loaded state replaced.

        Args:
            loaded: Whether a state has just been loaded.
            changed: Whether any momentum was ever applied.

        Returns:
            Those groups.
        """
        fresh = []
        groups = self._optimizer.param_groups
        for i, group in enumerate(groups):
            if _KEY in group and i in self._known:
                if loaded and not changed:
                    # The momentum that came with it may well be another: it was tuned.
                    self._own.discard(i)
                self._known[i] = group[_KEY]
                continue
            if not (loaded and i in self._known):
                self._known[i] = self._of_new(i, group)
            group[_KEY] = self._known[i]
            fresh.append(i)
        for gone in [i for i in self._known if i >= len(groups)]:
            del self._known[gone]
        return fresh

    def _of_new(self, i: int, group: Mapping[str, Any]) -> float:
        self._own.discard(i)
        if self._given is not None:
            return self._given
        if _KEY in group:
            # A checkpoint that was loaded before brings what its lr belongs to.
            return float(group[_KEY])
        self._own.add(i)
        return group_momentum(group)

    def is_own(self, group: int) -> bool:
        """Tell whether a group's reference is simply the momentum which it joined with."""
        return group in self._own

    def take_out(self) -> None:
        """Leave the groups without: whoever comes next starts from their momentum as it is then."""
        for group in self._optimizer.param_groups:
            group.pop(_KEY, None)

    def state_dict(self) -> dict[int, float]:
        """Return the references by group."""
        return dict(self._known)

    def load_state_dict(self, state: Mapping[int, float]) -> None:
        """Continue from what ``state_dict`` returned, with whatever groups there are now."""
        groups = self._optimizer.param_groups
        for i, reference in state.items():
            self._known[i] = reference
            if i < len(groups):
                groups[i][_KEY] = reference
