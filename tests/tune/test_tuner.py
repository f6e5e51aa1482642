"""gap_tune.tuner: a study with one name changed, every part of it replaceable."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from ray import train, tune
from ray.train.base_trainer import BaseTrainer
from ray.train.torch import TorchTrainer
from ray.tune.schedulers import (
    ASHAScheduler,
    PopulationBasedTraining,
    ResourceChangingScheduler,
)
from ray.tune.search import BasicVariantGenerator, ConcurrencyLimiter
from ray.tune.search.optuna import OptunaSearch

import gap_tune
from gap_tune import FixedMomentum, GapScheduler, GapSearch
from gap_tune.errors import InvalidValueError, UnsupportedError
from gap_tune.tune.monitoring.metrics import RayMetrics
from gap_tune.tune.monitoring.progress import Progress
from tests.tune.functions import Cycle, quadratic
from tests.tune.integrations.class_trainables import Plain

SPACE = {"lr": tune.loguniform(0.01, 0.05)}
PBT = PopulationBasedTraining(hyperparam_mutations={"lr": [0.01, 0.1]})
ASKED: dict[str, Any] = {"metric": "loss", "mode": "min"}


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What ``tune.Tuner`` is made of, instead of a tuner."""
    found: dict[str, Any] = {}
    monkeypatch.setattr(tune, "Tuner", lambda train, **parts: found.update(parts, train=train))
    return found


def rows(result: Any) -> list[dict[str, Any]]:
    return list(result.metrics_dataframe.to_dict("records"))


def test_bug_studies_without_a_name_that_begin_in_one_second_shared_a_folder(
    made: dict[str, Any],
) -> None:
    def name_of(train: Any, **options: Any) -> str:
        gap_tune.tuner(train, SPACE, **ASKED, **options)
        return str(made["run_config"].name)

    names = [name_of(quadratic) for _ in range(20)]
    assert len(set(names)) == 20
    assert all(re.fullmatch(r"quadratic_[-_0-9]{19}_[0-9a-f]{6}", name) for name in names), names
    with_resources = tune.with_resources(quadratic, {"cpu": 1})
    assert name_of(with_resources).startswith("quadratic_")
    assert name_of(tune.with_parameters(quadratic, x=1)).startswith("quadratic_")
    assert name_of("digits").startswith("digits_")
    assert name_of(quadratic, run_config=tune.RunConfig(name="mine")) == "mine"


