"""TrialSettings: the hyperparameters of each trial, as set and as used, and what came of them."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from gap_tune.errors import StateError
from gap_tune.formatting import setting
from gap_tune.records.records import Records
from gap_tune.theory.momentum import coupling_factor
from gap_tune.tune import keys
from gap_tune.tune.nested import leaves
from gap_tune.tune.statistics_json import parse_one

LR, MOMENTUM = "learning rate as used", "momentum as used"
LR_NAMES = ("lr", "learning_rate")
# What is chosen to tell trials apart, and tunes nothing.
_NO_SETTINGS = ("arm", "seed")
_COLUMNS = ("name", "trial_id", "arm", "status")
_LOG_RATIO = 10.0
_MOST_SHOWN = 500


@dataclass(frozen=True, eq=False)
class TrialSettings:
    """The trials that reported a finite metric, with the hyperparameters that tell them apart.

    The momentum as used is the mean over optimizer steps. The learning rate as used is the one of
    the configuration times what gap_tune put on it at each step: the coupling to momentum, where
    the update sums gradients as SGD's does, and the scale; its geometric mean over steps. Schedules
    of a user's own, and ``couple_lr=False``, no report tells of.

    Attributes:
        rows: A row per trial, best first: ``name, trial_id, arm, status``, the hyperparameters
            that differ, those as used, and the metric.
        names: The hyperparameters that differ between trials, those as used last; numbers or texts.
        metric: The metric's name.
        mode: Whether it is better low ("min") or high ("max").
        left_out: How many trials reported no finite metric.
    """

    rows: pd.DataFrame
    names: tuple[str, ...]
    metric: str
    mode: str
    left_out: int

    @classmethod
    def of(cls, records: Records) -> TrialSettings:
        """Return the settings of a study's trials."""
        trials, metric = records.trials, records.metric
        if trials.empty or metric not in trials:
            return cls(pd.DataFrame(), (), metric, records.mode, len(trials))
        values = pd.to_numeric(trials[metric], errors="coerce").astype(float)
        known = trials[np.isfinite(values)]
        configs = [records.configs.get(trial_id, {}) for trial_id in known["trial_id"]]
        settings = pd.DataFrame(list(map(_settings, configs)), index=known.index)
        # A page may call nothing else so.
        settings = settings.rename(columns={n: f"{n} (setting)" for n in (*_COLUMNS, metric)})
        reports = dict(list(records.results.groupby("trial_id")))
        used = [
            _used(reports.get(trial_id), config)
            for trial_id, config in zip(known["trial_id"], configs, strict=True)
        ]
        settings[[LR, MOMENTUM]] = pd.DataFrame(used, index=known.index, columns=[LR, MOMENTUM])
        words = [name for name in settings if not is_number(settings[name])]
        settings[words] = settings[words].map(setting, na_action="ignore")
        names = tuple(
            str(name)
            for name in settings
            if _differs(settings[name]) and not _is_as_used(str(name), settings)
        )
        called = [
            f"{arm}, {records.unit} {seed}"
            for arm, seed in zip(known["arm"], known["seed"], strict=True)
        ]
        told = settings[list(dict.fromkeys([*names, LR, MOMENTUM]))]
        rows = pd.concat([known[list(_COLUMNS[1:])], told], axis=1)
        rows = rows.assign(name=called, **{metric: values[known.index]})
        rows = rows.sort_values(metric, ascending=records.mode == "min", kind="stable")
        return cls(rows, names, metric, records.mode, len(trials) - len(known))

    @property
    def shown(self) -> pd.DataFrame:
        """The rows that a page shows: all of up to 500, else so many, evenly spread by rank."""
        most = min(len(self.rows), _MOST_SHOWN)
        return self.rows.iloc[np.linspace(0, len(self.rows) - 1, most).round().astype(int)]

    def whole(self) -> pd.DataFrame:
        """Return the rows of the trials that were trained to their end."""
        return self.rows[self.rows["status"] == "finished"] if len(self.rows) else self.rows


def is_number(values: pd.Series) -> bool:
    """Tell whether a hyperparameter's values are numbers, with an order."""
    return bool(pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values))


def is_log(values: pd.Series) -> bool:
    """Tell whether numbers span a factor for which people use a logarithmic scale."""
    low, high = float(values.min()), float(values.max())
    return low > 0 and high >= _LOG_RATIO * low


def _settings(config: Mapping[str, Any]) -> dict[Hashable, Any]:
    """Return a configuration's hyperparameters, but for momentum, as numbers or texts."""
    own = keys.without_own(config, "momentum", *_NO_SETTINGS)
    return {
        name: value if math.isfinite(_number(value)) else setting(value)
        for name, value in leaves(own)
        if value is not None
    }


def _is_as_used(name: str, settings: pd.DataFrame) -> bool:
    """Tell whether it is a learning rate that every trial used as it was set."""
    if name.rpartition("/")[2] not in LR_NAMES or not is_number(settings[name]):
        return False
    return bool(np.isclose(settings[name].astype(float), settings[LR], rtol=1e-6).all())


def _differs(values: pd.Series) -> bool:
    # Rounding makes products of equal numbers differ.
    told = values.map(lambda value: f"{value:.9g}" if isinstance(value, float) else str(value))
    return int(told.nunique()) > 1


def _used(rows: pd.DataFrame | None, config: Mapping[str, Any]) -> tuple[float, float]:
    """Return the learning rate and the momentum that a trial trained with; NaN where unknown."""
    lr, momentum = _lr(config), _number(keys.momentum_of(config))
    if rows is None or keys.MOMENTUM not in rows or keys.STEPS not in rows:
        return lr, momentum
    steps = pd.to_numeric(rows[keys.STEPS], errors="coerce").to_numpy(float)
    momenta = pd.to_numeric(rows[keys.MOMENTUM], errors="coerce").to_numpy(float)
    # What a report says was in use since the report before.
    weights = np.maximum(np.diff(steps, prepend=0.0), 0.0)
    known = np.isfinite(momenta) & (weights > 0)
    if not known.any():
        return lr, momentum
    weights = weights[known] / weights[known].sum()
    factors = _factors(rows, momenta, config)[known]
    return lr * math.exp(float(weights @ np.log(factors))), float(weights @ momenta[known])


def _factors(rows: pd.DataFrame, momenta: Any, config: Mapping[str, Any]) -> Any:
    """Return what gap_tune multiplied the learning rate by, at each report."""
    factors = np.ones(len(rows))
    if keys.SCALE in rows:
        scales = pd.to_numeric(rows[keys.SCALE], errors="coerce").to_numpy(float)
        factors = np.where(scales > 0, scales, 1.0)
    own = keys.section(config)
    reference = _number(own.get("reference_momentum", keys.momentum_of(config)))
    if own.get("mode") not in (keys.MODE_SCHEDULER, keys.MODE_TRIAL) or not 0 <= reference < 1:
        return factors
    if not _sums_gradients(rows):
        return factors
    allowed = np.clip(np.nan_to_num(momenta), 0.0, 1.0 - 1e-9)
    return factors * coupling_factor(allowed, reference)


def _sums_gradients(rows: pd.DataFrame) -> bool:
    """Tell whether updates sum gradients: the statistics of Adam and its like are whitened."""
    try:
        return parse_one(rows[keys.STATISTICS].iloc[-1]).whitening is None
    except (KeyError, StateError):
        return False


def _lr(config: Mapping[str, Any]) -> float:
    named = (value for name, value in leaves(config) if name.rpartition("/")[2] in LR_NAMES)
    return _number(next(named, None))


def _number(value: Any) -> float:
    is_one = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_one else math.nan
