"""attach: the one line that makes an optimizer's momentum gap_tune's business."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from gap_tune.control import RegionChoice, SelfTuning, TrustRegion, has_momentum
from gap_tune.errors import InvalidValueError, UnsupportedError
from gap_tune.gradients.wrappers import unwrapped
from gap_tune.rules import AlignmentRule, MomentumRule, get_rule
from gap_tune.rules.registry import known_rule
from gap_tune.tune import keys
from gap_tune.tune.trial.channels import open_channel
from gap_tune.tune.trial.observed import Controlled, Deciding, Observed
from gap_tune.tune.trial.session import TrialSession
from gap_tune.tune.trial.tuning import SelfTuned, Tuning, let_go

_UNSCHEDULED = (
    "a study with GapSearch must have a GapScheduler that changes momentum while trials run, but "
    "got another scheduler: momentum stays as it is, and so does the learning rate where no trust "
    'region is given. Pass TuneConfig(scheduler=gap_tune.GapScheduler(...)), or "gap": {"mode": '
    '"trial"}.'
)


def attach(
    optimizer: torch.optim.Optimizer,
    config: Mapping[str, Any] | None = None,
    *,
    couple_lr: bool | None = None,
    rule: MomentumRule | None = None,
    update_every: int = 1,
    trust_region: TrustRegion | Mapping[str, Any] | None = None,
    **monitor_options: Any,
) -> TrialSession:
    """Watch an optimizer's gradients in a Ray Tune trial and let its momentum be tuned.

    Call it in a function that Ray Tune runs; outside of Ray it works too, but nothing is reported.
    Or call it in the training function of a ``TorchTrainer`` that such a function starts, on every
    rank, where the trainer's ``RunConfig(callbacks=[TuneReportCallback()])`` passes reports on; a
    report then waits until Ray Train looks at its workers, up to
    ``RAY_TRAIN_HEALTH_CHECK_INTERVAL_S``, by default two seconds.

    Who chooses the momentum is the trial's mode, ``config["gap"]["mode"]``, which ``GapSearch``
    sets:

    - "scheduler": ``GapScheduler``, whenever the trial reports.
    - "trial": the trial itself, at optimizer steps: a self-tuning optimizer
      (``gap_tune.control.SelfTuning``) by its own rule, any other by ``rule``. This is also the
      mode of a configuration that names none, where the optimizer tunes itself or ``rule`` is
      given.
    - "fixed": nobody. Any optimizer may be observed, also one without momentum.

    Args:
        optimizer: A torch optimizer with ``momentum`` or ``betas``, already built with the
            momentum of ``config``; or what wraps one, such as Accelerate's.
        config: The trial's configuration; where ``config["gap"]["betas2"]`` lists values of
            beta2, the statistics compare them.
        couple_lr: Whether the learning rate follows momentum (``MomentumControl``); None does so
            for SGD. Trials whose momentum is fixed are never coupled.
        rule: Chooses momentum in mode "trial", whatever ``config["gap"]["rule"]`` names; default
            that one, or ``AlignmentRule()`` where none is named.
        update_every: Steps between two decisions of that rule. Each waits for the device once.
        trust_region: How the learning rate follows the agreement at every step, whoever chooses
            the momentum, but in trials whose momentum is fixed; its settings as a mapping do, too.
            None takes ``config["gap"]["trust_region"]``, or what the rule asks for where there is
            none (``MomentumRule.scales_lr``): it follows, but with the papers' rule and the rules
            "fixed" and "horizon". So it does not where nothing asks for tuning: in the mode of a
            configuration that names none, without ``rule``; nor where nobody tunes, in a study
            with ``GapSearch`` but without ``GapScheduler``.
            ``TrustRegion.off()`` leaves the learning rate as it is. A checkpoint of a trial that
            trained without a region goes on without, unless one is named here or there.
        **monitor_options: ``candidates, sample, decay, lags, every`` of ``GradientMonitor``. Where
            the learning rate follows, the candidates of Adam and its like are by default 0.5 and
            0.8: longer memories of normalised gradients were measured to be worse there.

    Returns:
        The session to iterate epochs, report and restore with.

    Raises:
        InvalidValueError: When the mode or the named rule is unknown, an option is out of range,
            nothing is trainable, or options are given that a self-tuning optimizer takes itself.
        UnsupportedError: When the optimizer has no momentum that can be derived and the trial is
            not fixed, or when a self-tuning optimizer would have a second master.

    >>> weight = torch.nn.Parameter(torch.ones(3))
    >>> optimizer = torch.optim.SGD([weight], lr=0.1, momentum=0.9)
    >>> attach(optimizer, {"gap": {"mode": "fixed"}}).momentum
    0.9
    """
    own = keys.section(config)
    tuning = make_tuning(
        optimizer,
        own,
        couple_lr=couple_lr,
        rule=rule,
        update_every=update_every,
        trust_region=trust_region,
        **monitor_options,
    )
    channel = open_channel(keys.asks_for_tuning(config))
    # Where the trial continues, the optimizer may hold what its checkpoint brought already.
    if channel.checkpoint() is None:
        check_start(tuning.optimizer, config)
    return TrialSession(tuning, channel, own)


def make_tuning(
    optimizer: torch.optim.Optimizer,
    own: Mapping[str, Any],
    *,
    couple_lr: bool | None = None,
    rule: MomentumRule | None = None,
    update_every: int = 1,
    trust_region: TrustRegion | Mapping[str, Any] | None = None,
    **monitor_options: Any,
) -> Tuning:
    """Return who chooses the momentum; arguments and errors as of ``attach``.

    Args:
        optimizer: The optimizer.
        own: gap_tune's section of the configuration.
        couple_lr: As of ``attach``.
        rule: As of ``attach``.
        update_every: As of ``attach``.
        trust_region: As of ``attach``.
        **monitor_options: As of ``attach``.
    """
    optimizer = unwrapped(optimizer)
    mode = own.get("mode")
    if mode is not None and mode not in keys.MODES:
        raise InvalidValueError(
            f'config["gap"]["mode"] must be one of {keys.MODES}, but got {mode!r}.'
        )
    if mode is None and (rule is not None or isinstance(optimizer, SelfTuning)):
        mode = keys.MODE_TRIAL
    if isinstance(optimizer, SelfTuning):
        if mode == keys.MODE_TRIAL:
            given = {"couple_lr": couple_lr, "rule": rule, "trust_region": trust_region}
            _refuse_options(optimizer, **given, **monitor_options, **_named(keys.RULE, own))
            let_go(optimizer)
            _enter_region(optimizer, own)
            return SelfTuned(optimizer)
        if mode != keys.MODE_FIXED or optimizer.changes_momentum:
            raise UnsupportedError(_second_master(optimizer, mode))
    let_go(optimizer)
    betas2 = tuple(float(beta2) for beta2 in own.get("betas2") or ())
    if mode == keys.MODE_FIXED:
        return Observed(optimizer, betas2=betas2, **monitor_options)
    asks = known_rule(own.get(keys.RULE)) if rule is None else rule
    asked = own.get(keys.TRUST_REGION) if trust_region is None else trust_region
    unscheduled = mode == keys.MODE_SCHEDULER and own.get(keys.SCHEDULED) is False
    if unscheduled:
        warnings.warn(_UNSCHEDULED, stacklevel=3)
    # What asks for no tuning, or has nobody who tunes it, is only looked at.
    asks_for_scale = mode is not None and not unscheduled and getattr(asks, "scales_lr", True)
    options = {
        "betas2": betas2,
        "couple_lr": getattr(asks, "couple_lr", None) if couple_lr is None else couple_lr,
        "reference_momentum": own.get("reference_momentum"),
        "trust_region": RegionChoice.of(asked, rules_ask=asks_for_scale),
        **monitor_options,
    }
    if mode == keys.MODE_TRIAL:
        named_rule = own.get(keys.RULE)
        if rule is None:
            rule = AlignmentRule() if named_rule is None else get_rule(named_rule)
        return Deciding(optimizer, rule=rule, update_every=update_every, **options)
    return Controlled(optimizer, **options)


def _enter_region(optimizer: torch.optim.Optimizer, own: Mapping[str, Any]) -> None:
    """Let a self-tuning optimizer train in the region that the configuration names, if it can."""
    if own.get(keys.TRUST_REGION) is None:
        return
    region = TrustRegion.of(own[keys.TRUST_REGION])
    enter = getattr(optimizer, "enter_region", None)
    try:
        if enter is not None:
            enter(region)
        elif region.is_on:
            _refuse_options(optimizer, **_named(keys.TRUST_REGION, own))
    except InvalidValueError:
        # What GapSearch narrowed gives way; else all but the first trials of a study would fail.
        if "lr_reason" not in own:
            raise


def _named(name: str, own: Mapping[str, Any]) -> dict[str, Any]:
    return {f'config["{keys.SECTION}"]["{name}"]': own.get(name)}


def check_start(optimizer: torch.optim.Optimizer, config: Mapping[str, Any] | None) -> None:
    """Warn where an optimizer was not built with the momentum, or beta2, of its configuration.

    Such a trial trains with another momentum than the study believes.

    Args:
        optimizer: The optimizer, as it starts.
        config: The trial's configuration.
    """
    if not has_momentum(optimizer):
        return
    for argument, name, wanted in _configured(config or {}, optimizer.param_groups[0]):
        built = [_argument(group, argument) for group in optimizer.param_groups]
        # Groups may hold float32 tensors, and some of them a momentum of their own.
        if not any(math.isclose(value, wanted, rel_tol=1e-6) for value in built):
            warnings.warn(
                f"the optimizer must be built with the configuration's {name}={wanted:g}, but got "
                f"{type(optimizer).__name__} with {argument}={built[0]:g}, which it trains with "
                f"until something changes it: pass config[{name!r}] to it.",
                stacklevel=3,
            )


def _configured(
    config: Mapping[str, Any], group: Mapping[str, Any]
) -> Iterator[tuple[str, str, float]]:
    """Yield what a configuration says of a group's argument: argument, key and value."""
    own = keys.section(config).get(keys.MOMENTUM_KEY)
    names: dict[str, tuple[Any, ...]] = {"momentum": (own, "momentum")}
    if "momentum" not in group:
        names = {"betas[0]": (own, "beta1", "momentum", "betas"), "betas[1]": ("beta2", "betas")}
    for argument, candidates in names.items():
        for name in filter(None, candidates):
            value = keys.setting(config, name)
            if name == "betas" and isinstance(value, Sequence) and len(value) == 2:
                value = value[argument == "betas[1]"]
            number = _number(value)
            if number is not None:
                yield argument, name, number
                break


def _number(value: Any) -> float | None:
    """Return a number of a configuration, NumPy's and torch's included; None for all else."""
    if isinstance(value, (bool, np.bool_, str, bytes)) or value is None:
        return None
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError):
        return None


def _argument(group: Mapping[str, Any], argument: str) -> float:
    """Return what "momentum", "betas[0]" or "betas[1]" is in a parameter group."""
    if argument == "momentum":
        return float(group["momentum"])
    return float(group["betas"][argument == "betas[1]"])


def _second_master(optimizer: torch.optim.Optimizer, mode: str | None) -> str:
    kind = type(optimizer)
    package = kind.__module__.rpartition(".")[0] or kind.__module__
    return (
        f"a trial of mode {mode!r} must have an optimizer that leaves its momentum alone, but got "
        f"{kind.__name__} of {package}, which tunes it itself: take torch's optimizer, or "
        '"gap": {"mode": "trial"}.'
    )


def _refuse_options(optimizer: torch.optim.Optimizer, **options: Any) -> None:
    given = sorted(name for name, value in options.items() if value is not None)
    if given:
        raise InvalidValueError(
            f"options of a self-tuning optimizer must be given to {type(optimizer).__name__} "
            f"itself, but got {given} in attach."
        )
