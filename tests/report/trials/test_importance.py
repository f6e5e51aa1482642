"""Which hyperparameters matter: studies in which one alone does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gap_tune.records.records import Records
from gap_tune.report.trials.importance import Importance
from gap_tune.report.trials.settings import LR, MOMENTUM, TrialSettings
from tests.report.trials.conftest import Experiment


def fixed(count: int, matters: str, experiment: Experiment, **options: Any) -> Records:
    """Trials of random learning rate, momentum and width, of which one alone decides the loss."""
    random = np.random.default_rng(0)
    chosen = [
        {
            "lr": float(10 ** random.uniform(-3, 0)),
            "momentum": float(random.uniform(0, 0.99)),
            "width": int(random.integers(8, 128)),
            "gap": {"mode": "fixed"},
        }
        for _ in range(count)
    ]
    scaled = {"lr": lambda c: np.log10(c["lr"]), "momentum": lambda c: 3 * c["momentum"]}
    finals = [float(1 + scaled[matters](config) ** 2) for config in chosen]
    records = experiment(chosen, finals, **options)
    momenta = {f"gap-{place}": config["momentum"] for place, config in enumerate(chosen)}
    records.results["gap/momentum"] = records.results["trial_id"].map(momenta)
    return records


def importance(records: Records) -> Importance:
    return Importance.of(TrialSettings.of(records))


@pytest.mark.parametrize(("matters", "name"), [("lr", LR), ("momentum", MOMENTUM)])
def test_what_alone_decides_is_what_matters(
    experiment: Experiment, matters: str, name: str
) -> None:
    found = importance(fixed(60, matters, experiment))
    assert next(iter(found.fanova)) == name
    assert found.fanova[name] > 0.8
    assert max(found.pedanova, key=lambda each: found.pedanova[each]) == name
    assert set(found.fanova) == set(found.pedanova) == {LR, MOMENTUM, "width"}
    assert sum(found.fanova.values()) == pytest.approx(1.0)
    assert f"explains {found.fanova[MOMENTUM]:.0%}" in found.sentence
    start = "Momentum matters much here" if name == MOMENTUM else "Momentum matters little here"
    assert found.sentence.startswith(start)


def test_a_maximised_metric_is_judged_from_the_other_end(experiment: Experiment) -> None:
    low, high = (importance(fixed(60, "lr", experiment, mode=mode)) for mode in ("min", "max"))
    assert high.fanova == pytest.approx(low.fanova)
    assert high.pedanova != low.pedanova


@pytest.mark.parametrize(("count", "enough"), [(1, False), (29, False), (30, True)])
def test_too_few_trials_are_said_with_their_number(
    experiment: Experiment, count: int, enough: bool
) -> None:
    found = importance(fixed(count, "lr", experiment))
    assert bool(found.fanova) == enough
    if count == 29:
        assert "of 3 hyperparameters it takes 30 trials" in found.sentence
        assert "there are 29" in found.sentence


def test_trials_that_were_stopped_do_not_count(experiment: Experiment) -> None:
    records = fixed(40, "lr", experiment)
    records.trials.loc[:14, "status"] = "stopped"
    found = importance(records)
    assert not found.fanova
    assert "there are 25" in found.sentence


def test_trials_of_one_momentum_cannot_tell(experiment: Experiment) -> None:
    records = fixed(40, "lr", experiment)
    records.results["gap/momentum"] = 0.9
    found = importance(records)
    assert not found.fanova
    assert "used the same" in found.sentence


def test_words_and_missing_settings_are_judged_too(experiment: Experiment) -> None:
    records = fixed(60, "lr", experiment)
    for place, config in enumerate(records.configs.values()):
        assert isinstance(config, dict)
        config["act"] = ("relu", "tanh")[place % 2]
        config["nothing"] = None
    assert "act" in importance(records).fanova


def test_the_same_study_has_the_same_importances(experiment: Experiment) -> None:
    records = fixed(40, "lr", experiment)
    assert importance(records) == importance(records)
