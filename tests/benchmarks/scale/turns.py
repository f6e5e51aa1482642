"""Turns of wall-clock time in which trials and driver do the same thing in several ways."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray import tune

# All of gap_tune, its trials without its scheduler, and neither.
WAYS = ("ours", "fifo", "bare")


@dataclass(frozen=True)
class Turns:
    """Who is in turn when; the order of the ways changes from round to round.

    Attributes:
        phase_s: Length of a turn, in seconds; its first quarter, which still works off the
            reports of the turn before, does not count.
    """

    phase_s: float

    @classmethod
    def of(cls, trials: int) -> Turns:
        """Return turns in which each of so many concurrent trials reports a few times."""
        return cls(max(1.0, trials / 16))

    @property
    def counted_s(self) -> float:
        """The part of a turn that counts, in seconds."""
        return 0.75 * self.phase_s

    def phase(self, now: float) -> int:
        """Return the number of the turn at a time."""
        return int(now / self.phase_s)

    def counts(self, now: float) -> bool:
        """Tell whether what happens at a time counts."""
        return now % self.phase_s > self.phase_s - self.counted_s

    def way(self, phase: int) -> str:
        """Return which way is in turn in a phase."""
        turn, place = divmod(phase, len(WAYS))
        return WAYS[(turn + place) % len(WAYS)]

    def way_now(self) -> str:
        """Return which way is in turn."""
        return self.way(self.phase(time.time()))


def take_turns(
    config: dict[str, Any], train: Callable[[], None], report: Callable[[], None]
) -> dict[int, list[float]]:
    """Train and report in all ways in turns, at the same time as all other trials of the study.

    Args:
        config: The trial's configuration.
        train: What comes before each report, whatever the way; it is not timed.
        report: Reports in other ways than "bare".

    Returns:
        The seconds of each report, by phase.
    """
    folder = Path(config["folder"])
    (folder / f"{tune.get_context().get_trial_id()}.ready").touch()
    while len(list(folder.glob("*.ready"))) < config["trials"]:
        time.sleep(0.1)
    turns = Turns.of(config["trials"])
    spent: dict[int, list[float]] = {}
    end = time.time() + config["seconds"]
    while (now := time.time()) < end:
        train()
        before = time.perf_counter()
        if turns.way(turns.phase(now)) == "bare":
            tune.report({"loss": 1.0})
        else:
            report()
        if turns.counts(now):
            spent.setdefault(turns.phase(now), []).append(time.perf_counter() - before)
    return spent


def write(config: dict[str, Any], spent: dict[int, list[float]], changes: int) -> None:
    """Leave what a trial measured for the driver."""
    path = Path(config["folder"], f"{tune.get_context().get_trial_id()}.json")
    path.write_text(json.dumps({"spent": spent, "changes": changes}))


def light(config: dict[str, Any]) -> None:
    """Report nearly the same all the time: a trial without torch, a third of the memory."""
    result = json.loads(config["result"])
    statistics = json.loads(result["gap/statistics"])

    def train() -> None:
        statistics["steps"] += 1
        # No two reports are equal, or they would be read once.
        result.update({"gap/statistics": json.dumps(statistics), "gap/steps": statistics["steps"]})

    spent = take_turns(config, train, lambda: tune.report(result))
    write(config, spent, changes=0)
