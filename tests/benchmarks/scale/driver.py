"""One measurement in a driver of its own: python -m tests.benchmarks.scale.driver '{...}'."""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")

import ray
from ray import tune
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from gap_tune import AlignmentRule, GapScheduler, GapSearch, attach
from tests.benchmarks.scale.trials import optimizer_of, step, tiny, training
from tests.benchmarks.scale.turns import WAYS, Turns, light


class TurnSearch(GapSearch):
    """Looks at results when gap_tune is in turn."""

    def __init__(self, turns: Turns) -> None:
        super().__init__()
        self._turns = turns

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        if self._turns.way_now() == "ours":
            super().on_trial_result(trial_id, result)


class TimedScheduler(GapScheduler):
    """Decides when it is in turn, else it is Ray's FIFO; adds up the CPU time of its decisions."""

    def __init__(self, turns: Turns) -> None:
        super().__init__()
        self._turns = turns
        self.cpu_s, self.results = 0.0, 0
        self.driver = DriverTime(turns)
        self._fifo, self._storage = FIFOScheduler(), None

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        # What gap_tune puts into Ray's controller would make FIFO's turns faster, too.
        controller = tune_controller._tune_controller
        manager = controller._checkpoint_manager
        self._storage = self._storage or manager._storage
        if self._turns.way_now() == "ours":
            manager._storage = self._storage
            return super().choose_trial_to_run(tune_controller)
        manager._storage = controller._storage
        return self._fifo.choose_trial_to_run(tune_controller)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        self.driver.note()
        if "gap/statistics" not in result or self._turns.way_now() != "ours":
            return str(TrialScheduler.CONTINUE)
        before = time.thread_time()
        action = super().on_trial_result(tune_controller, trial, result)
        self.cpu_s += time.thread_time() - before
        self.results += 1
        return action


class DriverTime:
    """The CPU time of the driver's loop from result to result, by the way in turn.

    Load from elsewhere, which makes results rarer, leaves it nearly as it is.
    """

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._before = (-1, 0.0)
        self._spent: dict[int, list[float]] = {}

    def note(self) -> None:
        """Note that a result has come."""
        now = time.time()
        phase, cpu = self._turns.phase(now), time.thread_time()
        (before, since), self._before = self._before, (phase, cpu)
        if phase == before and self._turns.counts(now):
            self._spent.setdefault(phase, []).append(cpu - since)

    def by_phase(self, phases: Iterable[int]) -> list[float]:
        """Return the mean milliseconds of a result in each of some phases."""
        return [1e3 * statistics.fmean(self._spent[phase]) for phase in phases]


def reporting(task: dict[str, Any]) -> dict[str, Any]:
    """Measure what a decision adds to a report, for a number of concurrent trials."""
    count = task["trials"]
    with tempfile.TemporaryDirectory() as folder:
        turns = Turns.of(count)
        scheduler = TimedScheduler(turns)
        config = {"folder": folder, "trials": count, "seconds": task["seconds"]}
        run(
            light if task["light"] else training,
            {**config, "result": json.dumps(a_result())} if task["light"] else config,
            count=count,
            concurrent=count,
            scheduler=scheduler,
            search=TurnSearch(turns),
        )
        found = [json.loads(path.read_text()) for path in Path(folder).glob("*.json")]
    assert len(found) == count, f"{count} trials must report, but {len(found)} did"
    return {
        **by_way(turns, [trial["spent"] for trial in found], scheduler.driver),
        "decisions": scheduler.results,
        "changes": sum(trial["changes"] for trial in found),
        "scheduler_cpu_ms": 1e3 * scheduler.cpu_s / max(1, scheduler.results),
    }


def by_way(
    turns: Turns, trials: list[dict[str, list[float]]], driver: DriverTime
) -> dict[str, Any]:
    """Return each way's results per second, round by round, and its median milliseconds a report.

    The other ways were in turn in the same round, a few seconds earlier or later.
    """
    # Not all trials were there in all of the first turn and of the last.
    first = max(min(map(int, trial)) for trial in trials) + 1
    last = min(max(map(int, trial)) for trial in trials) - 1
    # Whole rounds only.
    counted = range(-(-first // len(WAYS)) * len(WAYS), (last + 1) // len(WAYS) * len(WAYS))
    if not counted:
        sys.exit(f"seconds must be enough for rounds of {len(WAYS)} turns of {turns.phase_s:g} s")
    phases: dict[str, list[list[float]]] = {way: [] for way in WAYS}
    for phase in counted:
        spent = [s for trial in trials for s in trial.get(str(phase), ())]
        phases[turns.way(phase)].append(spent)
    found: dict[str, Any] = {}
    for way in WAYS:
        found[way] = [len(seconds) / turns.counted_s for seconds in phases[way]]
        own = [phase for phase in counted if turns.way(phase) == way]
        found[f"{way}_cpu_ms"] = driver.by_phase(own)
        found[f"{way}_ms"] = 1e3 * statistics.median(s for each in phases[way] for s in each)
    return found


def a_result() -> dict[str, Any]:
    """Return what a trial reports whose momentum is the best already."""
    weight, optimizer = optimizer_of({"lr": 0.01, "momentum": 0.9})
    trial = attach(optimizer, {"gap": {"mode": "scheduler"}})
    for _ in range(20):
        step(weight, optimizer)
    result = trial.result({"loss": 1.0})
    best = AlignmentRule().decide(trial.statistics(), 0.9).momentum
    return {**result, "gap/momentum": best}


def many(task: dict[str, Any]) -> dict[str, Any]:
    """Measure time, CPU and memory of a driver of many small trials, with gap_tune or without.

    Ray's defaults draw the momentum that GapSearch supplies, or have nothing to search at all.
    """
    ours = task["side"] == "ours"
    momentum = {"drawn": {"momentum": tune.uniform(0.8, 0.99)}, "given": {"momentum": 0.9}}
    before, cpu = time.perf_counter(), time.process_time()
    run(
        tiny,
        {"reports": task["reports"], **momentum.get(task["side"], {})},
        count=task["trials"],
        concurrent=8,
        scheduler=GapScheduler() if ours else None,
        search=GapSearch() if ours else None,
    )
    return {
        "seconds": time.perf_counter() - before,
        "cpu_seconds": time.process_time() - cpu,
        "rss_mib": resident_mib(),
    }


def run(
    function: Any,
    config: dict[str, Any],
    *,
    count: int,
    concurrent: int,
    scheduler: Any,
    search: Any,
) -> None:
    """Run a study of so many trials, so many at a time."""
    with tempfile.TemporaryDirectory() as storage:
        grid = tune.Tuner(
            tune.with_resources(function, {"cpu": 1}),
            param_space={"lr": 0.01, **config},
            tune_config=tune.TuneConfig(
                metric="loss",
                mode="min",
                num_samples=count,
                max_concurrent_trials=concurrent,
                search_alg=search,
                scheduler=scheduler,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(name="scale", storage_path=storage, verbose=0),
        ).fit()
        assert not grid.errors, grid.errors[0]


def resident_mib() -> float:
    """Return this process's resident memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


if __name__ == "__main__":
    asked = json.loads(sys.argv[1])
    ray.init(
        address="local",
        num_cpus=max(8, asked["trials"] if asked["kind"] == "reporting" else 8),
        include_dashboard=False,
        log_to_driver=False,
        logging_level="error",
    )
    print(json.dumps({"reporting": reporting, "many": many}[asked["kind"]](asked)))
