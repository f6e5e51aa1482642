"""Scale of the Ray Tune side: python -m tests.benchmarks.scale, part of make bench."""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gap_tune.report.evidence.paired import PairedDifference
from tests.benchmarks.scale.turns import WAYS

Row = tuple[str, float, float | None, str]


@dataclass(frozen=True)
class Effort:
    """How long to measure: seconds per number of concurrent trials, rounds of whole studies."""

    seconds: float
    rounds: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", default="reports,8,32,64,tiny,memory", help="which, by commas")
    parser.add_argument("--seconds", type=float, default=120.0, help="per number of trials")
    parser.add_argument("--rounds", type=int, default=6, help="of each side of the tiny row")
    parser.add_argument("--out", type=Path, default=Path("bench_results"))
    arguments = parser.parse_args()
    effort = Effort(arguments.seconds, arguments.rounds)
    rows: list[Row] = []
    for name in arguments.rows.split(","):
        measured = MEASURES[name](effort)
        rows += measured
        for row in measured:
            show(row)
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / "scale.json"
    keys = ("what", "measured", "bar", "note")
    path.write_text(json.dumps([dict(zip(keys, row, strict=True)) for row in rows], indent=2))
    print(f"\n{path}")


def reports(effort: Effort) -> list[Row]:
    found = measure({"kind": "reporting", "trials": 1, "seconds": effort.seconds, "light": False})
    return [
        (
            "report to new momentum, 1 trial, + ms",
            found["ours_ms"] - found["bare_ms"],
            2.0,
            f"{found['ours_ms']:.2f} over {found['bare_ms']:.2f} ms, medians",
        ),
        (
            "scheduler CPU per result, ms",
            found["scheduler_cpu_ms"],
            0.5,
            f"{found['decisions']} decisions",
        ),
    ]


def concurrent(trials: int, *, light: bool = False) -> Callable[[Effort], list[Row]]:
    def rows(effort: Effort) -> list[Row]:
        task = {"kind": "reporting", "trials": trials, "seconds": effort.seconds, "light": light}
        found = measure(task)
        note = (
            f"{found['changes']} changes by {found['decisions']} decisions of "
            f"{found['scheduler_cpu_ms']:.2f} ms of CPU"
        )
        cpu = {way: found[f"{way}_cpu_ms"] for way in WAYS}
        return [
            *(
                ratio_row(f"results per second over {what}, {trials} trials", found, way, bar, note)
                for way, what, bar in (
                    ("fifo", "plain FIFO", 0.95),
                    ("bare", "bare reports", None),
                )
            ),
            # Whatever else the machine does disturbs this less.
            ratio_row(f"driver's CPU a result over plain FIFO, {trials} trials", cpu, "fifo", None),
        ]

    return rows


def tiny(effort: Effort) -> list[Row]:
    task = {"kind": "many", "trials": 1000, "reports": 3}
    sides = ["ours", "drawn", "given"]
    found: dict[str, list[float]] = {side: [] for side in sides}
    cpu: dict[str, list[float]] = {side: [] for side in sides}
    for i in range(effort.rounds):
        # In rotated turns, so that a machine that slows down slows all.
        turn = i % len(sides)
        for side in sides[turn:] + sides[:turn]:
            measured = measure({**task, "side": side})
            found[side].append(measured["seconds"])
            cpu[side].append(measured["cpu_seconds"])
    return [
        *(
            ratio_row(f"1,000 tiny trials over BasicVariant, {what}", found, side, bar)
            for side, what, bar in (
                ("drawn", "momentum drawn", 1.02),
                ("given", "nothing searched", None),
            )
        ),
        ratio_row("driver's CPU of 1,000 tiny trials, momentum drawn", cpu, "drawn", None),
    ]


def ratio_row(
    what: str, found: Mapping[str, Sequence[float]], other: str, bar: float | None, note: str = ""
) -> Row:
    """Return a row of a ratio of medians, and beside it the mean ratio of neighbours in time."""
    ours, others = found["ours"], found[other]
    mine, theirs = (pd.Series(np.log(each)) for each in (ours, others))
    difference = PairedDifference.between(mine, theirs, "min")
    a, b = statistics.median(ours), statistics.median(others)
    by_pairs = (
        f"{math.exp(difference.mean):.3f} +- {difference.standard_error:.3f} by {len(ours)} pairs"
    )
    return what, a / b, bar, "; ".join(filter(None, [f"{a:.3g} over {b:.3g}", by_pairs, note]))


def memory(effort: Effort) -> list[Row]:
    task = {"kind": "many", "trials": 100, "reports": 100}
    found = {
        side: statistics.median(measure({**task, "side": side})["rss_mib"] for _ in range(2))
        for side in ("drawn", "ours")
    }
    note = f"{found['ours']:.0f} over {found['drawn']:.0f} MiB"
    return [("driver memory, 10,000 results", found["ours"] / found["drawn"], 1.05, note)]


MEASURES: dict[str, Callable[[Effort], list[Row]]] = {
    "reports": reports,
    "8": concurrent(8),
    "32": concurrent(32),
    # With torch, 64 processes take 26 GB; what limits so many is the driver, which sees the same.
    "64": concurrent(64, light=True),
    "tiny": tiny,
    "memory": memory,
}


def measure(task: dict[str, Any]) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.benchmarks.scale.driver", json.dumps(task)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{task} could not be measured; why is said above.")
    # Ray's own warnings may come after it.
    answer = next(line for line in reversed(done.stdout.splitlines()) if line.startswith("{"))
    found: dict[str, Any] = json.loads(answer)
    return found


def show(row: Row) -> None:
    what, measured, bar, note = row
    verdict = "no bar  "
    if bar is not None:
        met = measured >= bar if "results per second" in what else measured <= bar
        verdict = f"bar {bar:.2f}" + ("" if met else "  missed")
    print(f"{what:<52}{measured:8.3f}  {verdict}\n    {note}", flush=True)


if __name__ == "__main__":
    main()
