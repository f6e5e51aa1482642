"""probe: gradient statistics of a few training steps, measured before a study starts."""

from __future__ import annotations

import logging
import os
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ray
import torch
from ray.exceptions import RayError, RayTaskError

from gap_tune.errors import GapTuneError, InvalidValueError, UnsupportedError, check_count
from gap_tune.files import write_whole
from gap_tune.gradients import AlignmentStatistics, GradientMonitor
from gap_tune.gradients.wrappers import unwrapped
from gap_tune.tune.starting import start_ray
from gap_tune.tune.statistics_json import ByBeta2, dump

logger = logging.getLogger(__name__)

Setup = Callable[[], tuple[torch.optim.Optimizer, Callable[[], Any]]]


def probe(
    setup: Setup,
    *,
    steps: int = 100,
    path: str | os.PathLike[str] | None = None,
    resources: Mapping[str, float] | None = None,
    **monitor_options: Any,
) -> AlignmentStatistics:
    """Train a few steps in one Ray task and return what the gradients said about momentum.

    Ray starts on this machine where it is not running, and stays for the study that follows::

        statistics = gap_tune.probe(setup, path="statistics.json")
        search = gap_tune.GapSearch(statistics="statistics.json")

    Args:
        setup: Called in the task without arguments; returns the optimizer (Accelerate's and
            others' wrappers of one too) and ``train_step``, a function that computes gradients and
            calls ``optimizer.step()`` once.
        steps: How often to call ``train_step``. The default 100 fills the filter of the highest
            default candidate, 0.99, which remembers about as many gradients.
        path: JSON file to write for ``GapSearch(statistics=...)``.
        resources: What the task needs, as in Ray Tune: ``{"cpu": 1, "gpu": 1}``; default one CPU.
        **monitor_options: Options of ``GradientMonitor``. ``decay`` is 1 here: a seed is one
            decision about the whole beginning of training, so all steps count alike; the monitor's
            short memory suits decisions that are made anew every few steps. With several beta2 in
            ``whitening`` the file holds the statistics of each, for ``GapSearch(beta2=...)``.

    Returns:
        The statistics; of several beta2 those of the optimizer's own, or of the largest.

    Raises:
        InvalidValueError: When an argument is out of range, ``path`` cannot be written, ``setup``
            or ``train_step`` raises, or no gradient could be observed.
        UnsupportedError: When ``setup`` returns something else or cannot be sent to the task.
        RayStartError: When Ray does not start.
    """
    check_count("steps", steps)
    if not callable(setup):
        raise UnsupportedError(f"setup must be a function, but got {type(setup).__name__}.")
    options = _task_options(resources)
    if path is not None and not os.access(Path(path).absolute().parent, os.W_OK):
        raise InvalidValueError(
            f"path must lie in a folder that can be written, but got {os.fspath(path)}."
        )
    running = ray.is_initialized()
    start_ray(join=False, log_to_driver=False, logging_level="error")
    _check_available(options, grows=running)
    own, by_beta2 = _run(setup, steps, options, monitor_options)
    if path is not None:
        write_whole(path, dump(by_beta2).encode())
    return by_beta2[own]


def _run(
    setup: Setup, steps: int, options: dict[str, Any], monitor_options: dict[str, Any]
) -> tuple[float | None, ByBeta2]:
    """Run the task; raise what it raised, without Ray's wrapping."""
    try:
        task = ray.remote(measure).options(**options)
        result: tuple[float | None, ByBeta2] = ray.get(task.remote(setup, steps, monitor_options))
        return result
    except RayTaskError as error:
        raise error.cause from None
    except RayError as error:
        raise GapTuneError(f"the probe's task must finish, but it got {error!r}.") from None
    except TypeError as error:
        raise UnsupportedError(
            f"setup must be a function that can be sent to another process, but got {error}"
        ) from None


