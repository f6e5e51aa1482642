"""Pairing: which trials of an experiment are compared with which."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gap_tune.tune import keys


@dataclass(frozen=True)
class Pairing:
    """What stands beside each trial of an experiment, in the trials' order.

    Attributes:
        unit: What a paired test has several of: "configuration" where ``GapSearch`` compared
            several (their means over seeds are what differs at random), "seed" where it compared
            one or every trial has a seed; "trial" where trials are numbered and not paired.
        numbers: By trial, what it shares with those that it is compared with: its seed, or a number
            for each configuration and seed.
        places: By trial, its configuration and seed where ``GapSearch`` compared it, else None.
    """

    unit: str
    numbers: tuple[Any, ...]
    places: tuple[tuple[int, Any] | None, ...]

    @property
    def paired(self) -> bool:
        """Whether trials are compared at all."""
        return self.unit != "trial"

    @classmethod
    def of(cls, configs: Sequence[Mapping[str, Any]], arms: Sequence[str]) -> Pairing:
        """Return the pairing of trials.

        Args:
            configs: Their configurations, in the order in which they began.
            arms: Their groups.

        >>> pair = {"mode": "scheduler", "pair": 0}
        >>> configs = [{"seed": 3, "gap": pair}, {"seed": 3, "gap": {**pair, "mode": "fixed"}}]
        >>> Pairing.of(configs, ["gap", "fixed:0.9"])
        Pairing(unit='seed', numbers=(3, 3), places=((0, 3), (0, 3)))
        """
        places = _places(configs, arms)
        if any(places):
            return _by_place(places)
        nowhere = (None,) * len(configs)
        if _differ_in_momentum_alone(configs, arms):
            return cls("seed", tuple(map(seed_of, configs)), nowhere)
        return cls("trial", tuple(range(1, len(configs) + 1)), nowhere)


def seed_of(config: Mapping[str, Any]) -> Any:
    """Return a configuration's seed; None without one."""
    return keys.setting(config, "seed")


def _places(
    configs: Sequence[Mapping[str, Any]], arms: Sequence[str]
) -> tuple[tuple[int, Any] | None, ...]:
    """Return the marks of compared trials; of several with the same one the first counts."""
    found: list[tuple[int, Any] | None] = []
    seen: set[tuple[str, tuple[int, Any]]] = set()
    for config, arm in zip(configs, arms, strict=True):
        place = _place(config)
        if place is not None and (arm, place) in seen:
            place = None
        if place is not None:
            seen.add((arm, place))
        found.append(place)
    return tuple(found)


def _place(config: Mapping[str, Any]) -> tuple[int, Any] | None:
    """Return the mark of a compared trial; None where JSON of others holds something else there."""
    number, seed = keys.section(config).get(keys.PAIR), seed_of(config)
    return (number, seed) if type(number) is int and type(seed) is int else None


def _by_place(places: Sequence[tuple[int, Any] | None]) -> Pairing:
    known = sorted({place for place in places if place is not None})
    configurations = {configuration for configuration, _ in known}
    several = len(configurations) > 1
    if not several:
        names = {place: place[1] for place in known}
    elif len(known) == len(configurations):
        names = {place: place[0] for place in known}
    else:
        names = {place: number for number, place in enumerate(known)}
    # Trials that nothing is compared with are numbered after all others.
    alone = iter(range(max(names.values()) + 1, max(names.values()) + 1 + len(places)))
    numbers = tuple(next(alone) if place is None else names[place] for place in places)
    return Pairing("configuration" if several else "seed", numbers, tuple(places))


def _differ_in_momentum_alone(configs: Sequence[Mapping[str, Any]], arms: Sequence[str]) -> bool:
    """Tell whether trials of equal seed differ in momentum alone, each arm once per seed."""
    seeds = [seed_of(config) for config in configs]
    if not all(isinstance(seed, int) for seed in seeds):
        return False
    if max(Counter(zip(arms, seeds, strict=True)).values()) > 1:
        return False
    others = {(seed, _others(config)) for seed, config in zip(seeds, configs, strict=True)}
    return len(others) == len(set(seeds))


def _others(config: Mapping[str, Any]) -> str:
    """Return a configuration without momentum and what gap_tune put there."""
    rest = keys.without_own(config, "momentum")
    return json.dumps(rest, sort_keys=True, default=str)
