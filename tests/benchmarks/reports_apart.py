"""Reports far apart: what a scheduler that decides seldom costs, with and without a trust region.

    python -m tests.benchmarks.reports_apart [seeds]

The scheduler sets momentum at reports; the trial sets its scale at every step. So in a trust
region it should matter little whether a trial reports every eight steps or once in an epoch of 269.
Each task is trained at five learning rates over 30x both ways; printed is the ratio of the test
loss, far over close, a geometric mean over learning rates and seeds.
"""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from itertools import product
from statistics import fmean

from gap_tune.panel.settings import Setting, read_settings
from gap_tune.study.grammar import parse_arm
from gap_tune.study.suite.pool import PoolRunner
from gap_tune.study.suite.suite import Job, Suite

ARMS = ("gap-unscaled", "gap", "gap-trial")
# Reports per epoch where they are close together; far apart, one.
CLOSE = 32
_SMALLEST = 1e-12


def tasks() -> list[Setting]:
    """Return the panel's networks on digits, with epochs of hundreds of steps."""
    found = []
    named = {each.name: each for each in read_settings().settings}
    rates = {"mlp, sgd, batch 16, 40 % noise": 0.0125, "mlp, adamw, batch 32, 20 % noise": 1e-3}
    for name, lr in rates.items():
        own = named[name]
        found.append(replace(own, name=f"{own.family}, batch 4", batch_size=4, epochs=4, lr=lr))
    return found


def jobs(setting: Setting, reports: int, seeds: int) -> list[Job]:
    named = replace(setting, reports_per_epoch=reports)
    suite = Suite(
        {f"{setting.name}, {reports}": named.conditions()},
        tuple(map(parse_arm, ARMS)),
        seeds,
        30.0,
        5,
    )
    return suite.jobs()


def main(seeds: int) -> None:
    """Train and print the table."""
    chosen = tasks()
    todo = [job for s in chosen for reports in (CLOSE, 1) for job in jobs(s, reports, seeds)]
    losses: dict[tuple[str, str], list[float]] = {}

    def keep(line: dict[str, object]) -> None:
        loss = line["test_loss"] if line["status"] == "finished" else line["initial_test_loss"]
        bounded = min(float(str(loss)), float(str(line["initial_test_loss"])))
        key = str(line["setting"]), str(line["arm"])
        losses.setdefault(key, []).append(math.log(max(bounded, _SMALLEST)))

    PoolRunner(2).run(todo, keep)
    print(f"{'task':<40}{'arm':<20}far / close")
    for setting, arm in product(chosen, ARMS):
        close, far = (fmean(losses[f"{setting.name}, {r}", arm]) for r in (CLOSE, 1))
        print(f"{setting.name:<40}{arm:<20}{math.exp(far - close):.3f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2)