def measure(
    setup: Setup, steps: int, monitor_options: dict[str, Any]
) -> tuple[float | None, ByBeta2]:
    """Train and observe; runs in the task."""
    optimizer, train_step = _made(setup)
    monitor = GradientMonitor(optimizer, **{"decay": 1.0, **monitor_options})
    for step in range(steps):
        try:
            train_step()
        except Exception as error:
            raise _failed(
                f"train_step must run {steps} times, but call {step + 1}", error
            ) from None
    statistics = monitor.statistics_by_beta2()
    _check_observed(statistics[-1])
    betas2: tuple[float | None, ...] = monitor.betas2 or (None,)
    return _own_beta2(optimizer, betas2), dict(zip(betas2, statistics, strict=True))


def _made(setup: Setup) -> tuple[torch.optim.Optimizer, Callable[[], Any]]:
    try:
        made: Any = setup()
    except GapTuneError:
        raise
    except Exception as error:
        raise _failed("setup must return an optimizer and train_step, but it", error) from None
    pair = made if isinstance(made, (tuple, list)) and len(made) == 2 else (None, None)
    optimizer, train_step = pair
    try:
        optimizer = unwrapped(optimizer)
    except UnsupportedError:
        optimizer = None
    if optimizer is None or not callable(train_step):
        parts = made if isinstance(made, (tuple, list)) else (made,)
        raise UnsupportedError(
            "setup must return a torch optimizer and a function train_step, "
            f"but got ({', '.join(type(part).__name__ for part in parts)})."
        )
    return optimizer, train_step


def _check_observed(statistics: AlignmentStatistics) -> None:
    if not statistics.steps:
        seen = statistics.skipped_steps
        got = f"{seen} steps with NaN or infinity" if seen else "no step that had gradients"
        raise InvalidValueError(
            f"train_step must call optimizer.step() with finite gradients, but got {got}."
        )
    if statistics.power <= 0.0:
        raise InvalidValueError(
            "train_step must compute gradients of the optimizer's parameters, but got none other "
            f"than zero in {statistics.steps} steps."
        )


def _own_beta2(optimizer: torch.optim.Optimizer, betas2: tuple[float | None, ...]) -> float | None:
    betas = optimizer.param_groups[0].get("betas")
    return betas[1] if betas is not None and betas[1] in betas2 else betas2[-1]


def _failed(what: str, error: Exception) -> InvalidValueError:
    failed = InvalidValueError(f"{what} raised {type(error).__name__}: {error}")
    # The traceback stays in the task; this is how it gets out.
    failed.add_note(traceback.format_exc())
    return failed


def _check_available(options: Mapping[str, Any], *, grows: bool) -> None:
    """Refuse what is not there, or warn where it may come yet: the task would wait for ever."""
    wanted = {
        "CPU": options["num_cpus"],
        "GPU": options["num_gpus"],
        **(options["resources"] or {}),
    }
    has = {name: ray.cluster_resources().get(name, 0) for name in wanted}
    if all(amount <= has[name] for name, amount in wanted.items()):
        return
    if not grows:
        raise InvalidValueError(
            f"resources must be at most what this machine has, {has}, but got {wanted}."
        )
    logger.warning("the probe waits until the cluster, which has %s, grows to %s", has, wanted)


def _task_options(resources: Mapping[str, float] | None) -> dict[str, Any]:
    """Return Ray's options of a task for resources named as in Ray Tune."""
    wanted = {"cpu": 1.0} if resources is None else resources
    if not isinstance(wanted, Mapping) or not all(
        isinstance(amount, (int, float)) and 0 <= amount < float("inf")
        for amount in wanted.values()
    ):
        raise InvalidValueError(
            'resources must be amounts by name, such as {"cpu": 1, "gpu": 1}, '
            f"but got {resources!r}."
        )
    rest = {name: amount for name, amount in wanted.items() if name not in ("cpu", "gpu")}
    return {
        "num_cpus": wanted.get("cpu", 0),
        "num_gpus": wanted.get("gpu", 0),
        "resources": rest or None,
    }
