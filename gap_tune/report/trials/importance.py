"""Importance: which hyperparameters the metric depends on, by Optuna's evaluators."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
import pandas as pd
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.importance import FanovaImportanceEvaluator, PedAnovaImportanceEvaluator

from gap_tune.formatting import count, plural
from gap_tune.report.trials.settings import LR, LR_NAMES, MOMENTUM, TrialSettings, is_log, is_number

# Fewer trials than that, of each hyperparameter, tell noise.
_TRIALS_EACH, _FEWEST_TRIALS = 10, 20
# More tell no more, and take the forest long.
_MOST_TRIALS = 200
# A forest of so many trees differs little from one of Optuna's 64, and takes half its time.
_TREES = 32
_LITTLE, _MUCH = 0.1, 0.3


@dataclass(frozen=True)
class Importance:
    """What share of the metric each hyperparameter explains.

    Attributes:
        fanova: By hyperparameter, most important first, the share of the metric's variance that it
            explains by itself, by a random forest over all trials.
        pedanova: The share by which the best tenth of trials tells its values from those of all.
        trials: How many trials that rests on.
        sentence: What it says of momentum; without importances, why there are none.
    """

    fanova: Mapping[str, float]
    pedanova: Mapping[str, float]
    trials: int
    sentence: str

    @classmethod
    def of(cls, settings: TrialSettings) -> Importance:
        """Return the importances in a study; none, and why, where its trials are too few.

        Trials count that were trained to their end: what others reached depends on when they were
        stopped. A hyperparameter that was used otherwise than it was set counts as it was used.
        """
        whole, names = settings.whole(), list(settings.names)
        if LR in names:
            names = [name for name in names if name.rpartition("/")[2] not in LR_NAMES]
        names = [name for name in names if name in whole and whole[name].astype(str).nunique() > 1]
        whole = whole.dropna(subset=names)
        needed = max(_TRIALS_EACH * len(names), _FEWEST_TRIALS)
        if MOMENTUM not in names:
            return cls({}, {}, len(whole), _ALIKE)
        if len(whole) < needed:
            return cls({}, {}, len(whole), _too_few(len(whole), needed, len(names)))
        places = np.linspace(0, len(whole) - 1, min(len(whole), _MOST_TRIALS)).round().astype(int)
        shown = whole.iloc[places].sort_index()
        study = _study(shown, names, settings)
        with _quiet():
            fanova, pedanova = (
                _shares(study, evaluator)
                for evaluator in (
                    FanovaImportanceEvaluator(n_trees=_TREES, seed=0),
                    PedAnovaImportanceEvaluator(),
                )
            )
        return cls(fanova, pedanova, len(shown), _sentence(fanova, settings.metric, len(shown)))


_ALIKE = (
    "Whether momentum matters here cannot be told: all trials that were trained to their end used "
    "the same."
)


def _too_few(trials: int, needed: int, names: int) -> str:
    return (
        f"Whether momentum matters here cannot be told: of {plural(names, 'hyperparameter')} it "
        f"takes {count(needed)} trials that were trained to their end, and there "
        f"{'is' if trials == 1 else 'are'} {count(trials)}."
    )


def _sentence(shares: Mapping[str, float], metric: str, trials: int) -> str:
    share = shares[MOMENTUM]
    how = "matters little" if share < _LITTLE else "matters" if share < _MUCH else "matters much"
    first = next(iter(shares))
    most = "the most of all" if first == MOMENTUM else f"{first} explains {shares[first]:.0%}"
    return (
        f"Momentum {how} here: as used it explains {share:.0%} of the variance of {metric} over "
        f"{plural(trials, 'trial')}, {most} (fANOVA)."
    )


def _study(rows: pd.DataFrame, names: list[str], settings: TrialSettings) -> optuna.Study:
    distributions = {name: _distribution(rows[name]) for name in names}
    with _quiet():
        direction = "minimize" if settings.mode == "min" else "maximize"
        study = optuna.create_study(direction=direction)
        for row in rows.to_dict("records"):
            study.add_trial(
                optuna.trial.create_trial(
                    params={name: row[name] for name in names},
                    distributions=distributions,
                    value=float(row[settings.metric]),
                )
            )
    return study


def _distribution(values: pd.Series) -> BaseDistribution:
    if not is_number(values):
        return CategoricalDistribution(sorted(map(str, values.unique())))
    low, high = float(values.min()), float(values.max())
    return FloatDistribution(low, high, log=is_log(values))


def _shares(study: optuna.Study, evaluator: Any) -> dict[str, float]:
    found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {name: float(share) for name, share in found.items()}


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence what Optuna says to those who run studies with it."""
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(level)
