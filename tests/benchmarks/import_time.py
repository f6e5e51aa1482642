"""Time that imports and a command's help take above a bare interpreter. Run as a module."""

from __future__ import annotations

import subprocess
import sys
import time
from statistics import median

# What is measured, and the seconds above a bare interpreter that it may take.
CODES: dict[str, tuple[str, float | None]] = {
    "import gap_tune": ("import gap_tune", 0.3),
    "gap-tune compare --help": (
        "import sys; sys.argv[1:] = ['compare', '--help']; from gap_tune.cli import main; main()",
        None,
    ),
    "import torch": ("import torch", None),
}
_BARE = "pass"
_RUNS = 9


def seconds_above_bare(codes: list[str], runs: int = _RUNS) -> list[float]:
    """Return the medians of what each code takes, all in turns with a bare interpreter."""
    times: dict[str, list[float]] = {code: [] for code in (_BARE, *codes)}
    for _ in range(runs):
        for code, found in times.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
            found.append(time.perf_counter() - start)
    return [median(times[code]) - median(times[_BARE]) for code in codes]


def main() -> None:
    measured = seconds_above_bare([code for code, _ in CODES.values()])
    for (name, (_, bar)), seconds in zip(CODES.items(), measured, strict=True):
        verdict = "" if bar is None else f"  bar {bar:.1f}" + "  over" * (seconds > bar)
        print(f"{name:<28}{seconds:7.3f} s{verdict}")


if __name__ == "__main__":
    main()
