"""make bench: measure, print a table, write bench_results/step_time.json. Needs torch and Ray."""

from __future__ import annotations

import argparse
import json
import platform
from pathlib import Path

import torch

from tests.benchmarks.memory import extra_memory
from tests.benchmarks.shapes import MODELS
from tests.benchmarks.step_time import Row, as_dicts, measure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=6.0, help="per row")
    parser.add_argument("--out", type=Path, default=Path("bench_results"))
    parser.add_argument("--threads", type=int, help="of torch; by default as many as it takes")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=tuple(MODELS))
    parser.add_argument("--only", default="", help="cases whose name holds this")
    arguments = parser.parse_args()

    if arguments.threads is not None:
        torch.set_num_threads(arguments.threads)
    chosen = {"models": arguments.models, "only": arguments.only}
    threads = torch.get_num_threads()
    print(f"torch {torch.__version__}, {threads} threads, {platform.processor() or 'CPU'}")
    rows = measure(torch.device("cpu"), arguments.seconds, **chosen)
    if torch.cuda.is_available():
        print(torch.cuda.get_device_name())
        rows += measure(torch.device("cuda"), arguments.seconds, **chosen)
    show(rows)
    if not torch.cuda.is_available():
        print("GPU: not measured, none here")
    memory = extra_memory()
    print("\nextra memory of the monitor, MiB (bar 2.0):")
    for name, mebibytes in memory.items():
        print(f"  {name:<40}{mebibytes:6.2f}")
    arguments.out.mkdir(parents=True, exist_ok=True)
    report = {"torch": torch.__version__, "threads": threads, "rows": as_dicts(rows)}
    path = arguments.out / "step_time.json"
    path.write_text(json.dumps({**report, "memory_mib": memory}, indent=2) + "\n")
    print(f"\n{path}")


def show(rows: list[Row]) -> None:
    print(
        f"{'step time over torch':<36}{'model':<13}{'torch is':<10}{'device':<7}"
        f"{'torch ms':>9}{'ours ms':>9}{'ratio':>7}{'mean':>7}{'bar':>6}{'bound':>7}"
    )
    for row in rows:
        bound = f"{row.bound:7.2f}" if row.bound else f"{'-':>7}"
        verdict = "" if row.ratio <= row.bar else "  over"
        print(
            f"{row.what:<36}{row.model:<13}{row.implementation:<10}{row.device:<7}"
            f"{row.torch_ms:9.2f}{row.ours_ms:9.2f}{row.ratio:7.3f}{row.mean_ratio:7.3f}{row.bar:6.2f}{bound}{verdict}"
        )


if __name__ == "__main__":
    main()
