"""Hyperparameters: what a configuration says of a simulated training."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gap_tune.control import RegionChoice, TrustRegion
from gap_tune.errors import InvalidValueError, check_range
from gap_tune.rules import FixedMomentum
from gap_tune.rules.registry import known_rule
from gap_tune.theory.families import Update, family_of
from gap_tune.theory.momentum import coupling_factor
from gap_tune.training.families.table import get_family
from gap_tune.tune import keys
from gap_tune.tune.spelling import GAP_NAME

UNSCALED_NAME = "gap-unscaled"
# What recorded runs of tuned arms start with, and what their learning rates belong to.
REFERENCE = 0.9
_DEFAULT_MOMENTUM = 0.9


@dataclass(frozen=True)
class Hyperparameters:
    """What a training depends on besides its seed.

    Attributes:
        lr: Learning rate, as configured.
        momentum: Where it starts.
        mode: Who decides, "scheduler" or "fixed"; None where the configuration has no section, as
            of a training function that knows nothing of gap_tune.
        arm: The recorded arm that it follows while it is tuned; None where nobody tunes it.
        couples: Whether its learning rate follows momentum.
        base_lr: Of the recorded run that it follows, the learning rate.
        bounds: Least and largest scale of a trust region that has others than were recorded.
    """

    lr: float
    momentum: float
    mode: str | None
    arm: str | None
    couples: bool
    base_lr: float
    bounds: tuple[float, float] | None = None

    @property
    def scales(self) -> bool:
        """Whether a trust region moves its learning rate."""
        return self.arm == GAP_NAME

    @classmethod
    def of(cls, config: Mapping[str, Any], *, sums: bool) -> Hyperparameters:
        """Return those of a configuration.

        Args:
            config: As trials get it.
            sums: Whether the optimizer adds gradients up, as SGD, so that learning rates couple.

        Raises:
            InvalidValueError: When the learning rate is missing or no positive number, the momentum
                is none, or the mode is one that nothing was recorded of.
        """
        value = keys.setting(config, "lr")
        if value is None:
            raise InvalidValueError(f"a configuration must hold 'lr', but got {sorted(config)}.")
        lr = check_range("lr", value, 0.0, float("inf"), low_open=True, high_open=True)
        started = keys.momentum_of(config)
        momentum = _DEFAULT_MOMENTUM if started is None else started
        momentum = check_range("momentum", momentum, 0.0, 1.0, high_open=True)
        own = keys.section(config)
        mode = own.get("mode")
        if mode not in (None, keys.MODE_FIXED, keys.MODE_SCHEDULER):
            raise InvalidValueError(
                f"the mode of a recorded training must be {keys.MODE_FIXED!r} or "
                f"{keys.MODE_SCHEDULER!r}, but got {mode!r}."
            )
        if mode != keys.MODE_SCHEDULER:
            return cls(lr, momentum, mode, None, False, lr)
        rule, scheduled = known_rule(own.get(keys.RULE)), own.get(keys.SCHEDULED) is not False
        couples = sums if rule.couple_lr is None else rule.couple_lr
        reference = own.get("reference_momentum", momentum)
        asks = rule.scales_lr and scheduled
        region = RegionChoice.of(own.get(keys.TRUST_REGION), rules_ask=asks).region
        if not region.is_on and (isinstance(rule, FixedMomentum) or not scheduled):
            # Nobody ever changes it.
            kept = lr * coupling_factor(momentum, reference) if couples else lr
            return cls(lr, momentum, mode, None, False, kept)
        base_lr = lr * coupling_factor(REFERENCE, reference) if couples else lr
        if not region.is_on:
            return cls(lr, momentum, mode, UNSCALED_NAME, couples, base_lr)
        bounds = (region.floor, region.span)
        usual = bounds == (TrustRegion.floor, TrustRegion.span)
        return cls(lr, momentum, mode, GAP_NAME, couples, base_lr, None if usual else bounds)

    def bounded(self, scale: float) -> float:
        """Return a recorded scale as far as the trust region lets it go."""
        if self.bounds is None:
            return scale
        return min(max(scale, self.bounds[0]), self.bounds[1])


def sums_gradients(family: str) -> bool:
    """Tell whether an optimizer family adds gradients up, as SGD, so that learning rates couple.

    >>> sums_gradients("sgd"), sums_gradients("adamw")
    (True, False)
    """
    found = family_of(get_family(family).optimizer)
    return found is not None and found.update is Update.SUM


def seed_of(config: Mapping[str, Any], seeds: int) -> int:
    """Return the place of the recorded seed that a configuration trains with.

    Args:
        config: Its "seed" counts modulo the recorded ones; without one, all that it says besides
            gap_tune's section is hashed.
        seeds: How many were recorded.
    """
    seed = keys.setting(config, "seed")
    if isinstance(seed, int):
        return int(seed) % seeds
    text = json.dumps(keys.without_own(config), sort_keys=True, default=repr)
    return zlib.crc32(text.encode()) % seeds
