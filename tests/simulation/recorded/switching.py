"""How well losses of trainings that change on the way are predicted from those that do not.

The runs to predict are real ones: those whose learning rate or momentum was changed once, on
purpose (``data/changed.jsonl``), and those of "gap-unscaled", whose momentum the rule changed and
whose learning rate followed. Either is predicted from the runs of fixed momenta alone. For the
figures of a table, of the shipped one by default:

    python -m tests.simulation.recorded.switching [FOLDER]
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from gap_tune.simulation.recorded import RecordedRuns, RecordedTask
from gap_tune.simulation.recorded.files import Tables
from gap_tune.simulation.recorded.recordings import Recordings
from gap_tune.simulation.recorded.runs import SHIPPED
from gap_tune.theory.momentum import coupling_factor

CHANGED = Path(__file__).with_name("data") / "changed.jsonl"


def changed_runs(setting: str) -> list[dict[str, Any]]:
    """Return the runs of a setting that were changed once."""
    lines = map(json.loads, CHANGED.read_text().splitlines())
    return [line for line in lines if line["setting"] == setting]


def configuration(hyperparameters: dict[str, float], seed: int) -> dict[str, Any]:
    return {**hyperparameters, "seed": seed, "gap": {"mode": "fixed"}}


def predicted(task: RecordedTask, courses: list[dict[str, float]], seed: int) -> list[float]:
    """Return the losses of a training that has other hyperparameters at every moment."""
    training = task.begin(configuration(courses[0], seed))
    losses = []
    for course in courses:
        training.change(configuration(course, seed))
        losses.append(training.advance().metrics["validation_loss"])
    return losses


def errors_of_changes(task: RecordedTask) -> dict[str, float]:
    """Return mean absolute errors of the last log loss of changed runs, by how it is predicted.

    "model" is the simulation; "before" and "after" are runs that were never changed, with the
    hyperparameters of before or after; "steps" adds up what log losses do in one moment.
    """
    found: dict[str, list[float]] = {"model": [], "before": [], "after": [], "steps": []}
    for run in changed_runs(task.name):
        before, after = (
            predicted(task, [run[name]] * task.reports, run["seed"]) for name in ("before", "after")
        )
        real, at = math.log(run["validation_loss"][-1]), run["at"]
        courses = [run["before"]] * at + [run["after"]] * (task.reports - at)
        ends = {
            "model": predicted(task, courses, run["seed"])[-1],
            "before": before[-1],
            "after": after[-1],
            "steps": before[at - 1] * after[-1] / after[at - 1],
        }
        if np.isfinite(list(ends.values())).all():
            for name, end in ends.items():
                found[name].append(abs(math.log(end) - real))
    return {name: float(np.mean(each)) for name, each in found.items()}


def unscaled(task: RecordedTask, recordings: Recordings) -> dict[str, float]:
    """Return how well runs of "gap-unscaled" are predicted.

    "error" is the mean absolute error of the last log loss, "spread" the standard deviation of what
    is to be predicted over learning rates, "rank" the rank correlation over them.
    """
    arm = list(recordings.arms).index("gap-unscaled")
    momenta, losses = (recordings.columns[name][arm] for name in ("momentum", "validation_loss"))
    errors, ranks, spreads = [], [], []
    for seed in range(task.seeds):
        pairs = []
        for rate, lr in enumerate(task.learning_rates):
            real = losses[rate, seed, -1]
            if not math.isfinite(real):
                continue
            courses = [
                {"momentum": m, "lr": lr * (coupling_factor(m, 0.9) if task.sums_gradients else 1)}
                for m in momenta[rate, seed].tolist()
            ]
            end = predicted(task, courses, seed)[-1]
            if math.isfinite(end):
                pairs.append((math.log(end), math.log(real)))
        mine, theirs = np.array(pairs).T
        errors.append(np.abs(mine - theirs).mean())
        spreads.append(theirs.std())
        ranks.append(spearmanr(mine, theirs).statistic)
    return {
        "error": float(np.mean(errors)),
        "spread": float(np.mean(spreads)),
        "rank": float(np.mean(ranks)),
    }


def main(folder: Path) -> None:
    tables = Tables(folder)
    for name, task in RecordedRuns.load(folder).items():
        print(name)
        print(
            "  gap-unscaled", {k: round(v, 3) for k, v in unscaled(task, tables.read(name)).items()}
        )
        # They were trained as the runs beside them were, for so many steps.
        if folder == CHANGED.parent:
            print("  changed once", {k: round(v, 3) for k, v in errors_of_changes(task).items()})


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute() if sys.argv[1:] else SHIPPED)
