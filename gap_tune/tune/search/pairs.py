"""Pairs: baselines with other momenta beside the trials of a search, and more seeds of both."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
from ray.tune.search import Repeater, Searcher
from ray.tune.search.sample import Domain

from gap_tune.errors import InvalidValueError, UnsupportedError, check_count, check_range
from gap_tune.tune import keys, nested
from gap_tune.tune.complaints import Complaints
from gap_tune.tune.ray_private import searchers
from gap_tune.tune.search.closeness import Point
from gap_tune.tune.search.owned import OwnedKeys
from gap_tune.tune.search.seeds import REFERENCE_BETA2

_SEED = "seed"
# What says of a section how a tuned trial is tuned, which a baseline is not.
_OF_TUNED = (keys.RULE, keys.TRUST_REGION, keys.SCHEDULED, "betas2", "lr_reason")


@dataclass(frozen=True)
class Member:
    """A trial to be, before its values stand where they belong.

    Attributes:
        suggestion: What the wrapped searcher suggested.
        values: By key, what GapSearch supplies or changes.
        own: The section.
        point: Where in the space it is, if its first report is awaited; None where not.
    """

    suggestion: Mapping[str, Any]
    values: Mapping[str, Any]
    own: Mapping[str, Any]
    point: Point | None = None

    @property
    def tuned(self) -> bool:
        """Whether somebody is to choose its momentum: it is no baseline."""
        return bool(self.own["mode"] != keys.MODE_FIXED)


class Pairs:
    """Makes of one configuration all trials to compare, which are handed out together.

    Args:
        baselines: Momenta in [0, 1) to hold beside GAP.
        seeds: Seeds of each.
        share: Share of the configurations to compare, in (0, 1].
        owned: The keys that GapSearch sets.
        reference: The momentum that searched learning rates are meant for.
        complain: Told what is left out.

    Raises:
        InvalidValueError: When an argument is out of range.
    """

    def __init__(
        self,
        baselines: Sequence[float],
        seeds: int,
        share: float,
        *,
        owned: OwnedKeys,
        reference: float,
        complain: Complaints,
    ) -> None:
        self._baselines = _checked(baselines)
        self._seeds = check_count("seeds", seeds)
        checked_share = check_range("baselines_share", share, 0, 1, low_open=True)
        # As it is written: sums of a tenth do not add up.
        self._share = Fraction(str(checked_share))
        self._owned = owned
        self._reference = reference
        self._complain = complain
        if not self.is_on and self._share < 1:
            raise InvalidValueError(
                "baselines_share must come with baselines or with more than one seed, "
                f"but got {share!r} alone."
            )
        beside = "/".join([*owned.momentum.split("/")[:-1], _SEED])
        # Where a seed may stand, the place that is taken where it stands nowhere first.
        self.seed_keys = tuple(dict.fromkeys((beside, _SEED))) if self.is_on else ()
        self._fixed_seeds: dict[str, int] = {}
        self._configurations = 0
        self._waiting: deque[Member] = deque()
        # Running trials that the wrapped searcher knows nothing of.
        self._untold: set[str] = set()

    @property
    def is_on(self) -> bool:
        """Whether any configuration makes more than one trial."""
        return self._group > 1

    @property
    def _group(self) -> int:
        return self._seeds * (1 + len(self._baselines))

    def trials_of(self, configurations: int) -> int:
        """Return how many trials so many configurations make, the first ones."""
        return configurations + math.ceil(configurations * self._share) * (self._group - 1)

    def check_searcher(self, searcher: Searcher) -> None:
        """Check that a searcher does not repeat configurations itself.

        Raises:
            UnsupportedError: When it does.
        """
        if self.is_on and any(isinstance(each, Repeater) for each in searchers.chain(searcher)):
            raise UnsupportedError(
                "searcher must suggest each configuration once where GapSearch repeats it "
                "(baselines, seeds), but got a Repeater: take it away and pass seeds=... instead."
            )

    def look_at(self, space: Mapping[str, Any], trials: Any = None) -> None:
        """Note the seed that a ``param_space`` fixes; say where the study would end within a pair.

        Args:
            space: The ``param_space``.
            trials: The study's ``num_samples``, where known.

        Raises:
            InvalidValueError: When the seed is no integer.
        """
        for key in self.seed_keys:
            value = nested.get(space, key)
            if value is None or isinstance(value, Domain):
                continue
            if not _is_integer(value):
                raise InvalidValueError(
                    f"{key!r} in param_space must be an integer, from which GapSearch counts the "
                    f"seeds of a configuration, but got {value!r}."
                )
            self._fixed_seeds[key] = int(value)
        if self.is_on and isinstance(trials, int) and trials > 0:
            self._look_at_end(trials)

    def _look_at_end(self, trials: int) -> None:
        whole = 0
        while self.trials_of(whole + 1) <= trials:
            whole += 1
        if self.trials_of(whole) < trials:
            self._complain(
                f"num_samples counts trials, and {trials} end within a configuration: "
                f"{self.trials_of(whole)} make {whole} whole ones, "
                f"{self.trials_of(whole + 1)} make {whole + 1}"
            )

    def next(self, trial_id: str) -> Member | None:
        """Return the next trial of the configuration that was begun; None where all are out."""
        if not self._waiting:
            return None
        self._untold.add(trial_id)
        return self._waiting.popleft()

    def begin(self, first: Member) -> Member:
        """Return the first trial of a new configuration, and have the others wait for ``next``.

        They are complete by then: whatever the search learns meanwhile, they differ in seed and
        momentum alone, and in what follows from that.
        """
        if not self.is_on:
            return first
        key, base = self._seed_of(first.suggestion)
        if not first.tuned:
            # A planned baseline stays as it is, but for a seed that the function may read.
            return first if nested.holds(first.suggestion, key) else _with(first, {key: base})
        number, self._configurations = self._configurations, self._configurations + 1
        if math.ceil((number + 1) * self._share) == math.ceil(number * self._share):
            return _with(first, {key: base})
        mine = replace(first, own={**first.own, keys.PAIR: number})
        kinds = [mine, *(self._baseline(mine, momentum) for momentum in self._baselines)]
        # Seed by seed, so that a study which ends early has whole pairs.
        members = [_with(kind, {key: base + i}) for i in range(self._seeds) for kind in kinds]
        self._waiting.extend(members[1:])
        return members[0]

    def _baseline(self, tuned: Member, momentum: float) -> Member:
        own = {name: value for name, value in tuned.own.items() if name not in _OF_TUNED}
        own |= {"mode": keys.MODE_FIXED, "reference_momentum": self._reference}
        own["seed_reason"] = f"baseline of configuration {own[keys.PAIR]}"
        values: dict[str, Any] = {self._owned.momentum: momentum}
        if self._owned.beta2 is not None:
            values[self._owned.beta2] = REFERENCE_BETA2
        searched = own.get("searched_lr")
        if self._owned.lr is not None and searched is not None:
            rate = self._owned.learning_rate(searched, momentum, self._reference)
            values[self._owned.lr] = rate
        return Member(tuned.suggestion, values, own)

    def _seed_of(self, suggestion: Mapping[str, Any]) -> tuple[str, int]:
        """Return where the seed goes, and the first."""
        key = next((k for k in self.seed_keys if nested.holds(suggestion, k)), None)
        if key is None:
            return next(iter(self._fixed_seeds.items()), (self.seed_keys[0], 0))
        value = nested.get(suggestion, key)
        if _is_integer(value):
            return key, int(value)
        self._complain(f"{key!r} must be an integer to count seeds from; 0 is for {value!r:.100}")
        return key, 0

    def is_untold(self, trial_id: str) -> bool:
        """Tell whether a running trial is one that the wrapped searcher knows nothing of."""
        return trial_id in self._untold

    def end(self, trial_id: str) -> None:
        """Forget a trial that has ended."""
        self._untold.discard(trial_id)

    def state(self) -> dict[str, Any]:
        """Return everything that continuing needs."""
        return {
            "configurations": self._configurations,
            "waiting": list(self._waiting),
            "untold": sorted(self._untold),
            "fixed_seeds": dict(self._fixed_seeds),
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Continue from what ``state`` returned; studies of before pairs hold nothing."""
        self._configurations = state.get("configurations", 0)
        self._waiting = deque(state.get("waiting", ()))
        self._untold = set(state.get("untold", ()))
        self._fixed_seeds = dict(state.get("fixed_seeds", {}))


def _checked(baselines: Sequence[float]) -> tuple[float, ...]:
    """Return the momenta of baselines when they are some, each once, else raise."""
    if isinstance(baselines, (str, int, float)):
        raise InvalidValueError(f"baselines must be momenta such as (0.9,), but got {baselines!r}.")
    momenta = tuple(check_range("baselines", b, 0, 1, high_open=True) for b in baselines)
    if len(set(momenta)) < len(momenta):
        raise InvalidValueError(f"baselines must be different momenta, but got {momenta}.")
    return momenta


def _with(member: Member, values: Mapping[str, Any]) -> Member:
    return replace(member, values={**member.values, **values})


def _is_integer(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)
