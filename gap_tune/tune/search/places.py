"""Places: where in a trial's configuration GapSearch's keys and sections stand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gap_tune.tune import keys, nested
from gap_tune.tune.ray_private.naming import Section
from gap_tune.tune.search.owned import OwnedKeys, section_paths

_PLAIN = "momentum"


class Places:
    """Puts values and sections where they belong: a space knows more than one suggestion.

    Args:
        owned: The keys that GapSearch sets.
        space: The study's ``param_space``.
        also: Further keys to put values at.
    """

    def __init__(
        self,
        owned: OwnedKeys,
        space: Mapping[str, Any] | None = None,
        also: Sequence[str] = (),
    ) -> None:
        self._owned = owned
        known = [key for key in (*owned.supplied, owned.lr, *also) if key is not None]
        self._paths = {key: nested.place_for(space or {}, key) for key in known}

    def sections(self, inner: Mapping[str, Any] | None = None) -> list[nested.Path]:
        """Return where the sections of a suggestion, or of the space, go."""
        return section_paths(self._place(inner or {}, self._owned.momentum))

    def section(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return what a configuration already says in its sections; the nested one counts more."""
        found = [nested.at(config, path) for path in self.sections(config)]
        # Points that were evaluated elsewhere may come flattened.
        flat = {k.rpartition("/")[2]: v for k, v in config.items() if self._is_flat(k)}
        return {k: v for own in (flat, *found) if isinstance(own, Mapping) for k, v in own.items()}

    def momentum_key(self, inner: Mapping[str, Any]) -> dict[str, str]:
        """Return the section's entry for a momentum whose key is not simply "momentum"."""
        name = self._place(inner, self._owned.momentum)[-1]
        return {} if self._owned.momentum == _PLAIN else {keys.MOMENTUM_KEY: name}

    def without_sections(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return a configuration without its sections, nested or flattened."""
        rest = dict(config)
        for path in self.sections(config):
            rest = nested.without(rest, path)
        return {name: value for name, value in rest.items() if not self._is_flat(name)}

    def as_searched(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Return what a searcher knows of a configuration that ``fill`` has made."""
        inner = self.without_sections(parameters)
        for key in self._owned.supplied:
            path = nested.path_of(inner, key)
            inner = inner if path is None else nested.without(inner, path)
        path = nested.path_of(inner, self._owned.lr or "")
        searched = self.section(parameters).get("searched_lr")
        return inner if path is None or searched is None else nested.put(inner, path, searched)

    def fill(
        self, inner: Mapping[str, Any], values: Mapping[str, Any], own: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return a suggestion with values by key, and with the section.

        It says of a momentum that somebody is to tune that it is a start: whoever looks at the
        configuration of the best trial would take it for what trained.
        """
        if own.get("mode") != keys.MODE_FIXED:
            own = {**own, keys.MOMENTUM_IS: keys.IS_START}
        config = dict(inner)
        for key, value in values.items():
            config = nested.put(config, self._place(config, key), value)
        for path in self.sections(config):
            config = nested.put(config, path, Section(own))
        return config

    def state(self) -> dict[str, Any]:
        """Return everything that continuing needs."""
        return dict(self._paths)

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Continue from what ``state`` returned."""
        self._paths |= state

    def _is_flat(self, name: str) -> bool:
        """Tell whether a name is the path of a section's entry."""
        parent = self._owned.momentum.rpartition("/")[0]
        return str(name).startswith((f"{keys.SECTION}/", f"{parent}/{keys.SECTION}/"))

    def _place(self, config: Mapping[str, Any], key: str) -> nested.Path:
        found = nested.path_of(config, key)
        if found is not None:
            return found
        # A choice among whole mappings is none before it is made.
        chosen = isinstance(config.get(key.partition("/")[0]), Mapping)
        return nested.place_for(config, key) if chosen else self._paths[key]


def rule_entry(said: Any, of_all: Any) -> dict[str, Any]:
    """Return the section's entry for the trial's rule: a nested configuration needs it twice.

    Args:
        said: What a suggestion says of it; of a rule whose options are searched, those alone.
        of_all: What the space says.

    >>> rule_entry({"hysteresis": 0.1}, {"name": "alignment"})
    {'rule': {'name': 'alignment', 'hysteresis': 0.1}}
    """
    if isinstance(said, Mapping) and isinstance(of_all, Mapping) and "name" not in said:
        said = {**of_all, **said}
    rule = of_all if said is None else said
    return {} if rule is None else {keys.RULE: rule}
