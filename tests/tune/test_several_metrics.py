"""Studies of several objectives: every place that reads the study's metric takes one or many."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from optuna.storages import InMemoryStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from ray import tune
from ray.tune.search.optuna import OptunaSearch
from rich.console import Console

from gap_tune import GapScheduler, GapSearch, attach
from gap_tune.errors import InvalidValueError
from gap_tune.records.experiments import read_experiment
from gap_tune.tune.monitoring.metrics import RayMetrics
from gap_tune.tune.monitoring.progress import Progress, callback
from gap_tune.tune.monitoring.progress.pace import Pace
from gap_tune.tune.monitoring.progress.trials import Shown
from tests.records.test_experiments import write_trial
from tests.tune.drawing import terminal, written
from tests.tune.drawing import trial as drawn
from tests.tune.functions import Cycle
from tests.tune.scheduled import Study
from tests.tune.searching import leaning, optuna_trials, report

METRICS, MODES = ["loss", "eval/size"], ["min", "max"]
NAN = float("nan")


def objectives(config: dict[str, Any]) -> None:
    """Report two objectives, one of them nested; the first trial dies once."""
    weight = torch.nn.Parameter(torch.ones(8))
    optimizer = torch.optim.SGD([weight], lr=config["lr"], momentum=config["momentum"])
    trial = attach(optimizer, config)
    for _ in trial.epochs(2):
        for _ in range(6):
            optimizer.zero_grad()
            (weight.square().sum() / 2).backward()
            optimizer.step()
        trial.report({"loss": weight.square().sum().item(), "eval": {"size": config["lr"]}})
        marker = Path(config["restart_marker"])
        if not marker.exists():
            marker.touch()
            raise RuntimeError("once")


@pytest.mark.slow
def test_bug_a_study_of_two_objectives_fails_every_trial_and_after_a_restore(
    ray_address: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # A file: what the driver knows after a restore is what it had written.
    backend = JournalFileBackend(str(tmp_path / "optuna.log"))
    inner = OptunaSearch(metric=METRICS, mode=MODES, seed=0, storage=JournalStorage(backend))
    callbacks = [
        RayMetrics(METRICS, MODES),
        Progress(2, style="json", metric=METRICS, mode=MODES, console=Console(quiet=True)),
    ]
    tuner = tune.Tuner(
        objectives,
        param_space={"lr": tune.loguniform(1e-3, 0.1), "restart_marker": str(tmp_path / "died")},
        tune_config=tune.TuneConfig(
            num_samples=2,
            search_alg=GapSearch(inner, lr="lr"),
            scheduler=GapScheduler(rule=Cycle()),
            max_concurrent_trials=1,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            name="two",
            storage_path=str(tmp_path),
            verbose=0,
            callbacks=callbacks,
        ),
    )
    assert len(tuner.fit().errors) == 1
    restored = tune.Tuner.restore(str(tmp_path / "two"), objectives, restart_errored=True)
    grid = restored.fit()
    assert not grid.errors
    assert len(grid) == 2
    for result in grid:
        assert result.config is not None
        assert result.config["gap"]["metric"] == METRICS
        assert result.metrics is not None
        assert result.metrics["gap/momentum"] != result.config["momentum"]
    # The study's own names, after the restore too.
    for name in (path.parent.name for path in (tmp_path / "two").glob("*/params.json")):
        assert "momentum=0.9000" in name
        assert not any(f"{key}=" in name for key in grid[0].config["gap"])  # type: ignore[index]
    assert not any(f"{each} failed" in caplog.text for each in ("set_state", "result", "end"))
    trials = optuna_trials(JournalStorage(backend))
    assert len(trials) >= 2
    assert {len(t.values) for t in trials if t.values} == {2}
    assert {t.state.name for t in trials} <= {"COMPLETE", "FAIL"}
    records = read_experiment(tmp_path / "two", mode="min")
    assert records.metric == "loss"
    assert set(METRICS) <= set(records.study["metrics"])


@pytest.mark.parametrize("name", METRICS)
def test_bug_with_several_metrics_none_is_watched_for_nan(
    study: Callable[..., Study], name: str
) -> None:
    s = study()
    s.scheduler.set_search_properties(None, None)
    own = {"mode": "scheduler", "metric": METRICS}
    trial, result = s.add(gap=own), {"loss": 1.0, "eval/size": 1.0, name: NAN}
    s.scheduler.on_trial_result(s.controller, trial, {**result, "gap/seq": 0})
    from gap_tune.tune.ray_private import delivery

    directive = delivery.take(trial.trial_id)
    assert directive is not None
    assert directive.failure is not None
    assert repr(name) in directive.failure


def test_optuna_is_told_of_a_nested_objective_that_is_nan_as_a_failure() -> None:
    storage = InMemoryStorage()
    search = GapSearch(OptunaSearch(metric=METRICS, mode=MODES, seed=0, storage=storage))
    search.set_search_properties(None, None, {"lr": tune.loguniform(1e-3, 1.0)})
    for trial, size in (("a", 1.0), ("b", NAN)):
        search.suggest(trial)
        search.on_trial_result(trial, report(leaning(0.9), eval={"size": size}))
        search.on_trial_complete(trial, {"loss": 1.0, "eval/size": size})
    good, failed = optuna_trials(storage)
    assert [good.state.name, failed.state.name] == ["COMPLETE", "FAIL"]
    assert good.values == [1.0, 1.0]


@pytest.mark.parametrize(("turn", "best"), [(1, "loss 1: t seed 1"), (-1, "eval/size 4: t seed 2")])
def test_bug_progress_refuses_several_objectives(
    turn: int, best: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(callback, "Pace", lambda every_s: Pace(0.0))
    console = terminal(width=200)
    progress = Progress(
        None, metric=METRICS[::turn], mode=MODES[::turn], console=console, style="lines"
    )
    progress.setup()
    trials = [drawn(number, **{"loss": number, "eval/size": 2.0 * number}) for number in (1, 2)]
    for each in trials:
        each.config["arm"] = "t"
    progress.on_step_end(iteration=0, trials=trials)
    assert f"best {best}" in written(console)
    with pytest.raises(InvalidValueError, match="mode must be 'min' or 'max'"):
        Progress(None, metric=METRICS, mode=["down", "min"])


def test_bug_a_report_of_several_objectives_is_no_report(tmp_path: Path) -> None:
    own = {"mode": "scheduler", "metric": METRICS}
    write_trial(tmp_path, "aaa", {"lr": 0.1, "momentum": 0.9, "gap": own}, [3.0, 2.0])
    assert read_experiment(tmp_path, mode="min").metric == "loss"


def test_bug_a_nested_metric_is_missing_in_what_is_shown(study: Callable[..., Study]) -> None:
    trial = study().add()
    result = {"eval": {"loss": 0.25}, "epoch": 1, "gap/momentum": 0.9}
    trial.run_metadata.last_result = result
    shown = Shown("epoch", 2.0, "eval/loss", "min", "eval/loss", "accuracy")
    assert shown.value(trial) == 0.25
    text = Console(width=120, record=True, file=(Path(study().folder).parent / "x").open("w"))
    progress = Progress(
        1,
        style="json",
        metric="eval/loss",
        loss="eval/loss",
        console=text,
    )
    progress.setup()
    progress.on_trial_complete(0, [trial], trial)
    text.file.flush()
    line = json.loads(Path(text.file.name).read_text().splitlines()[0])
    assert line["result"]["eval/loss"] == 0.25
