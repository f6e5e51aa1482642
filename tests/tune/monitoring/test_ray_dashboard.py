from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import ray
from ray import tune

from gap_tune.tune.monitoring.ray_dashboard import dashboard_link, named_job, recognisable

# tests/dashboards looks at the pages themselves, in a browser.


class Shows(tune.Trainable):
    """Reports what Ray asks an actor for when it starts."""

    def setup(self, config: dict[str, Any]) -> None:
        self.shown = ""

    def step(self) -> dict[str, Any]:
        return {"shown": repr(self), "done": True}


def sleeps(config: dict[str, Any]) -> None:
    resources = tune.get_context().get_trial_resources()
    tune.report({"cpus": resources.required_resources["CPU"]})


@pytest.mark.slow
def test_an_actor_shows_study_arm_and_seed(ray_address: str, tmp_path: Path) -> None:
    for reused, end in ((False, ""), (True, ", then others")):
        results = tune.Tuner(
            recognisable(Shows, study="digits", reused=reused),
            param_space={"arm": "fixed:0.9", "seed": 7},
            run_config=tune.RunConfig(storage_path=str(tmp_path), verbose=0),
        ).fit()
        assert [r.metrics["shown"] for r in results] == [f"digits: fixed:0.9 seed 7{end}"]


@pytest.mark.slow
def test_a_function_keeps_its_name_and_resources_and_can_be_restored(
    ray_address: str, tmp_path: Path
) -> None:
    def made() -> Any:
        return recognisable(tune.with_resources(sleeps, {"cpu": 0.5}), study="digits")

    config = tune.RunConfig(name="run", storage_path=str(tmp_path), verbose=0)
    results = tune.Tuner(made(), run_config=config).fit()
    assert [r.metrics["cpus"] for r in results] == [0.5]
    assert Path(results[0].path).name.startswith("sleeps_")
    again = tune.Tuner.restore(str(tmp_path / "run"), made()).fit()
    assert [r.metrics["cpus"] for r in again] == [0.5]


def test_without_a_dashboard_there_is_no_link(ray_address: str) -> None:
    assert ray.is_initialized()
    assert dashboard_link() is None


@pytest.mark.parametrize("name", ["digits", "a 'quoted' <b>name</b>"])
def test_a_job_is_named(name: str) -> None:
    assert named_job(name).metadata == {"job_name": name}
