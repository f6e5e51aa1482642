"""Naming: gap_tune's section of a configuration, kept out of names of trials (facts 18 and 19).

Ray names a trial and its folder after everything in its configuration, sorted and cut at 130
characters, and shows the same in its tables and in TensorBoard's. A section of seven entries there
pushes out what a user would tell trials apart by. Ray offers searchers no way to name a trial, so
the section looks empty to whoever makes names, and only to them;
should another Ray make names elsewhere, they are long again, and nothing is lost.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import ItemsView, Mapping
from typing import Any

from gap_tune.tune import keys
from gap_tune.tune.nested import Path, at

# What makes names and, of what a searcher suggested, the hyperparameters to show.
_NAMES, _SHOWS = ("_resolve_nested_dict", "resolve_nested_dict"), "flatten_dict"
_MAKES_TRIALS = "create_trial_if_possible"
# A decorator may be between the two.
_FRAMES_BETWEEN = 3


class Section(dict[str, Any]):
    """A section as a dict that takes no part in the name of its trial.

    A trial's process and files get plain dicts.

    >>> import json
    >>> json.dumps(Section(mode="scheduler"))
    '{"mode": "scheduler"}'
    """

    def items(self) -> Any:
        """Return the entries; none to what makes a trial's name."""
        return ItemsView[str, Any]({}) if _is_naming() else super().items()

    def __deepcopy__(self, memo: dict[int, Any]) -> Section:
        return Section(copy.deepcopy(dict(self), memo))

    def __reduce__(self) -> Any:
        return dict, (dict(self),)


class SpaceSection(Section):
    """The section of a ``param_space``, which Ray saves with a study and copies for each trial."""

    def __reduce__(self) -> Any:
        return SpaceSection, (dict(self),)


def unname(space: dict[str, Any], paths: list[Path]) -> None:
    """Keep the sections of a space out of names, in place: Ray merges suggestions into them."""
    for *parents, name in paths:
        holder, own = at(space, tuple(parents)), at(space, (*parents, name))
        if name == keys.SECTION and isinstance(holder, dict) and isinstance(own, Mapping):
            holder[name] = SpaceSection(own)


def _is_naming() -> bool:
    """Tell whether Ray makes names of the section whose entries it asks for."""
    # The caller of what called this.
    frame = sys._getframe(2)
    if frame.f_code.co_name in _NAMES:
        return True
    if frame.f_code.co_name != _SHOWS:
        return False
    above = frame.f_back
    for _ in range(_FRAMES_BETWEEN):
        if above is None or above.f_code.co_name == _MAKES_TRIALS:
            return above is not None
        above = above.f_back
    return False
