"""Keys of results and configurations that gap_tune owns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Results. Ray flattens nested results with "/", so these read the same nested or flat.
# What trained until this report, whoever has written another into the optimizer since.
MOMENTUM = "gap/momentum"
GAIN = "gap/gain"
POWER = "gap/power"
# Who decides, as in the configuration's "mode".
MODE = "gap/mode"
# How often decisions have changed momentum.
SEQ = "gap/seq"
# Of the scheduler's decision on this result, or of the trial's own latest; else empty.
DECISION = "gap/decision"
REASON = "gap/reason"
STATISTICS = "gap/statistics"
# The same for each beta2 of config["gap"]["betas2"]: JSON, str(beta2) -> statistics.
STATISTICS_BY_BETA2 = "gap/statistics_by_beta2"
STEPS = "gap/steps"
STEPS_SINCE_CHANGE = "gap/steps_since_change"
# Where a trial whose workers are other processes waits for the scheduler's answer.
MAILBOX = "gap/mailbox"
PREFIX = "gap/"

# Configuration: config["gap"] = {"mode": ..., "reference_momentum": ..., "seed_reason": ...}.
SECTION = "gap"
MODE_SCHEDULER = "scheduler"
MODE_TRIAL = "trial"
MODE_FIXED = "fixed"


def section(config: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Return gap_tune's own part of a trial's configuration; empty when there is none."""
    own = (config or {}).get(SECTION)
    return own if isinstance(own, Mapping) else {}


def asks_for_tuning(config: Mapping[str, Any] | None) -> bool:
    """Tell whether a trial's configuration lets the scheduler change its momentum."""
    return section(config).get("mode") == MODE_SCHEDULER
