"""read_experiment: records of any Ray Tune experiment whose trials report gap/ results."""

from __future__ import annotations

import contextlib
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from gap_tune.errors import InvalidValueError, StateError
from gap_tune.records.pairing import Pairing
from gap_tune.records.records import Records
from gap_tune.records.reported import reported_metrics, shown_metrics
from gap_tune.records.saved_state import SavedState, is_saved_in, tune_config
from gap_tune.records.trials import Trial, check_own_files, read_trial, trial_folders
from gap_tune.tune import keys
from gap_tune.tune.spelling import GAP_NAME, GAP_TRIAL_NAME, fixed_name, is_fixed_name

_PACKAGES = ("gap-tune", "ray", "torch")


def is_experiment(folder: Path | str) -> bool:
    """Tell whether a folder is a Ray Tune experiment's: it has trials or Ray's saved state."""
    folder = Path(folder)
    return bool(trial_folders(folder)) or is_saved_in(folder)


def read_experiment(
    folder: Path | str,
    *,
    metric: str | None = None,
    mode: str | None = None,
    called: str | None = None,
) -> Records:
    """Return the records of a Ray Tune experiment that no gap_tune study made.

    Trials are grouped by who chooses their momentum: "gap" (GapScheduler), "gap-trial" (the trial
    itself), "fixed:0.9" (nobody), or "other" where the configuration has no momentum; where some
    of them have rules of their own, the rule is named too: "gap (paper)".

    Trials that ``GapSearch(baselines=...)`` compared are paired by configuration and seed, and
    ``study["unit"]`` is "configuration" where there are several; those of other configurations have
    no ``configuration`` in the tables. Else groups are paired by seed where every trial has
    ``config["seed"]``, each group has a seed once, and the trials of a seed differ in momentum
    alone. Otherwise ``study["paired"]`` is False and trials are numbered in the order in which they
    began.

    ``study["shared_trials"]`` is the number of trials to be, where ``num_samples`` asks for more
    than have begun: such an experiment is not complete.

    A trial that something ended ("done" in its last report) before others of the experiment is
    "stopped", as early-stopping schedulers do: what it reached is no result of its group.

    Args:
        folder: The experiment's folder; the run may still be going or have been killed.
        metric: Metric to compare by. Default: the one that the study asked Ray Tune for, of
            several objectives the first.
        mode: "min" or "max". Default: likewise.
        called: What the reader of a report calls the folder, where it is a copy.

    Raises:
        StateError: When no trial in the folder reports results of gap_tune, or one of its files is
            a link that leads out of it.
        InvalidValueError: When metric or mode are neither given nor saved, or cannot be.
    """
    folder = Path(folder)
    check_own_files(folder)
    saved = SavedState.read(folder)
    trials = _read_trials(folder, saved)
    configs = [trial.config for trial in trials]
    arms = _arms(configs)
    pairing = Pairing.of(configs, arms)
    study: dict[str, Any] = {
        "experiment": folder.resolve().name,
        "paired": pairing.paired,
        "unit": pairing.unit,
        "arms": _ordered(arms),
        "settings": _shared(configs),
        "versions": {name: version(name) for name in _PACKAGES},
        **compared_by(folder, configs, metric, mode),
    }
    to_come = saved.to_come(len(trials))
    if to_come:
        study["shared_trials"] = len(trials) + to_come
    study["report_command"] = shlex.join(
        [
            *("gap-tune", "report", called or str(folder)),
            *("--metric", study["metric"], "--mode", study["mode"]),
        ]
    )
    named = [
        trial.named(*names) for trial, *names in zip(trials, arms, pairing.numbers, strict=True)
    ]
    if any(pairing.places):
        named = [trial.placed(place) for trial, place in zip(named, pairing.places, strict=True)]
    records = Records.of(study, named)
    known = reported_metrics(records.results)
    if records.metric not in records.results:
        raise InvalidValueError(
            f"metric must be one that trials report ({', '.join(known) or 'none'}), "
            f"but got {records.metric!r}."
        )
    study["metrics"] = shown_metrics(records.results, records.metric)
    return records


