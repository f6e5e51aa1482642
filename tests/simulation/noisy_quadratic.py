"""NoisyQuadratic: a task small enough to really train, on Ray and on a virtual clock alike."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gap_tune.errors import StateError
from gap_tune.gradients.statistics import DEFAULT_CANDIDATES, AlignmentStatistics
from gap_tune.rules import Decision
from gap_tune.simulation.task import Report
from gap_tune.tune import keys

_SIZE = 12
_STEPS = 10
_DECAY = 0.8
_CURVATURE = np.geomspace(0.02, 1.0, _SIZE)


class NoisyQuadratic:
    """Heavy ball on a quadratic with noisy gradients, whose alignments are really measured.

    Args:
        reports: Reports of a full training.
        seconds: What a report takes on average, in seconds; by configuration and report it is
            between a half and three halves of it.
        fails: A folder for files which say that a trial has failed: those of learning rates above
            0.03 fail once, after their third report. None lets none fail.
    """

    name = "noisy quadratic"
    metric = "validation_loss"
    mode = "min"

    def __init__(self, *, reports: int = 8, seconds: float = 0.2, fails: Path | None = None):
        self.reports, self.seconds, self.fails = reports, seconds, fails

    def begin(self, config: Mapping[str, Any]) -> QuadraticTraining:
        return QuadraticTraining(self, config)


class QuadraticTraining:
    """A training so far: everything in NumPy, so that a deep copy is a checkpoint."""

    def __init__(self, task: NoisyQuadratic, config: Mapping[str, Any]) -> None:
        self.task = task
        self.made, self.steps, self.seq, self.since = 0, 0, 0, 0
        self.random = np.random.default_rng(int(config.get("seed", 0)))
        self.weights, self.buffer = np.ones(_SIZE), np.zeros(_SIZE)
        self.bank = np.zeros((len(DEFAULT_CANDIDATES), _SIZE))
        self.alignment = np.zeros(len(DEFAULT_CANDIDATES))
        self.power = self.weight = self.lag_one = 0.0
        self.before = np.zeros(_SIZE)
        self.momentum = 0.0
        self.change(config)

    @property
    def done(self) -> bool:
        return self.made >= self.task.reports

    def change(self, config: Mapping[str, Any]) -> None:
        self.config = copy.deepcopy(dict(config))
        self.momentum = float(config["momentum"])
        self.reference = float(keys.section(config).get("reference_momentum", self.momentum))

    def follow(self, decision: Decision) -> None:
        if decision.changed:
            self.momentum, self.since = decision.momentum, 0
        self.seq += decision.changed

    def copy(self) -> QuadraticTraining:
        return copy.deepcopy(self)

    def advance(self) -> Report:
        self._maybe_fail()
        for _ in range(_STEPS):
            self._step()
        self.made += 1
        # Uneven, so that trials which began together do not report together.
        share = math.modf(1e4 * float(self.config["lr"]) + 0.37 * self.made)[0]
        seconds = self.task.seconds * (0.5 + share)
        return Report({**self._result(), "seconds": seconds}, seconds)

    def _maybe_fail(self) -> None:
        rate = float(self.config["lr"])
        if self.task.fails is None or self.made != 3 or rate <= 0.03:
            return
        marker = self.task.fails / repr(rate)
        if not marker.exists():
            marker.touch()
            raise StateError("the trial has failed, and will not do so again")

    def _step(self) -> None:
        gradient = _CURVATURE * self.weights + 0.1 * self.random.standard_normal(_SIZE)
        self.alignment = _DECAY * self.alignment + self.bank @ gradient
        self.power = _DECAY * self.power + float(gradient @ gradient)
        self.lag_one = _DECAY * self.lag_one + float(gradient @ self.before)
        self.weight = _DECAY * self.weight + 1.0
        self.bank = np.array(DEFAULT_CANDIDATES)[:, None] * self.bank + gradient
        self.before = gradient
        self.buffer = self.momentum * self.buffer + gradient
        self.weights = self.weights - self._lr() * self.buffer
        self.steps, self.since = self.steps + 1, self.since + 1

    def _lr(self) -> float:
        here, there = 1 - self.momentum**2, 1 - self.reference**2
        return float(self.config["lr"]) * math.sqrt(here / there)

    def _result(self) -> dict[str, Any]:
        loss = 0.5 * float(_CURVATURE @ self.weights**2)
        result = {
            "validation_loss": loss,
            "test_loss": loss,
            keys.MOMENTUM: self.momentum,
            keys.LR: self._lr(),
            keys.SEQ: self.seq,
            keys.STEPS: self.steps,
            keys.STEPS_SINCE_CHANGE: self.since,
            keys.SCALE: 1.0,
            keys.STATISTICS: json.dumps(self._statistics().to_dict()),
        }
        mode = keys.section(self.config).get("mode")
        return result if mode is None else {**result, keys.MODE: mode}

    def _statistics(self) -> AlignmentStatistics:
        return AlignmentStatistics(
            candidates=DEFAULT_CANDIDATES,
            alignment=tuple(self.alignment.tolist()),
            validation_alignment=(0.0,) * len(DEFAULT_CANDIDATES),
            autocorrelation=(self.power, self.lag_one),
            whitening=None,
            weight=self.weight,
            validation_weight=0.0,
            steps=self.steps,
            skipped_steps=0,
            dimension=_SIZE,
            sampled=_SIZE,
        )
