"""The settings to copy: code that runs, and variables that Ray knows."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import ray
from ray import tune
from ray.tune.logger import CSVLoggerCallback, JsonLoggerCallback

from gap_tune import GapScheduler, GapSearch
from gap_tune.planning import Request, snippet
from gap_tune.planning.settings import environment


def run_code(code: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(compile(code, "settings", "exec"), names)
    return names


def request(**given: Any) -> Request:
    return Request(**{"trials": 1000, "nodes": 10, "gpus": 4, "report_seconds": 30.0, **given})


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take back what the code sets."""
    for name in environment(request(tensorboard=False)):
        monkeypatch.delenv(name, raising=False)
        # Recorded as absent, so that it is absent again afterwards.
        monkeypatch.setenv(name, "0")
        monkeypatch.delenv(name)


@pytest.mark.parametrize("searcher", ["tpe", "random"])
@pytest.mark.parametrize("decide", ["scheduler", "trial", "nobody"])
@pytest.mark.parametrize("tensorboard", [True, False])
def test_the_code_runs_and_says_what_was_planned(
    searcher: str, decide: str, tensorboard: bool
) -> None:
    planned = request(searcher=searcher, decide=decide, tensorboard=tensorboard, studies=3)
    names = run_code(snippet(planned))
    config, run_config = names["tune_config"], names["run_config"]
    assert isinstance(config, tune.TuneConfig)
    assert isinstance(run_config, tune.RunConfig)
    # Three studies of 334, 334 and 332 trials, of which 14, 13 and 13 run at once.
    assert (config.num_samples, config.max_concurrent_trials) == (334, 14)
    assert config.reuse_actors is False
    ours = decide != "nobody"
    assert isinstance(config.scheduler, GapScheduler) == ours
    assert isinstance(config.search_alg, GapSearch) == ours
    loggers = [type(each) for each in run_config.callbacks or ()]
    assert loggers == ([] if tensorboard else [JsonLoggerCallback, CSVLoggerCallback])
    assert ("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS" in os.environ) == (not tensorboard)
    assert ("param_space" in names) == (decide == "trial")


def test_ray_knows_every_variable() -> None:
    source = "".join(path.read_text() for path in Path(ray.__file__).parent.glob("tune/**/*.py"))
    variables = environment(request(tensorboard=False))
    assert variables
    for name in variables:
        assert f'os.environ.get("{name}"' in source


def test_a_study_runs_with_the_settings(ray_address: str, tmp_path: Path) -> None:
    planned = request(trials=2, nodes=1, gpus=2, tensorboard=False, reuse_actors=True)
    names = run_code(snippet(planned))
    names["run_config"].storage_path = str(tmp_path)

    def train(config: dict[str, Any]) -> None:
        tune.report({"loss": config["lr"]})

    grid = tune.Tuner(
        train,
        param_space={"lr": tune.loguniform(0.01, 1.0)},
        tune_config=names["tune_config"],
        run_config=names["run_config"],
    ).fit()
    assert [result.error for result in grid] == [None, None]
    files = {path.name for path in tmp_path.glob("study-0/*/*")}
    assert {"result.json", "progress.csv"} <= files
    assert not any(name.startswith("events.out") for name in files)
