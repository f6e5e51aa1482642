"""Keys of results and configurations that gap_tune owns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gap_tune.errors import InvalidValueError
from gap_tune.tune import nested

# Results. Ray flattens nested results with "/", so these read the same nested or flat.
# What trained until this report, whoever has written another into the optimizer since.
MOMENTUM = "gap/momentum"
GAIN = "gap/gain"
POWER = "gap/power"
# Who decides, as in the configuration's "mode".
MODE = "gap/mode"
# How often decisions have changed momentum.
SEQ = "gap/seq"
# The scheduler's decision on this result, or the trial's own latest; empty where none was made.
DECISION = "gap/decision"
REASON = "gap/reason"
STATISTICS = "gap/statistics"
# The same for each beta2 of config["gap"]["betas2"]: JSON, str(beta2) -> statistics.
STATISTICS_BY_BETA2 = "gap/statistics_by_beta2"
STEPS = "gap/steps"
STEPS_SINCE_CHANGE = "gap/steps_since_change"
# The first group's learning rate in use: as set and scheduled, coupled to momentum and scaled.
LR = "gap/lr"
# Of the trust region: the factor on the learning rate, and z of the agreement, in [-1, 1].
SCALE = "gap/scale"
AGREEMENT = "gap/agreement"
# Where a trial whose workers are other processes waits for the scheduler's answer.
MAILBOX = "gap/mailbox"
PREFIX = "gap/"

# Configuration: config["gap"] = {"mode": ..., "reference_momentum": ..., "seed_reason": ...}.
SECTION = "gap"
MODE_SCHEDULER = "scheduler"
MODE_TRIAL = "trial"
MODE_FIXED = "fixed"
MODES = (MODE_SCHEDULER, MODE_TRIAL, MODE_FIXED)
# A section says here what the momentum beside it is called, where that is not "momentum".
MOMENTUM_KEY = "momentum_key"
# A section numbers here the configuration that trials of several momenta and seeds share.
PAIR = "pair"
# Of mode "scheduler": False where GapSearch has seen no GapScheduler, which makes it True.
SCHEDULED = "scheduled"
# A section names here the trial's own rule (gap_tune.rules.get_rule), where it has one.
RULE = "rule"
# A section holds here how the trust region follows the agreement, where the rule is not to say.
TRUST_REGION = "trust_region"
# What it holds where learning rates stay as they are.
NO_TRUST_REGION = {"span": 1.0}
# A section says here what the momentum beside it is, where that is not what trained.
MOMENTUM_IS = "momentum_is"
IS_START = "the start of a tuned momentum: gap_tune.best(results) tells what was used"

# What a study may want of its metric, as Ray Tune calls it.
OBJECTIVE_MODES = ("min", "max")


def section(config: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Return gap_tune's own part of a trial's configuration; empty when there is none.

    Where the configuration itself has none, a nested one may: the ``train_loop_config`` of a
    ``TorchTrainer``.
    """
    own = (config or {}).get(SECTION)
    if isinstance(own, Mapping):
        return own
    return next((inner[SECTION] for inner in _holders(config or {})), {})


def sections(config: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
    """Return gap_tune's own part of a configuration wherever it stands, outermost first.

    >>> sections({"gap": {"mode": "fixed"}, "loop": {"gap": {"mode": "trial"}}})
    [{'mode': 'fixed'}, {'mode': 'trial'}]
    """
    own = (config or {}).get(SECTION)
    nested_ones = [inner[SECTION] for inner in _holders(config or {})]
    return [own, *nested_ones] if isinstance(own, Mapping) else nested_ones


def asks_for_tuning(config: Mapping[str, Any] | None) -> bool:
    """Tell whether a trial's configuration lets the scheduler change its momentum."""
    return section(config).get("mode") == MODE_SCHEDULER


def setting(config: Mapping[str, Any], name: str, default: Any = None) -> Any:
    """Return a setting by its key; else one of that name beside a nested section.

    >>> setting({"loop": {"seed": 3, "gap": {"mode": "fixed"}}}, "seed")
    3
    """
    if nested.holds(config, name):
        return nested.get(config, name)
    return next((inner[name] for inner in _holders(config) if name in inner), default)


def momentum_of(config: Mapping[str, Any], key: str = "momentum") -> Any:
    """Return the momentum that a trial starts with, under ``key`` or whatever its section says."""
    own = section(config).get(MOMENTUM_KEY)
    names = [key] if own is None else [key, str(own)]
    return next((v for v in (setting(config, name) for name in names) if v is not None), None)


def without_own(config: Mapping[str, Any], *ignored: str) -> dict[str, Any]:
    """Return a configuration without sections, the momentum they name, and other keys.

    >>> without_own({"lr": 1, "loop": {"beta1": 0.5, "gap": {"mode": "fixed",
    ...     "momentum_key": "beta1"}}}, "seed")
    {'lr': 1, 'loop': {}}
    """
    own = section(config).get(MOMENTUM_KEY)
    names = ignored if own is None else (*ignored, str(own))
    rest = dict(config)
    for name in ignored:
        path = nested.path_of(rest, name)
        if path is not None:
            rest = nested.without(rest, path)
    return _stripped(rest, names)


def metric_names(metric: str | Sequence[str] | None) -> tuple[str, ...]:
    """Return the names of a study's metrics: none, one, or those of several objectives.

    >>> metric_names(None), metric_names("loss"), metric_names(["loss", "size"])
    ((), ('loss',), ('loss', 'size'))
    """
    if metric is None or isinstance(metric, str):
        return (metric,) if metric else ()
    return tuple(metric)


def first_objective(
    metric: str | Sequence[str] | None, mode: str | Sequence[str] | None
) -> tuple[str | None, str | None]:
    """Return the metric and mode to show of a study: those of its first objective.

    >>> first_objective(["loss", "size"], ["min", "max"])
    ('loss', 'min')
    """
    metrics, modes = metric_names(metric), metric_names(mode)
    return metrics[0] if metrics else None, modes[0] if modes else None


def check_objective_mode(mode: str | None) -> str:
    """Return the mode when a metric is better low ("min") or high ("max") by it, else raise.

    Raises:
        InvalidValueError: When it is something else.

    >>> check_objective_mode("max")
    'max'
    """
    if mode not in OBJECTIVE_MODES:
        raise InvalidValueError(f"mode must be 'min' or 'max', but got {mode!r}.")
    return mode


def _holders(config: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the nested mappings that hold a section, outermost first."""
    for inner in config.values():
        if isinstance(inner, Mapping):
            own = inner.get(SECTION)
            # A user may well call something else of theirs a gap.
            if isinstance(own, Mapping) and own.get("mode") in MODES:
                yield inner
            yield from _holders(inner)


def _stripped(config: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Return a mapping without its section and, where it had one, without these names."""
    holds = isinstance(config.get(SECTION), Mapping)
    dropped = (SECTION, *names) if holds else ()
    return {
        name: _stripped(value, names) if isinstance(value, Mapping) else value
        for name, value in config.items()
        if name not in dropped
    }
