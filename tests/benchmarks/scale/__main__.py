"""Scale of the Ray Tune side: python -m tests.benchmarks.scale, part of make bench."""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

Row = tuple[str, float, float | None, str]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", default="reports,8,32,64,tiny,memory", help="which, by commas")
    parser.add_argument("--seconds", type=float, default=30.0, help="per number of trials")
    parser.add_argument("--out", type=Path, default=Path("bench_results"))
    arguments = parser.parse_args()
    rows: list[Row] = []
    for name in arguments.rows.split(","):
        measured = MEASURES[name](arguments.seconds)
        rows += measured
        for row in measured:
            show(row)
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / "scale.json"
    keys = ("what", "measured", "bar", "note")
    path.write_text(json.dumps([dict(zip(keys, row, strict=True)) for row in rows], indent=2))
    print(f"\n{path}")


def reports(seconds: float) -> list[Row]:
    found = measure({"kind": "reporting", "trials": 1, "seconds": seconds, "light": False})
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


def concurrent(trials: int, *, light: bool = False) -> Callable[[float], list[Row]]:
    def rows(seconds: float) -> list[Row]:
        task = {"kind": "reporting", "trials": trials, "seconds": seconds, "light": light}
        found = measure(task)
        note = (
            f"{found['changes']} changes by {found['decisions']} decisions, {found['turns']} turns"
        )
        return [
            (
                f"results per second over {what}, {trials} trials",
                found["ours"] / found[way],
                bar,
                f"{found['ours']:.0f} over {found[way]:.0f}, medians; {note}",
            )
            for way, what, bar in (
                ("fifo", "plain FIFO", 0.90),
                ("bare", "bare reports", None),
            )
        ]

    return rows


def tiny(seconds: float) -> list[Row]:
    # In turns, so that a machine that slows down slows all.
    task = {"kind": "many", "trials": 1000, "reports": 3}
    found: dict[str, list[float]] = {"drawn": [], "ours": [], "given": []}
    for side in (*found, *reversed(found), *found):
        found[side].append(measure({**task, "side": side})["seconds"])
    medians = {side: statistics.median(each) for side, each in found.items()}
    return [
        (
            f"1,000 tiny trials over BasicVariant, {what}",
            medians["ours"] / medians[side],
            bar,
            f"{medians['ours']:.1f} s over {medians[side]:.1f} s, medians of {len(found[side])}",
        )
        for side, what, bar in (
            ("drawn", "momentum drawn", 1.05),
            ("given", "nothing searched", None),
        )
    ]


def memory(seconds: float) -> list[Row]:
    task = {"kind": "many", "trials": 100, "reports": 100}
    found = {
        side: statistics.median(measure({**task, "side": side})["rss_mib"] for _ in range(2))
        for side in ("drawn", "ours")
    }
    note = f"{found['ours']:.0f} over {found['drawn']:.0f} MiB"
    return [("driver memory, 10,000 results", found["ours"] / found["drawn"], 1.05, note)]


MEASURES: dict[str, Callable[[float], list[Row]]] = {
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
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
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
    print(f"{what:<50}{measured:8.3f}  {verdict}  ({note})", flush=True)


if __name__ == "__main__":
    main()