@pytest.mark.slow
def test_one_call_tunes_the_momentum_of_a_function_and_shows_the_study(
    ray_address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = gap_tune.tuner(
        quadratic,
        {**SPACE, "epochs": 6},
        num_samples=2,
        search_alg="random",
        scheduler=ASHAScheduler(max_t=6, grace_period=6),
        run_config=tune.RunConfig(storage_path=str(tmp_path)),
        **ASKED,
    ).fit()
    assert not results.errors
    assert len(results) == 2
    for result in results:
        assert [row["training_iteration"] for row in rows(result)] == [1, 2, 3, 4, 5, 6]
        assert {row["gap/mode"] for row in rows(result)} == {"scheduler"}
        assert all(row["gap/reason"] for row in rows(result)[:-1])
        assert result.config["momentum"] == 0.9
    assert len({result.config["lr"] for result in results}) == 2
    assert any(len({row["used"] for row in rows(result)}) > 1 for result in results)
    shown = capsys.readouterr().out
    assert "finished (2 of 2), report 6, loss" in shown
    assert "Current time" not in shown, "Ray's own table"


@pytest.mark.slow
def test_a_class_trainable_is_tuned_by_the_scheduler_it_is_given(
    ray_address: str, tmp_path: Path
) -> None:
    (result,) = gap_tune.tuner(
        tune.with_resources(Plain, {"CPU": 1}),
        {"lr": 0.02},
        search_alg=GapSearch(rule=FixedMomentum()),
        callbacks=[],
        tune_config=tune.TuneConfig(scheduler=GapScheduler(rule=Cycle()), **ASKED),
        run_config=tune.RunConfig(storage_path=str(tmp_path), verbose=0),
    ).fit()
    assert [row["used"] for row in rows(result)] == pytest.approx(Cycle.momenta)


def test_what_is_given_is_wrapped_or_used_as_it_is(made: dict[str, Any]) -> None:
    search, scheduler = GapSearch(), GapScheduler()
    for given in (search, ConcurrencyLimiter(search, 2)):
        gap_tune.tuner(quadratic, SPACE, search_alg=given, **ASKED)
        assert made["tune_config"].search_alg is given
    for own in (scheduler, ResourceChangingScheduler(scheduler)):
        gap_tune.tuner(quadratic, SPACE, scheduler=own, **ASKED)
        assert made["tune_config"].scheduler is own

    optuna, asha = OptunaSearch(), ASHAScheduler(max_t=9)
    theirs = tune.TuneConfig(
        search_alg=optuna, scheduler=asha, metric="loss", mode="max", max_concurrent_trials=3
    )
    gap_tune.tuner(quadratic, SPACE, mode="min", num_samples=5, tune_config=theirs)
    study = made["tune_config"]
    assert isinstance(study.search_alg, GapSearch)
    assert study.search_alg.searcher is optuna
    assert isinstance(study.scheduler, GapScheduler)
    assert (study.metric, study.mode, study.num_samples) == ("loss", "min", 5)
    assert study.max_concurrent_trials == 3
    # What is theirs stays as it is.
    assert (theirs.search_alg, theirs.scheduler, theirs.num_samples) == (optuna, asha, 1)


@pytest.mark.parametrize("loop", [{"lr": 0.1}, tune.choice([{"lr": 0.1}])])
def test_workers_of_a_torch_trainer_find_the_momentum_in_their_loops_config(
    made: dict[str, Any], loop: Any
) -> None:
    gap_tune.tuner(quadratic, {"train_loop_config": loop}, **ASKED)
    search = made["tune_config"].search_alg
    assert search.set_search_properties("loss", "min", made["param_space"])
    config = search.suggest("a")
    assert config["train_loop_config"]["momentum"] == 0.9
    assert "momentum" not in config


def test_callbacks_are_replaced_or_come_on_top(made: dict[str, Any]) -> None:
    class Mine(tune.Callback):
        pass

    def kinds(run: Any = None, **options: Any) -> list[type]:
        gap_tune.tuner(quadratic, SPACE, run_config=run, **ASKED, **options)
        return [type(each) for each in made["run_config"].callbacks]

    assert kinds() == [Progress, RayMetrics]
    assert made["run_config"].verbose == 0
    assert kinds(callbacks=[]) == []
    assert made["run_config"].verbose == tune.RunConfig().verbose
    mine = tune.RunConfig(name="mine", callbacks=[Mine(), RayMetrics("loss", "min")])
    assert kinds(mine) == [Mine, RayMetrics, Progress]
    assert made["run_config"].name == "mine"
    assert len(mine.callbacks) == 2
    assert kinds(mine, callbacks=[Mine()]) == [Mine, RayMetrics, Mine]
    # Whoever asks for Ray's tables gets no screen that writes over them.
    assert kinds(tune.RunConfig(verbose=2)) == [RayMetrics]
    assert made["run_config"].verbose == 2


@pytest.mark.parametrize(
    ("options", "kind", "complaint"),
    [
        ({"mode": None}, InvalidValueError, "metric='loss' and mode=None"),
        ({"search_alg": "grid"}, InvalidValueError, "searcher must be one of"),
        ({"search_alg": BasicVariantGenerator()}, UnsupportedError, "got BasicVariantGenerator"),
        ({"scheduler": PBT}, UnsupportedError, "run it as a study of its"),
    ],
)
def test_what_cannot_be_tuned_is_refused(options: Any, kind: Any, complaint: str) -> None:
    with pytest.raises(kind, match=complaint):
        gap_tune.tuner(quadratic, SPACE, **{**ASKED, **options})


def test_a_torch_trainer_itself_is_refused_with_what_to_do() -> None:
    trainer = TorchTrainer(quadratic, scaling_config=train.ScalingConfig(num_workers=1))
    if isinstance(trainer, BaseTrainer):
        pytest.skip("Ray Tune runs trainers of Ray Train's first generation itself")
    with pytest.raises(UnsupportedError, match="got a TorchTrainer: start it in a function"):
        gap_tune.tuner(trainer, SPACE, **ASKED)
