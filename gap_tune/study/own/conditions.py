"""FunctionConditions: what all trials of a user's own function share in a study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gap_tune.errors import InvalidValueError, UnsupportedError, check_count
from gap_tune.study.arms import Arm
from gap_tune.study.budget import ArmBudget
from gap_tune.study.compared import Clock, Compared, searched_configuration
from gap_tune.study.own.function import OwnFunction, TuneFunction
from gap_tune.study.own.space import decode, domains_of, drawn, encode
from gap_tune.training.families.table import DEFAULT_FAMILY
from gap_tune.tune import keys, nested

_MOMENTUM = "momentum"
_OF_STUDY = ("arm", "seed", keys.SECTION)


@dataclass(frozen=True)
class FunctionConditions(Compared):
    """What a study of a user's own function compares arms on.

    The configuration of a seed is drawn from the space by that seed, once for all arms; where an
    arm searches, its search begins there.

    Attributes:
        own: The function.
        space: Its ``param_space``: Ray Tune's domains, and constants.
        metric: Reported metric to compare by.
        mode: "min" or "max".
        momentum_key: Key of the momentum, or its path.
        reports: How many reports a full trial makes; None where nobody said.
    """

    own: OwnFunction
    space: Mapping[str, Any]
    metric: str
    mode: str
    momentum_key: str = _MOMENTUM
    reports: int | None = None

    # A sweep needs to know which key is the learning rate's; a space says where to search it.
    lrs = 1

    @property
    def name(self) -> str:
        """The function's name."""
        return self.own.name

    @property
    def summary(self) -> str:
        """In words, what is trained and searched."""
        names = list(domains_of(self.space))
        return f"{self.name}, {', '.join(names) or 'no hyperparameter'} drawn anew for each seed"

    @property
    def family(self) -> str:
        """One that has momentum: which optimizer it is is the function's business."""
        return DEFAULT_FAMILY

    @property
    def epochs(self) -> int:
        """0: how long it trains is the function's business."""
        return 0

    @property
    def clock(self) -> Clock:
        """Reports, which Ray counts; what is paused begins again, unless it saves checkpoints."""
        return Clock("training_iteration", self.reports or 0, pauses=False)

    @property
    def settings(self) -> Mapping[str, Any]:  # type: ignore[override]
        """Nothing: each configuration is complete."""
        return {}

    @property
    def momentum(self) -> str:
        """The configuration's key of the momentum."""
        return self.momentum_key

    @property
    def function(self) -> TuneFunction:
        """The user's function."""
        return self.own.function

    def described(self) -> dict[str, Any]:
        """Return the function's name and, as JSON values, its space."""
        return {
            "function": self.own.path,
            "name": self.name,
            "param_space": encode(self.space),
            "momentum": self.momentum_key,
            "reports": self.reports,
        }

    def lrs_of(self, arm: Arm) -> tuple[float, ...]:
        """Return none: there is no sweep."""
        return ()

    def steps_of_a_trial(self) -> int:
        """Raise: nobody knows before it has trained."""
        raise InvalidValueError(
            "a budget of training steps must be of a workload, whose steps are known beforehand, "
            f"but got the function {self.name}: take trials:<n>."
        )

    def planned(self, arm: Arm, seed: int, lr: float | None) -> list[dict[str, Any]]:
        """Return an arm's planned trials of a seed: the configuration that all arms have there."""
        shared = drawn(self.space, seed)
        own = {**arm.configuration(self.family), "seed": seed}
        return [self._placed(shared, {**own, **trial}) for trial in arm.plan()]

    def space_of(
        self, arm: Arm, seed: int, momentum: Any, start: float
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the space, and the configuration that all arms have on that seed."""
        here = drawn(self.space, seed)
        first = {path: nested.get(here, path) for path in domains_of(self.space)}
        own = {**searched_configuration(arm, self), "seed": seed}
        if momentum is not None:
            own[_MOMENTUM], first[self.momentum_key] = momentum, start
        return self._placed(self.space, own), first

    def _placed(self, config: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
        """Return a configuration with an arm's own values, its momentum where the function looks.

        What a momentum stands beside, the workers of a trainer see alone: they need seed and
        section, too.
        """
        rest = {name: value for name, value in own.items() if name != _MOMENTUM}
        place = nested.place_for(config, self.momentum_key)
        found = {**config, **rest}
        for beside in ("seed", keys.SECTION) if len(place) > 1 else ():
            if beside in rest:
                found = nested.put(found, (*place[:-1], beside), rest[beside])
        return found if _MOMENTUM not in own else nested.put(found, place, own[_MOMENTUM])


def make_function_conditions(
    function: TuneFunction | str,
    space: Mapping[str, Any],
    arms: Sequence[Arm],
    budget: ArmBudget,
    *,
    metric: str | None,
    mode: str,
    momentum: str = _MOMENTUM,
    reports: int | None = None,
    **of_workloads: Any,
) -> FunctionConditions:
    """Return the conditions of a user's own function; arguments as of ``Study``.

    Raises:
        InvalidValueError: When the space, the metric or the budget cannot be, or what a workload
            alone has is given.
        UnsupportedError: When the function is none, or an arm needs something of the training loop.
    """
    own = OwnFunction.of(function)
    given = sorted(name for name, value in of_workloads.items() if value is not None)
    if given:
        raise InvalidValueError(
            f"{', '.join(given)} must be left out where a function of one's own is compared, which "
            f"has a param_space and its own loop, but got {given} for {own.name}."
        )
    if not isinstance(metric, str) or not metric:
        raise InvalidValueError(
            f"metric must name what {own.name} reports and is compared by, but got {metric!r}."
        )
    if reports is not None:
        check_count("reports", reports)
    for arm in arms:
        check_own_arm(arm, own.name, reports)
    # As it is written down, so that a study which is restored draws the same.
    conditions = FunctionConditions(
        *(own, decode(encode(space)), metric, keys.check_objective_mode(mode), momentum, reports)
    )
    _check_space(conditions)
    if budget.kind == "steps":
        conditions.steps_of_a_trial()
    if budget.kind != "own" and not domains_of(space):
        raise InvalidValueError(
            "param_space must have something to search where the budget is of several trials, "
            f"but got {dict(space)!r:.200} and {budget}."
        )
    return conditions


def check_own_arm(arm: Arm, name: str, reports: int | None = None) -> None:
    """Check that an arm needs nothing of the training loop.

    Args:
        arm: The arm.
        name: The function's.
        reports: How many reports a full trial makes; None where nobody said.

    Raises:
        UnsupportedError: When it does; says what.
    """
    search = arm.search
    needs = {
        "an optimizer of its own": arm.family is not None,
        "held-out gradients": arm.validation_every is not None,
        "a warm-up of the learning rate": arm.warmup_steps is not None,
        "trials that read each other's checkpoints, and a function need save none": (
            search and search.exchanges_checkpoints
        ),
        "to be told how many reports a full trial makes: reports=<n>, or --reports": (
            search and search.stops_early and reports is None
        ),
    }
    missing = [what for what, needed in needs.items() if needed]
    if missing:
        raise UnsupportedError(
            f"arms of a function of one's own must need nothing of its training loop, but got "
            f"{arm.name!r} for {name}, which needs {missing[0]}."
        )


def _check_space(conditions: FunctionConditions) -> None:
    for key in (*_OF_STUDY, conditions.momentum_key):
        if nested.holds(conditions.space, key):
            raise InvalidValueError(
                f"param_space must not hold {key!r}, which the study sets, but got "
                f"{nested.get(conditions.space, key)!r}: remove it."
            )
