"""measure: trains a configuration, in this process or in a trial of Ray Tune, and measures it."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import torch

from gap_tune.control import group_momentum, has_momentum
from gap_tune.errors import NonFiniteMetricError
from gap_tune.gradients import GradientMonitor
from gap_tune.training.loop import Trial, fit
from gap_tune.training.prepared import prepare
from gap_tune.tune import keys

# Runs are judged by it, and those where it becomes NaN or infinite have diverged.
METRIC = "validation_loss"
# In a baseline's reports, which hold no ``keys.MOMENTUM``.
MOMENTUM = "momentum"
DIGITS = 4
# What an untrained model and its losses depend on.
_OF_MODELS = ("workload", "workload_options", "batch_size", "seed", "device")

Attach = Callable[[torch.optim.Optimizer, Mapping[str, Any]], Trial]
Send = Callable[[dict[str, Any]], Any]


class Unobserved:
    """A baseline's trial: nobody looks at its gradients, so that it costs nothing.

    Args:
        optimizer: What trains.
        send: Takes reports.
    """

    monitor: GradientMonitor | None = None

    def __init__(self, optimizer: torch.optim.Optimizer, send: Send) -> None:
        self._optimizer = optimizer
        self._send = send

    def restore(self, **objects: Any) -> bool:
        """Return False: there are no checkpoints."""
        return False

    def report(self, metrics: Mapping[str, Any], *, checkpoint: bool = False) -> None:
        """Send the metrics with the momentum in use."""
        self._send({**metrics, MOMENTUM: self._momentum()})

    def _momentum(self) -> float | None:
        if has_momentum(self._optimizer):
            return round(group_momentum(self._optimizer.param_groups[0]), DIGITS)
        # A switch's one choice for all parameters; others have no one momentum.
        chosen = getattr(self._optimizer, "momentum", None)
        return float(chosen) if isinstance(chosen, float) else None


class MeasuredTrial:
    """Counts and times what another trial does, and leaves all else to it.

    Args:
        trial: The other trial.
        optimizer: What trains.
        batch_size: Samples of a step.

    Attributes:
        steps: Optimizer steps so far.
        seconds: Time spent on training and reporting, evaluation left out.
    """

    def __init__(self, trial: Trial, optimizer: torch.optim.Optimizer, batch_size: int) -> None:
        self.steps = 0
        self.seconds = 0.0
        self._reported = 0
        self._trial = trial
        self._batch_size = batch_size
        optimizer.register_step_post_hook(self._count)

    @property
    def monitor(self) -> GradientMonitor | None:
        """The other trial's monitor."""
        return self._trial.monitor

    def restore(self, **objects: Any) -> bool:
        """Pass it on."""
        return self._trial.restore(**objects)

    def report(self, metrics: Mapping[str, Any], *, checkpoint: bool = False) -> None:
        """Pass the metrics on; without checkpoints: runs are short, and start again after a kill.

        Raises:
            NonFiniteMetricError: When the validation loss is NaN or infinite.
        """
        since = time.perf_counter()
        if not math.isfinite(metrics[METRIC]):
            raise NonFiniteMetricError(
                f"{METRIC} must be finite, but got {metrics[METRIC]} after {self.steps} steps."
            )
        self._trial.report(metrics)
        trained = (self.steps - self._reported) * self._batch_size / metrics["samples_per_s"]
        self._reported = self.steps
        self.seconds += trained + time.perf_counter() - since

    def _count(self, optimizer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.steps += 1


def measure(config: Mapping[str, Any], attach: Attach, send: Send) -> dict[str, Any]:
    """Train a configuration and return how that ended.

    Args:
        config: As of ``Job.config``.
        attach: Makes the trial of an optimizer whose momentum is chosen; it sends its own reports.
        send: Takes the reports of baselines.

    Returns:
        ``status``: "finished", "diverged" (the validation loss became NaN or infinite) or "failed"
        (anything else went wrong), ``error``: what went wrong, ``steps, seconds``, and the losses
        of the untrained model, ``initial_validation_loss, initial_test_loss``.

    Raises:
        Exception: When the run cannot even start.
    """
    trials: list[MeasuredTrial] = []

    def start(optimizer: torch.optim.Optimizer, own: Mapping[str, Any]) -> MeasuredTrial:
        baseline = keys.section(own).get("mode") == keys.MODE_FIXED
        trial = Unobserved(optimizer, send) if baseline else attach(optimizer, own)
        trials.append(MeasuredTrial(trial, optimizer, own["batch_size"]))
        return trials[0]

    status, error = "finished", ""
    try:
        fit(config, start)
    except NonFiniteMetricError as exception:
        status, error = "diverged", str(exception)
    except Exception as exception:
        if not trials:
            raise
        status, error = "failed", repr(exception)[:300]
    return {
        "status": status,
        "error": error,
        **initial_losses(config),
        "steps": trials[0].steps,
        "seconds": round(trials[0].seconds, DIGITS),
    }


def initial_losses(config: Mapping[str, Any]) -> dict[str, float]:
    """Return the losses of the model that a configuration starts with: all arms' of a seed."""
    shared = {name: config[name] for name in _OF_MODELS if name in config}
    validation, test = _initial_losses(json.dumps(shared, sort_keys=True))
    return {"initial_validation_loss": validation, "initial_test_loss": test}


@lru_cache(maxsize=256)
def _initial_losses(config: str) -> tuple[float, float]:
    untrained = prepare(json.loads(config))
    metrics = {**untrained.evaluate("validation"), **untrained.evaluate("test")}
    return metrics["validation_loss"], metrics["test_loss"]
