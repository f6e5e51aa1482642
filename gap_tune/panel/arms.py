"""The panel's arms: those of a study that are one plain run."""

from __future__ import annotations

from typing import Any

from gap_tune.errors import InvalidValueError
from gap_tune.study.grammar import parse_arm
from gap_tune.study.methods.plan import PlannedTrials
from gap_tune.tune import GapSearch

METRIC = "validation_loss"


def arm_name(text: str) -> str:
    """Return an arm's name as tables spell it.

    Raises:
        InvalidValueError: When there is no such arm, or it is more than one plain run.

    >>> arm_name(" fixed:0.90")
    'fixed:0.9'
    """
    arm = parse_arm(text)
    if arm.search is not None or arm.validation_every is not None:
        raise InvalidValueError(
            "an arm of a panel must be one run without a search and without held-out gradients, "
            f"but got {text!r}."
        )
    return arm.name


def family_of(name: str, family: str) -> str:
    """Return the optimizer family that an arm trains with in a setting of a family.

    >>> family_of("switch", "adamw")
    'switch-adamw'
    """
    return parse_arm(name).family_in(family)


def configuration(name: str, family: str) -> dict[str, Any]:
    """Return what sets an arm's runs apart: the configuration that a study's first trial gets.

    ``GapSearch`` completes it as in a study, so that momentum, mode and reference are the same.

    Args:
        name: The arm.
        family: Optimizer family of the setting.
    """
    arm = parse_arm(name)
    search = GapSearch(PlannedTrials([arm.configuration(family)]))
    search.set_search_properties(METRIC, "min", {})
    completed: dict[str, Any] = search.suggest("run")
    return completed
