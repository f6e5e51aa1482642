"""Functions that get the error messages of the troubleshooting page from the code."""

from __future__ import annotations

import importlib
import logging
import sys
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from ray import tune
from ray.tune.schedulers import PopulationBasedTraining

import gap_tune
import gap_tune.optim
from gap_tune.errors import GapTuneError
from gap_tune.study import Resources, Study
from gap_tune.tune import keys
from gap_tune.tune.finite import non_finite_message
from gap_tune.tune.trial import checkpointing
from gap_tune.tune.trial.channels import FunctionChannel
from gap_tune.tune.trial.wanted import prepared
from gap_tune.tune.trial.workers import WorkerChannel

Provoke = Callable[[Path], str]
PROVOKED: list[Provoke] = []


def raised(function: Callable[[Path], Any]) -> Provoke:
    """Note a function that must raise; its message is the error's."""

    def provoke(folder: Path) -> str:
        with pytest.raises(GapTuneError) as error:
            function(folder)
        return str(error.value)

    provoke.__name__ = function.__name__
    PROVOKED.append(provoke)
    return provoke


def said(function: Callable[[Path], Any]) -> Provoke:
    """Note a function that warns, logs or returns its message."""

    def provoke(folder: Path) -> str:
        lines: list[str] = []
        handler = logging.Handler()
        handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
        logging.getLogger("gap_tune").addHandler(handler)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            returned = function(folder)
        logging.getLogger("gap_tune").removeHandler(handler)
        own = [str(warning.message) for warning in caught]
        return "\n".join([*lines, *own, returned or ""])

    provoke.__name__ = function.__name__
    PROVOKED.append(provoke)
    return provoke


def sgd(kind: Any = torch.optim.SGD, **options: Any) -> Any:
    return kind([torch.nn.Parameter(torch.ones(3))], lr=0.1, **options)


ASKS = {"gap": {"mode": "scheduler"}}


@said
def no_gap_scheduler(folder: Path) -> None:
    gap_tune.attach(sgd(momentum=0.9), gap_tune.GapSearch().suggest("a"))


@said
def a_configuration_that_holds_a_start(folder: Path) -> str:
    search = gap_tune.GapSearch()
    search.set_search_properties("loss", "min", {"lr": 0.1})
    return str(search.suggest("a trial")["gap"]["momentum_is"])


@raised
def momentum_in_the_space(folder: Path) -> None:
    gap_tune.GapSearch().set_search_properties("loss", "min", {"momentum": 0.9})


@raised
def a_grid(folder: Path) -> None:
    space = {"lr": tune.grid_search([0.1, 1.0])}
    gap_tune.GapSearch().set_search_properties("loss", "min", space)


@raised
def population_based_training(folder: Path) -> None:
    mutations = {"lr": tune.uniform(0.1, 1.0)}
    gap_tune.GapScheduler(PopulationBasedTraining(hyperparam_mutations=mutations))


@said
def a_scheduler_without_search(folder: Path) -> None:
    trial = SimpleNamespace(trial_id="1", config={"momentum": 0.9})
    result = {keys.STATISTICS: "{}", "loss": 1.0, "training_iteration": 1}
    gap_tune.GapScheduler().on_trial_result(None, trial, result)


@raised
def two_masters(folder: Path) -> None:
    gap_tune.attach(sgd(gap_tune.optim.SGD, momentum=0.9), ASKS)


@raised
def no_momentum(folder: Path) -> None:
    gap_tune.attach(sgd(torch.optim.RMSprop), ASKS)


class MyAdam(torch.optim.Optimizer):
    """One that nobody knows."""

    def __init__(self, params: Any, lr: float) -> None:
        super().__init__(params, {"lr": lr, "betas": (0.9, 0.999), "eps": 1e-8})


@raised
def an_optimizer_of_ones_own(folder: Path) -> None:
    gap_tune.attach(sgd(MyAdam), ASKS)


@said
def an_optimizer_without_the_configuration(folder: Path) -> None:
    gap_tune.attach(sgd(), {**ASKS, "momentum": 0.9})


@said
def a_metric_that_is_not_finite(folder: Path) -> str:
    return non_finite_message("loss", float("nan"))


@said
def a_schedule_that_cycles_momentum(folder: Path) -> None:
    optimizer = sgd(momentum=0.9)
    gap_tune.attach(optimizer, {"gap": {"mode": "trial"}})
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=30)
    for _ in range(20):
        optimizer.zero_grad()
        optimizer.param_groups[0]["params"][0].square().sum().backward()
        optimizer.step()
        schedule.step()


@said
def statistics_of_other_candidates(folder: Path) -> None:
    saved = gap_tune.GradientMonitor(sgd(), candidates=(0.5, 0.9)).state_dict()
    gap_tune.GradientMonitor(sgd()).load_state_dict(saved)


@said
def outside_of_tune(folder: Path) -> None:
    gap_tune.attach(sgd(momentum=0.9), ASKS).report({"loss": 1.0})


@raised
def a_name_that_is_taken(folder: Path) -> None:
    gap_tune.attach(sgd(momentum=0.9), ASKS).report({"gap/loss": 1.0})


@raised
def a_state_with_code(folder: Path) -> None:
    checkpointing.write(folder, {"objects": {"tokenizer": SimpleNamespace()}})


@raised
def a_plain_value_to_restore(folder: Path) -> None:
    gap_tune.attach(sgd(momentum=0.9), ASKS).restore(epoch=3)


@said
def weights_that_are_not_finite(folder: Path) -> None:
    optimizer = sgd(momentum=0.9)
    optimizer.param_groups[0]["params"][0].data.fill_(float("inf"))
    gap_tune.attach(optimizer, ASKS).is_spoiled()


@said
def a_disk_that_is_full(folder: Path) -> None:
    def full(folder: Path, *, whole: bool) -> None:
        raise OSError(28, "No space left on device")

    assert prepared(folder, full, ExitStack()) is None


@raised
def a_session_of_another_trial(folder: Path) -> None:
    FunctionChannel("another").checkpoint()


@said
def workers_without_a_scheduler(folder: Path) -> None:
    # The constructor needs a worker of Ray Train.
    channel = WorkerChannel.__new__(WorkerChannel)
    channel._patience_s, channel._unanswered, channel._warned = 0.01, "", False
    channel._wait("nobody-0", 1)


@raised
def a_folder_with_a_study(folder: Path) -> None:
    study = Study("quadratic", ["gap"], storage=folder)
    study.folder.mkdir()
    study.run()


@raised
def no_gpu(folder: Path) -> None:
    Study("quadratic", ["gap"], storage=folder, resources=Resources(gpus_per_trial=1.0)).run()


@raised
def no_lightning(folder: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("lightning", "lightning.pytorch", "pytorch_lightning"):
            patch.setitem(sys.modules, name, None)
        patch.delitem(sys.modules, "gap_tune.tune.integrations.lightning", raising=False)
        importlib.import_module("gap_tune.tune.integrations.lightning")
