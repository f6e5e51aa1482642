"""MovedRates: learning rates that trials start from, where earlier trials have led."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ray.tune.search import Searcher

from gap_tune.control.trust_region import RegionChoice, TrustRegion
from gap_tune.errors import GapTuneError
from gap_tune.rules.registry import known_rule
from gap_tune.tune import keys, nested
from gap_tune.tune.complaints import Complaints
from gap_tune.tune.ray_private import searchers
from gap_tune.tune.search.closeness import Axis
from gap_tune.tune.search.learned_rates import LearnedRates, narrowed
from gap_tune.tune.search.owned import is_learning_rate


class MovedRates:
    """Moves suggested learning rates to where the best trial came to train, and tells the searcher.

    Args:
        searcher: The wrapped searcher.
        key: Key of the learning rate; None moves none.
        region: The trust region of all tuned trials that say nothing else; None leaves it to
            their rules.
        complain: Told what is left out.
    """

    def __init__(
        self,
        searcher: Searcher,
        key: str | None,
        region: TrustRegion | Mapping[str, Any] | None,
        complain: Complaints,
    ) -> None:
        self._searcher = searcher
        self._key = key or ""
        self._complain = complain
        self._learned = LearnedRates()
        # What param_space fixes, so that no suggestion holds it.
        self._fixed: Any = None
        # What trials really started from, where that is not what the searcher suggested.
        self._moved: dict[str, dict[str, Any]] = {}
        # As JSON values, which go into configurations.
        self._of_all: dict[str, Any] = {}
        if region is not None:
            self.set_region(region)

    def set_region(self, region: Any) -> None:
        """Take the trust region of all trials.

        Raises:
            InvalidValueError: When it is none.
        """
        self._of_all = {keys.TRUST_REGION: TrustRegion.of(region).to_dict()}

    def look_at(self, config: Mapping[str, Any]) -> None:
        """Note the learning rate that ``param_space`` fixes."""
        fixed = nested.get(config, self._key)
        self._fixed = fixed if is_learning_rate(fixed) else None

    def with_region(self, own: Mapping[str, Any]) -> dict[str, Any]:
        """Return a trial's section, with the trust region that it names as JSON values.

        What is none becomes one that is off. Without any the section names none: what the trial
        makes of that, a checkpoint may know better.
        """
        section = {**self._of_all, **own}
        if section.get(keys.TRUST_REGION) is None:
            section.pop(keys.TRUST_REGION, None)
            return section
        try:
            region = _region_of(section)
        except GapTuneError as error:
            # An exception here would end the whole study.
            self._complain(f"a trial's trust region is off: {error}")
            region = TrustRegion.off()
        section[keys.TRUST_REGION] = region.to_dict()
        return section

    def searched(
        self,
        trial: str,
        suggestion: Mapping[str, Any],
        own: dict[str, Any],
        axes: Mapping[str, Axis | None],
        mode: Any,
    ) -> float | None:
        """Return the learning rate at the reference momentum; None where it is no number.

        In a trust region it is that of the searcher only until a trial has ended.

        Args:
            trial: The trial's id.
            suggestion: What the searcher suggests.
            own: The trial's section; where the learning rate is moved it says why, and its trust
                region becomes narrow.
            axes: Ranges by path.
            mode: "min" or "max", of the study's one metric.
        """
        searched = nested.get(suggestion, self._key, self._fixed)
        if not is_learning_rate(searched):
            self._complain(
                f"{self._key!r} is not scaled: it must be a positive number, got {searched!r}"
            )
            return None
        region = _region_of(own)
        if not region.is_on:
            return float(searched)
        path = nested.path_of(suggestion, self._key)
        movable = path is not None and searchers.takes_points(self._searcher, suggestion)
        axis = axes.get("/".join(map(str, path))) if movable and path else None
        lr, reason = self._learned.suggest(trial, float(searched), axis, mode)
        if reason is not None and path is not None:
            own |= {"lr_reason": reason, keys.TRUST_REGION: narrowed(region).to_dict()}
            used = nested.put(suggestion, path, lr)
            space = searchers.own_space(searchers.innermost(self._searcher))
            self._moved[trial] = {name: nested.get(used, name) for name in space}
        return lr

    def used(self, trial: str) -> Mapping[str, Any]:
        """Return a moved trial's hyperparameters by path; empty for others."""
        return self._moved.get(trial, {})

    def take(self, trial: str, result: Mapping[str, Any]) -> None:
        """Note the scale of a report."""
        self._learned.take(trial, result)

    def finish(self, trial: str, value: float | None) -> None:
        """Note how a trial ended; None where it failed."""
        self._learned.finish(trial, value)

    def tell_used(self, trial: str, value: float | None) -> bool:
        """Tell the searcher what a trial that was moved gave, and return whether it was moved.

        The trial that was suggested is then to be told as failed, for nobody trained it. Optuna
        needs two: a trial that was asked for keeps its parameters, and ``Study.tell`` takes none.
        Samplers leave failed trials out, and do not count them either.

        Args:
            trial: The trial's id.
            value: The study's metric; None where it failed.
        """
        used = self._moved.pop(trial, None)
        if used is None:
            return False
        if value is not None:
            try:
                self._searcher.add_evaluated_point(used, value)
            except Exception as error:
                # An exception here would end the whole study.
                self._complain(f"result not used: {error!r:.300}")
        return True

    def state(self) -> dict[str, Any]:
        """Return everything that continuing needs."""
        return {
            "fixed_lr": self._fixed,
            "of_all": dict(self._of_all),
            "rates": self._learned.state(),
            "moved": dict(self._moved),
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Continue from what ``state`` returned; studies of before trust regions hold less."""
        self._fixed = state["fixed_lr"]
        self._of_all = state.get("of_all", self._of_all)
        self._learned.load_state(state.get("rates", {}))
        self._moved = dict(state.get("moved", {}))


def _region_of(own: Mapping[str, Any]) -> TrustRegion:
    """Return the region that a trial of this section starts in.

    Raises:
        InvalidValueError: When the section names one that is none.
    """
    asks = known_rule(own.get(keys.RULE)).scales_lr
    return RegionChoice.of(own.get(keys.TRUST_REGION), rules_ask=asks).region
