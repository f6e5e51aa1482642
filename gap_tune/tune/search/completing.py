"""Completing: what a wrapped searcher suggests becomes all that a trial has to be told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ray.tune.search import Searcher
from ray.tune.search.variant_generator import parse_spec_vars

from gap_tune.tune import keys, nested
from gap_tune.tune.complaints import Complaints
from gap_tune.tune.search.closeness import Axis, point_of
from gap_tune.tune.search.moved_rates import MovedRates
from gap_tune.tune.search.owned import OwnedKeys, axes_of
from gap_tune.tune.search.pairs import Member
from gap_tune.tune.search.places import Places, rule_entry
from gap_tune.tune.search.seeds import REFERENCE_BETA2, Seeder


class Completing:
    """Adds mode, momentum, section and coupled learning rate to suggestions.

    Args:
        owned: The keys that GapSearch sets.
        seeder: Chooses the momentum that a trial starts with.
        rates: Knows the learning rates that trials start from.
        reference: The momentum that searched learning rates are meant for.
        betas2: Values of beta2 to compare, where it is searched.
        seed_keys: Where seeds may stand that GapSearch sets, too.
        complain: Told what is left out.
    """

    def __init__(
        self,
        owned: OwnedKeys,
        seeder: Seeder,
        rates: MovedRates,
        *,
        reference: float,
        betas2: Sequence[float],
        seed_keys: Sequence[str],
        complain: Complaints,
    ) -> None:
        self._owned = owned
        self._seeder = seeder
        self._rates = rates
        self._reference = reference
        self._betas2 = betas2
        self._seed_keys = seed_keys
        self._complain = complain
        self._axes: dict[str, Axis | None] = {}
        self.places = Places(owned, also=seed_keys)
        self._mode_of_all: str | None = None
        self._rule_of_all: Any = None

    def look_at(self, space: Mapping[str, Any]) -> None:
        """Note what a ``param_space`` says of all trials."""
        self._rates.look_at(space)
        self.places = Places(self._owned, space, also=self._seed_keys)
        of_all = self.places.section(space)
        self._mode_of_all, rule = of_all.get("mode"), of_all.get(keys.RULE)
        region = of_all.get(keys.TRUST_REGION)
        # One that is searched comes with the suggestions.
        if region is not None and not parse_spec_vars({keys.TRUST_REGION: region})[1]:
            self._rates.set_region(region)
        # What is searched comes with the suggestions.
        self._rule_of_all = rule if isinstance(rule, (str, Mapping)) else None

    def look_at_axes(self, space: Mapping[str, Any], searcher: Searcher) -> None:
        """Note the ranges of a ``param_space``, and of the space that a searcher has made of it."""
        self._axes = axes_of(space, searcher)

    def completed(
        self, trial_id: str, suggestion: Mapping[str, Any], metric: Any, mode: Any
    ) -> Member:
        """Return the trial of a suggestion, which is tuned unless it is a planned baseline.

        Args:
            trial_id: The trial's id.
            suggestion: What the wrapped searcher suggests.
            metric: The study's.
            mode: The study's, "min" or "max".
        """
        section = self.places.section(suggestion)
        who = self._mode_of(suggestion, section.get("mode"))
        own = {**section, "mode": who, "reference_momentum": self._reference}
        own |= {"metric": metric, **self.places.momentum_key(suggestion)}
        if who == keys.MODE_FIXED:
            own["seed_reason"] = "planned baseline"
            references = (self._reference, REFERENCE_BETA2)
            return Member(suggestion, self._owned.missing(suggestion, references), own)
        if who == keys.MODE_SCHEDULER:
            # GapScheduler says otherwise when it sees the trial.
            own[keys.SCHEDULED] = False
        own |= rule_entry(section.get(keys.RULE), self._rule_of_all)
        own = self._rates.with_region(own)
        point = point_of(self.places.without_sections(suggestion), self._axes)
        seed = self._seeder.seed(point)
        values: dict[str, Any] = {self._owned.momentum: seed.momentum}
        own["seed_reason"] = seed.reason
        if self._owned.beta2 is not None:
            values[self._owned.beta2] = seed.beta2
            own["betas2"] = self._betas2
        if self._owned.lr is not None:
            searched = self._rates.searched(trial_id, suggestion, own, self._axes, mode)
            if searched is not None:
                rate = self._owned.learning_rate(searched, seed.momentum, self._reference)
                values[self._owned.lr] = rate
                # The scheduler's coupling goes on from the pair that the trial starts with.
                own |= {"reference_momentum": seed.momentum, "searched_lr": searched}
                point = {**point, **point_of(self._rates.used(trial_id), self._axes)}
        return Member(suggestion, values, own, point)

    def configuration(self, trial_id: str, member: Member) -> dict[str, Any]:
        """Return a trial's configuration, and await its first report if that is to count."""
        if member.point is not None:
            beta2 = member.values.get(self._owned.beta2 or "")
            self._seeder.reports.expect(trial_id, member.point, beta2)
        return self.places.fill(member.suggestion, member.values, member.own)

    def _mode_of(self, suggestion: Mapping[str, Any], asked: Any) -> str:
        if any(nested.holds(suggestion, key) for key in self._owned.supplied):
            return keys.MODE_FIXED
        for mode in (asked, self._mode_of_all):
            if mode in keys.MODES:
                return str(mode)
            if mode is not None:
                self._complain(f"a trial's mode must be one of {keys.MODES}, but got {mode!r}.")
        return keys.MODE_SCHEDULER

    def state(self) -> dict[str, Any]:
        """Return everything that continuing needs."""
        return {
            "axes": dict(self._axes),
            "mode_of_all": self._mode_of_all,
            "rule_of_all": self._rule_of_all,
            **self._rates.state(),
            "places": self.places.state(),
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Continue from what ``state`` returned."""
        self._axes, self._mode_of_all = state["axes"], state["mode_of_all"]
        # Studies that were saved before trials had rules of their own, or nested keys, have none.
        self._rule_of_all = state.get("rule_of_all")
        self._rates.load_state(state)
        self.places.load_state(state.get("places", {}))