def arm_of(config: Mapping[str, Any]) -> str:
    """Return the group of a trial: who chooses its momentum.

    >>> arm_of({"momentum": 0.9, "gap": {"mode": "scheduler"}}), arm_of({"momentum": 0.5})
    ('gap', 'fixed:0.5')
    """
    mode = keys.section(config).get("mode")
    if mode == keys.MODE_SCHEDULER:
        return GAP_NAME
    if mode == keys.MODE_TRIAL:
        return GAP_TRIAL_NAME
    momentum = keys.momentum_of(config)
    if not isinstance(momentum, int | float):
        return "other"
    # A searcher draws all digits, of which tables need only so many.
    return fixed_name(float(f"{momentum:g}"))


def _read_trials(folder: Path, saved: SavedState) -> list[Trial]:
    """Return the trials in the order in which they began.

    Raises:
        StateError: When none of them reports results of gap_tune.
    """
    trials = []
    for path in sorted(trial_folders(folder), key=lambda path: saved.place_of(path.name)):
        # A driver that runs may be writing it now.
        with contextlib.suppress(ValueError):
            trials.append(read_trial(path, saved))
    if not any(keys.MOMENTUM in report for trial in trials for report in trial.reports):
        raise StateError(
            f"{folder} must be an experiment folder whose trials report {keys.PREFIX} results "
            f"(gap_tune.attach), but {'none of them does' if trials else 'it has no trial'}."
        )
    longest = max(
        (len(trial.reports) for trial in trials if trial.row["status"] == "finished"), default=0
    )
    return [trial.stopped_before(longest) for trial in trials]


def _arms(configs: list[dict[str, Any]]) -> list[str]:
    """Return the groups of trials, those of different rules apart."""
    groups = [arm_of(config) for config in configs]
    rules = [_rule(config) for config in configs]
    known = set(zip(groups, rules, strict=True))
    several = {group for group, count in Counter(g for g, _ in known).items() if count > 1}
    return [
        f"{group} ({rule})" if rule and group in several else group
        for group, rule in zip(groups, rules, strict=True)
    ]


def _rule(config: Mapping[str, Any]) -> str:
    """Return the rule of a trial's own, in words; empty where it has none or nobody decides."""
    own = keys.section(config)
    rule = own.get(keys.RULE)
    if rule is None or own.get("mode") not in (keys.MODE_SCHEDULER, keys.MODE_TRIAL):
        return ""
    if not isinstance(rule, Mapping):
        return str(rule)
    options = (f"{k}={v}" for k, v in sorted(rule.items()) if k != "name")
    return ", ".join([str(rule.get("name")), *options])


def _shared(configs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the settings that all trials have in common."""
    first, *others = [keys.without_own(config, "momentum", "seed") for config in configs]
    return {k: v for k, v in first.items() if all(c.get(k) == v for c in others)}


def _ordered(arms: Iterable[str]) -> list[str]:
    return sorted(set(arms), key=lambda arm: (is_fixed_name(arm), arm))


def compared_by(
    folder: Path, configs: list[dict[str, Any]], metric: str | None, mode: str | None
) -> dict[str, str]:
    """Return metric and mode: as asked for, else as the study asked Ray Tune for them.

    Args:
        folder: The experiment's folder.
        configs: The configurations of its trials.
        metric: The metric that was asked for, if any.
        mode: The mode that was asked for, if any.

    Raises:
        InvalidValueError: When either is neither asked for nor saved, or cannot be.
    """
    asked = tune_config(folder / "tuner.pkl")
    searched, _ = keys.first_objective(keys.section(configs[0]).get("metric"), None)
    metric = metric or asked.get("metric") or searched
    mode = mode or asked.get("mode")
    if metric is None or mode is None:
        missing = " and ".join(
            f"--{name}" for name, value in (("metric", metric), ("mode", mode)) if value is None
        )
        raise InvalidValueError(
            f"{missing} must be given for {folder}, which does not tell by what its trials are "
            "compared, but got none."
        )
    return {"metric": metric, "mode": keys.check_objective_mode(mode)}
