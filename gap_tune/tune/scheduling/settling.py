"""What a scheduler writes into the sections of trials that it is to decide for."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any

from gap_tune.rules import MomentumRule
from gap_tune.tune import keys


def settle(config: Mapping[str, Any] | None, rule: MomentumRule, *, dry_run: bool) -> None:
    """Write into a trial's sections that it has a scheduler, and whether its rate may change.

    A section that names no trust region leaves it to the rule, which is the scheduler's where it
    names none either. And a dry run changes nothing that the user has not asked for.

    Args:
        config: The trial's configuration, whose sections are changed.
        rule: The scheduler's.
        dry_run: Whether the scheduler sends no decisions.

    >>> from gap_tune.rules import FixedMomentum
    >>> config = {"gap": {"mode": "scheduler", "scheduled": False}}
    >>> settle(config, FixedMomentum(), dry_run=False)
    >>> config["gap"]
    {'mode': 'scheduler', 'scheduled': True, 'trust_region': {'span': 1.0}}
    """
    for own in keys.sections(config):
        if own.get("mode") != keys.MODE_SCHEDULER or not isinstance(own, MutableMapping):
            continue
        if keys.SCHEDULED in own:
            own[keys.SCHEDULED] = True
        asks = own.get(keys.RULE) is not None or rule.scales_lr
        if own.get(keys.TRUST_REGION) is None and (dry_run or not asks):
            own[keys.TRUST_REGION] = dict(keys.NO_TRUST_REGION)
