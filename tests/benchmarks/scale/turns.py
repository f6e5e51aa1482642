"""Turns of wall-clock time in which trials and driver do the same thing in several ways."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray import tune

PHASE_S = 2.0
# The start of a phase still works off the reports of the one before.
SETTLE_S = 0.5
# All of gap_tune, its trials without its scheduler, and neither.
WAYS = ("ours", "fifo", "bare")


def way_now(now: float) -> str:
    """Return which way is in turn."""
    return WAYS[int(now / PHASE_S) % len(WAYS)]


def take_turns(config: dict[str, Any], report: Callable[[], None]) -> dict[str, list[float]]:
    """Report in all ways in turns, at the same time as all other trials of the study.

    Returns:
        The seconds of each report, by the way of reporting.
    """
    folder = Path(config["folder"])
    (folder / f"{tune.get_context().get_trial_id()}.ready").touch()
    while len(list(folder.glob("*.ready"))) < config["trials"]:
        time.sleep(0.1)
    spent: dict[str, list[float]] = {way: [] for way in WAYS}
    end = time.time() + config["seconds"]
    while (now := time.time()) < end:
        way = way_now(now)
        before = time.perf_counter()
        if way == "bare":
            tune.report({"loss": 1.0})
        else:
            report()
        if now % PHASE_S > SETTLE_S:
            spent[way].append(time.perf_counter() - before)
    return spent


def write(config: dict[str, Any], spent: dict[str, list[float]], changes: int) -> None:
    """Leave what a trial measured for the driver."""
    path = Path(config["folder"], f"{tune.get_context().get_trial_id()}.json")
    path.write_text(json.dumps({**spent, "changes": changes}))


def light(config: dict[str, Any]) -> None:
    """Report the same result all the time: a trial without torch, a third of the memory."""
    result = json.loads(config["result"])
    write(config, take_turns(config, lambda: tune.report(result)), changes=0)
