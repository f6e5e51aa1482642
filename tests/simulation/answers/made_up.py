"""Studies made up by hand, without simulating any."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gap_tune.simulation.answers.answer import Answer
from gap_tune.simulation.answers.hindsight import Hindsight
from gap_tune.simulation.answers.outcome import Course, Outcome
from gap_tune.simulation.answers.stopping import Judged
from gap_tune.simulation.answers.studies import Studies

SEEDS = 2
MOMENTA = (0.5, 0.9, 0.99)


def hindsight(reference: float = 1.0, ceiling: float = 100.0) -> Hindsight:
    """Three momenta at one learning rate, of which the last is worse than the others."""
    test = np.array([[1.0, 1.01], [1.0, 1.0], [3.0, 3.01]]) * reference
    return Hindsight(
        np.array([[[2.0, 2.0]], [[1.0, 1.0]], [[3.0, 3.0]]]),
        test[:, None],
        np.full(SEEDS, ceiling),
    )


def outcome(losses: Sequence[float], seconds: float = 1.0) -> Outcome:
    """A study whose trials report once each, one after the other."""
    ends = seconds * np.arange(1.0, len(losses) + 1)
    courses = [
        Course(
            np.array([at]),
            np.array([loss]),
            np.array([loss]),
            failed=not np.isfinite(loss),
            momentum=MOMENTA[place % len(MOMENTA)],
        )
        for place, (at, loss) in enumerate(zip(ends, losses, strict=True))
    ]
    return Outcome.of(courses, seconds=float(ends[-1]))


def studies(
    by_method: Mapping[str, Sequence[Sequence[Outcome]]],
    names: Sequence[str] = (),
    judged: Mapping[str, Judged] | None = None,
    **changes: float,
) -> Studies:
    """Studies by method, then setting, then repeat; what is judged is the same everywhere."""
    count = len(next(iter(by_method.values())))
    settings = tuple(names) or tuple(f"setting {place}" for place in range(count))
    outcomes = {
        (setting, method): repeats
        for method, per_setting in by_method.items()
        for setting, repeats in zip(settings, per_setting, strict=True)
    }
    found = {
        (setting, method): [each] * len(outcomes[setting, method])
        for method, each in (judged or {}).items()
        for setting in settings
    }
    return Studies(
        settings,
        tuple(by_method),
        {setting: hindsight(**changes) for setting in settings},
        outcomes,
        found,
        dict.fromkeys(settings, MOMENTA),
        dict.fromkeys(settings, 1),
        SEEDS,
        max(len(each.after_trials) for own in outcomes.values() for each in own),
    )


def random_answer(names: Sequence[str], trials: int = 30, repeats: int = 8) -> Answer:
    """An answer with everything in it, of losses that are drawn at random."""
    spreads = {
        "gap+tpe+fifo": 0.3,
        "sweep+tpe+fifo": 0.6,
        "fixed:0.9+tpe+fifo": 0.4,
        "gap+tpe+asha": 0.35,
        "sweep+tpe+asha": 0.6,
        "sweep+random+fifo": 0.7,
        "sweep+random+pbt": 0.6,
    }
    random = np.random.default_rng(0)

    def losses(spread: float) -> Any:
        return (1.0 + spread * random.exponential(size=trials)).tolist()

    made = {
        method: [[outcome(losses(spread), seconds=90.0) for _ in range(repeats)] for _ in names]
        for method, spread in spreads.items()
    }
    judged = {
        "gap+tpe+asha": Judged(0.7, 0.1, 0.2, 0.01, 0.6, 0.7),
        "sweep+tpe+asha": Judged(0.7, 0.0, 0.1, 0.02, 0.65, 0.8),
    }
    return Answer(studies(made, names, judged, ceiling=4.0))
