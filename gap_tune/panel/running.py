"""One run of the panel: a workload trained in this process, decided on as in a Ray Tune trial."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import torch

from gap_tune.control import group_momentum, has_momentum
from gap_tune.errors import NonFiniteMetricError
from gap_tune.gradients import GradientMonitor
from gap_tune.panel import arms
from gap_tune.panel.settings import Setting
from gap_tune.records.panels import RunKey
from gap_tune.rules import get_rule
from gap_tune.training.loop import fit
from gap_tune.training.prepared import prepare
from gap_tune.tune import GapScheduler, TrialSession, attach, keys
from gap_tune.tune.ray_private.delivery import Directive

_DIGITS = 4


@dataclass(frozen=True)
class Job:
    """One run to do.

    Attributes:
        setting: The task.
        arm: Name of the arm.
        lr: Learning rate.
        rate: Its place among the arm's learning rates, from 0.
        seed: The paired seed.
    """

    setting: Setting
    arm: str
    lr: float
    rate: int
    seed: int

    @property
    def key(self) -> RunKey:
        """What tells it apart from the panel's other runs, as of ``records.panels.key_of``."""
        return self.setting.name, self.arm, self.lr, self.seed

    def configuration(self) -> dict[str, Any]:
        """Return the configuration as a Ray Tune trial would get it."""
        return {
            **_common(self.setting, self.seed),
            **self.setting.recipe(self.arm),
            "lr": self.lr,
            **arms.configuration(self.arm, self.setting.family),
        }


@dataclass
class PanelTrial:
    """The run's side of its reports: decides where a scheduler would, and measures.

    Attributes:
        optimizer: The run's optimizer.
        batch_size: Samples of a step.
        session: What ``attach`` made of the optimizer; None leaves it unobserved.
        scheduler: Decides at every report; None where nobody or the session itself does.
        last: The metrics of the last report.
        momenta: The momentum in use at each report; None where the optimizer has none.
        steps: Optimizer steps so far.
        seconds: Time spent on training and reporting, evaluation left out.
        undecided: Reports that the rule could not decide on.
    """

    optimizer: torch.optim.Optimizer
    batch_size: int
    session: TrialSession | None = None
    scheduler: GapScheduler | None = None
    last: Mapping[str, Any] = field(default_factory=dict)
    momenta: list[float | None] = field(default_factory=list)
    steps: int = 0
    seconds: float = 0.0
    undecided: int = 0

    def __post_init__(self) -> None:
        self._reported = 0
        self.optimizer.register_step_post_hook(self._count)

    @property
    def monitor(self) -> GradientMonitor | None:
        """The monitor on the optimizer, if there is one."""
        return None if self.session is None else self.session.monitor

    def restore(self, **objects: Any) -> bool:
        """Return False: runs are short, and one that was killed starts again."""
        return False

    def report(self, metrics: Mapping[str, Any], *, checkpoint: bool = False) -> None:
        """Keep the metrics and decide.

        Raises:
            NonFiniteMetricError: When the validation loss is NaN or infinite.
        """
        since = time.perf_counter()
        if not math.isfinite(metrics[arms.METRIC]):
            raise NonFiniteMetricError(
                f"{arms.METRIC} must be finite, but got {metrics[arms.METRIC]} "
                f"after {self.steps} steps."
            )
        result = {} if self.session is None else self.session.result(metrics)
        self.momenta.append(self._momentum(result))
        self._decide(result)
        self.last = metrics
        trained = (self.steps - self._reported) * self.batch_size / metrics["samples_per_s"]
        self._reported = self.steps
        self.seconds += trained + time.perf_counter() - since

    def _decide(self, result: dict[str, Any]) -> None:
        if self.session is None or self.scheduler is None:
            return
        try:
            decision = self.scheduler.decide(result)
        except Exception:
            # As in a study, where the scheduler notes it and the trial goes on as it was.
            self.undecided += 1
            return
        if decision.changed:
            self.session.receive(Directive(result[keys.SEQ] + 1, decision))

    def _momentum(self, result: Mapping[str, Any]) -> float | None:
        if keys.MOMENTUM in result:
            return float(round(result[keys.MOMENTUM], _DIGITS))
        if has_momentum(self.optimizer):
            return round(group_momentum(self.optimizer.param_groups[0]), _DIGITS)
        # A switch's one choice for all parameters; others have no one momentum.
        chosen = getattr(self.optimizer, "momentum", None)
        return float(chosen) if isinstance(chosen, float) else None

    def _count(self, optimizer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.steps += 1


def start(optimizer: torch.optim.Optimizer, config: Mapping[str, Any]) -> PanelTrial:
    """Return the trial of a configuration; baselines are not observed, so that they cost nothing.

    Args:
        optimizer: The run's optimizer.
        config: As of ``Job.configuration``.
    """
    own = keys.section(config)
    mode, rule = own.get("mode"), own.get(keys.RULE)
    if mode == keys.MODE_FIXED:
        return PanelTrial(optimizer, config["batch_size"])
    session = attach(optimizer, config)
    scheduler = None
    if mode == keys.MODE_SCHEDULER:
        scheduler = GapScheduler(rule=None if rule is None else get_rule(rule))
    return PanelTrial(optimizer, config["batch_size"], session, scheduler)


def train(config: Mapping[str, Any]) -> tuple[PanelTrial, str, str]:
    """Train a configuration; return its trial, status and error.

    The status is "finished", "diverged" (the validation loss became NaN or infinite) or "failed"
    (anything else went wrong; the error says what).
    """
    trials: list[PanelTrial] = []

    def begin(optimizer: torch.optim.Optimizer, config: Mapping[str, Any]) -> PanelTrial:
        trials.append(start(optimizer, config))
        return trials[-1]

    try:
        fit(config, begin)
    except NonFiniteMetricError as error:
        return trials[0], "diverged", str(error)
    except Exception as error:
        if not trials:
            raise
        return trials[0], "failed", repr(error)[:300]
    return trials[0], "finished", ""


def run(job: Job) -> dict[str, Any]:
    """Do a run and return its line of the journal: plain JSON values."""
    trial, status, error = train(job.configuration())
    validation, test = initial_losses(job.setting, job.seed)
    return {
        "setting": job.setting.name,
        "arm": job.arm,
        "rate": job.rate,
        "seed": job.seed,
        "lr": job.lr,
        "status": status,
        "error": error,
        "validation_loss": trial.last.get("validation_loss") if status == "finished" else None,
        "test_loss": trial.last.get("test_loss") if status == "finished" else None,
        "initial_validation_loss": validation,
        "initial_test_loss": test,
        "steps": trial.steps,
        "seconds": round(trial.seconds, _DIGITS),
        "undecided": trial.undecided,
        "momenta": trial.momenta,
    }


def initial_losses(setting: Setting, seed: int) -> tuple[float, float]:
    """Return the validation and the test loss of the model that a seed starts with."""
    return _initial_losses(json.dumps(_common(setting, seed)))


@lru_cache(maxsize=256)
def _initial_losses(config: str) -> tuple[float, float]:
    untrained = prepare(json.loads(config))
    metrics = {**untrained.evaluate("validation"), **untrained.evaluate("test")}
    return metrics["validation_loss"], metrics["test_loss"]


def _common(setting: Setting, seed: int) -> dict[str, Any]:
    """Return what all arms' configurations have in common."""
    return {
        "workload": setting.workload,
        "workload_options": dict(setting.options),
        "family": setting.family,
        "batch_size": setting.batch_size,
        "epochs": setting.epochs,
        "reports_per_epoch": setting.reports_per_epoch,
        "seed": seed,
        "device": "cpu",
    }
