"""Ten thousand trials simulated to their end: python -m tests.benchmarks.simulated_study."""

from __future__ import annotations

import argparse
import logging
import resource
import time

from ray import tune
from ray.tune.schedulers import ASHAScheduler, TrialScheduler
from ray.tune.search import ConcurrencyLimiter

from gap_tune.simulation import Cluster, QuadraticTask, simulate
from gap_tune.tune import GapScheduler, GapSearch

BAR_S = 300.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--nodes", type=int, default=100)
    parser.add_argument("--reports", type=int, default=20, help="of each trial")
    parser.add_argument("--schedulers", default="FIFO,ASHA", help="inside GapScheduler, by commas")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    inner: dict[str, TrialScheduler | None] = {
        "FIFO": None,
        "ASHA": ASHAScheduler(grace_period=2, max_t=100),
    }
    cluster = Cluster(nodes=arguments.nodes, trials_per_node=4, start_seconds=5.0, start_jitter=0.5)
    for name in arguments.schedulers.split(","):
        search = GapSearch({"name": "random", "seed": 0})
        began = time.perf_counter()
        done = simulate(
            QuadraticTask(reports=arguments.reports),
            search=ConcurrencyLimiter(search, max_concurrent=cluster.slots),
            scheduler=GapScheduler(inner[name]),
            trials=arguments.trials,
            cluster=cluster,
            space={"lr": tune.loguniform(0.01, 1.0)},
            keep=(),
        )
        took = time.perf_counter() - began
        # Linux says it in KiB.
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"{len(done.trials):,} trials, {done.counts['result']:,} results, {name}: {took:.0f} s "
            f"for {done.seconds / 3600:.1f} h on {arguments.nodes} nodes, bar {BAR_S:.0f} s"
            f"{'' if took <= BAR_S else '  missed'}; at most {peak:,.0f} MiB",
            flush=True,
        )


if __name__ == "__main__":
    main()
