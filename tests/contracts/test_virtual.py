"""The facts about Ray's controller on which simulated studies rely."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from ray import tune
from ray.train._internal.session import _FutureTrainingResult
from ray.tune.execution import tune_controller
from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, pbt
from ray.tune.search import BasicVariantGenerator

from gap_tune.simulation import driver
from gap_tune.tune.ray_private import virtual


def asked_of(name: str, source: str) -> set[str]:
    """Return the attributes that are asked of ``self.<name>``."""
    return {
        node.attr
        for node in ast.walk(ast.parse(textwrap.dedent(source)))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Attribute)
        and node.value.attr == name
    }


def test_fact_32_a_controller_asks_its_actor_manager_for_nothing_else() -> None:
    asked = asked_of("_actor_manager", inspect.getsource(TuneController))
    # These only where models are exported, and by who shows resources.
    asked -= {"_actor_task_events", "get_live_actors_resources"}
    assert asked <= set(dir(virtual.VirtualActors)), "VirtualActors lacks what Ray now asks"
    source = inspect.getsource(tune_controller)
    told = {f"set_on_{when}" for when in ("start", "stop", "error")}
    assert asked_of_name("tracked_actor", source) - {"actor_id"} <= told
    assert "resolve" in asked_of_name("last_checkpoint", inspect.getsource(pbt))
    assert _FutureTrainingResult.resolve is not None


def asked_of_name(name: str, source: str) -> set[str]:
    """Return the attributes that are asked of a variable."""
    return {
        node.attr
        for node in ast.walk(ast.parse(textwrap.dedent(source)))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == name
    }


class Nobody(virtual.VirtualActors):
    """No processes."""

    num_live_actors = num_pending_actors = num_actor_tasks = 0

    def handle(self, actor: Any) -> Any: ...
    def add_actor(self, cls: Any, kwargs: Any, resource_request: Any, **calls: Any) -> Any: ...
    def remove_actor(self, tracked_actor: Any, kill: bool = False, stop_future: Any = None) -> bool:
        return False

    def is_actor_started(self, tracked_actor: Any) -> bool:
        return False

    def is_actor_failed(self, tracked_actor: Any) -> bool:
        return False

    def schedule_actor_task(self, *what: Any, **more: Any) -> Any: ...
    def clear_actor_task_futures(self, tracked_actor: Any) -> None: ...
    def next(self, timeout: float | None = None) -> bool:
        return False

    def cleanup(self) -> None: ...


@pytest.fixture
def experiment(tmp_path: Path) -> virtual.VirtualExperiment:
    tune.register_trainable("nothing", tune.Trainable)
    return virtual.VirtualExperiment("study", "nothing", storage_path=str(tmp_path))


@pytest.fixture
def controller(experiment: virtual.VirtualExperiment) -> virtual.VirtualController:
    return virtual.VirtualController(
        Nobody(),
        BasicVariantGenerator(),
        trial_made=lambda trial: None,
        save_due=lambda: True,
        slots=4,
        scheduler=FIFOScheduler(),
        storage=experiment.storage,
    )


def test_fact_33_all_sets_of_trials_are_gone_through_in_order(
    controller: virtual.VirtualController,
) -> None:
    unordered = {name for name, each in vars(controller).items() if type(each) is set}
    # Actors, which are never gone through.
    assert unordered == {"_started_actors"}, f"Ray keeps trials elsewhere, too: {unordered}"
    assert isinstance(controller._resources_to_pending_trials, defaultdict)
    assert controller._trials == controller._pending_trials_list == []


def test_fact_34_trials_are_named_by_one_function(controller: virtual.VirtualController) -> None:
    with virtual.named_by(lambda: "given"):
        assert Trial("nothing", stub=True).trial_id == "given"
    assert Trial("nothing", stub=True).trial_id != "given"
    search = BasicVariantGenerator()
    virtual.begin_names(search, "abc")
    search.add_configurations([tune.Experiment("study", "nothing", num_samples=1)])
    assert search.next_trial().trial_id == "abc_00000"
    assert controller._max_pending_trials == 200


def test_fact_35_a_controller_saves_itself_where_it_is_restored_from(
    controller: virtual.VirtualController, experiment: virtual.VirtualExperiment
) -> None:
    assert controller._checkpoint_manager._should_force_sync_up is False
    folder = Path(experiment.storage.experiment_fs_path)
    folder.mkdir(exist_ok=True)
    assert not list(folder.glob("experiment_state-*.json"))
    controller.checkpoint()
    assert len(list(folder.glob("experiment_state-*.json"))) == 1
    assert Path(experiment.storage.experiment_driver_staging_path) == folder
    names = inspect.signature(TuneController.resume).parameters
    assert list(names) == ["self", "resume_config"]
    assert driver.VirtualExperiment is virtual.VirtualExperiment
