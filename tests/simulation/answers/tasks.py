"""Tasks with known answers: what a configuration ends with is a formula."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Self

import numpy as np

from gap_tune.rules import Decision
from gap_tune.simulation.answers.setting import Setting
from gap_tune.simulation.task import Report
from gap_tune.testing import make_statistics
from gap_tune.tune import keys

CANDIDATES = (0.5, 0.9, 0.99)
REPORTS = 10
STEPS = 20


@cache
def statistics_for(best: float) -> str:
    """Return statistics by which the default rule chooses a momentum."""
    alignment = tuple(9.0 if each == best else 0.1 for each in CANDIDATES)
    return json.dumps(make_statistics(CANDIDATES, alignment=alignment).to_dict())


@dataclass(frozen=True)
class Valley:
    """A loss that is lowest at a learning rate, and where momentum is right while it trains.

    Each report away from the right momentum adds ``price`` to the last loss.

    Args:
        name: Its name.
        price: What a report with the wrong momentum adds; 0 makes momentum of no account.
        rights: The right momentum, report by report, in turn.
        seconds: Between two reports.
        noise: Standard deviation of what a seed and learning rate add to the loss.
    """

    name: str = "valley"
    price: float = 0.0
    rights: tuple[float, ...] = (0.9,)
    seconds: float = 1.0
    noise: float = 0.0
    reports: int = REPORTS
    metric: str = "validation_loss"
    mode: str = "min"

    def begin(self, config: Mapping[str, Any]) -> Descent:
        return Descent(self, dict(config), float(config["momentum"]))

    def setting(self, **changes: Any) -> Setting:
        return Setting(
            self,
            **{"lrs": (0.01, 1.0), "momenta": CANDIDATES, "seeds": (0, 1), "rates": 5, **changes},
        )


@dataclass
class Descent:
    valley: Valley
    config: dict[str, Any]
    momentum: float
    done_reports: int = 0
    paid: float = 0.0
    seq: int = 0
    since: int = 0
    # Where it notes momentum and learning rate when these change.
    changed_to: list[tuple[float, float]] = field(default_factory=list)

    @property
    def done(self) -> bool:
        return self.done_reports >= self.valley.reports

    def advance(self) -> Report:
        valley, place = self.valley, self.done_reports
        right = valley.rights[place * len(valley.rights) // valley.reports]
        self.paid += valley.price * (self.momentum != right)
        self.done_reports += 1
        self.since += STEPS
        off = math.log10(self.config["lr"] / 0.1)
        luck = np.random.default_rng([self.config["seed"], int(1e6 * (off + 9))]).normal()
        left = 1.0 - self.done_reports / valley.reports
        loss = 1.0 + off**2 + self.paid + valley.noise * luck + left
        metrics = {
            valley.metric: loss,
            "test_loss": 2.0 * loss,
            keys.MOMENTUM: self.momentum,
            keys.MODE: keys.section(self.config).get("mode", keys.MODE_FIXED),
            keys.SEQ: self.seq,
            keys.STEPS: self.done_reports * STEPS,
            keys.STEPS_SINCE_CHANGE: self.since,
            keys.STATISTICS: statistics_for(right),
        }
        return Report(metrics, valley.seconds)

    def follow(self, decision: Decision) -> None:
        self.momentum, self.since, self.seq = decision.momentum, 0, self.seq + 1

    def change(self, config: Mapping[str, Any]) -> None:
        self.config, self.momentum = dict(config), float(config["momentum"])
        self.changed_to.append((self.momentum, self.config["lr"]))

    def copy(self) -> Self:
        return type(self)(**{**vars(self), "config": dict(self.config)})
