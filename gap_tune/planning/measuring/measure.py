"""measure: all constants, from half a dozen small studies of Ray Tune on this machine."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from gap_tune.planning.constants import Constants
from gap_tune.planning.measuring import searching, trials
from gap_tune.planning.measuring.notes import Moment, mean_per_event, per_event, resident_bytes
from gap_tune.planning.measuring.searching import Searched
from gap_tune.planning.measuring.studies import Ran, run
from gap_tune.tune.scheduling.scheduler import GapScheduler
from gap_tune.tune.search import GapSearch
from gap_tune.tune.starting import start_ray

_REPORTING = 4
_AT_ONCE = 2
_MANY = 10
# Reports of each of the trials of a study that measures starts.
_SHORT = 2


def measure(
    *,
    reports: int = 300,
    started: int = 10,
    reused: int = 100,
    suggested: int = 1000,
    say: Callable[[str], None] = lambda text: None,
) -> Constants:
    """Measure all constants; Ray is started on this machine where it does not run.

    Args:
        reports: Reports of each of four trials, for what a result costs.
        started: Trials with a process of their own, for what a start costs.
        reused: Trials in processes of others before.
        suggested: Trials that each searcher suggests.
        say: Is told in a line what is measured now.

    Raises:
        MeasuringError: When a study of these does not run.
        RayStartError: When Ray does not start.
    """
    busy = _load()
    start_ray(
        join=False,
        num_cpus=_REPORTING,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="error",
    )
    base = resident_bytes()
    say("results: plain, decided by the scheduler, in trials, with TensorBoard (1 of 4)")
    # Bare reports are quick, and what memory they take shows after thousands only.
    bare = _results(trials.bare, _MANY * reports)
    decided = _results(trials.decided, reports, scheduler=_changing())
    deciding = _results(trials.deciding, reports, scheduler=GapScheduler(), gap={"mode": "trial"})
    logged = _results(trials.decided, reports, scheduler=_changing(), tensorboard=True)
    say("starts, with processes of their own (2 of 4)")
    fresh = _starts(started, reuse_actors=False)
    say("starts, in processes that are reused (3 of 4)")
    again = _starts(reused, reuse_actors=True)
    say("suggestions, and what a searcher keeps (4 of 4)")
    random, tpe = (searching.search(name, suggested) for name in ("random", "tpe"))
    result = _per_result(decided)
    per_state = _state_per_trial(fresh, again)
    return Constants(
        about={**_about(), "load_before": busy, "load_after": _load()},
        result_bare_s=_per_result(bare),
        result_scheduler_s=result,
        result_trial_s=_per_result(deciding),
        tensorboard_s=max(0.0, _per_result(logged) - result),
        waiting_s=searching.waiting(),
        suggestion_random_s=random.first,
        suggestion_random_per_trial_s=random.per_trial,
        suggestion_tpe_s=tpe.first,
        suggestion_tpe_per_trial_s=tpe.per_trial,
        start_s=_start(fresh, result),
        start_reused_s=_start(again, result),
        start_delay_s=_delay(fresh),
        start_delay_reused_s=_delay(again),
        saving_trial_s=_saving(again, random),
        result_bare_bytes=_line_bytes(bare),
        result_bytes=_line_bytes(decided),
        tensorboard_bytes=logged.sizes["events"] / logged.results,
        decision_bytes=decided.sizes["decisions"] / decided.results,
        trial_bytes=again.sizes["parameters"] / again.trials + _head(again),
        state_bytes=fresh.sizes["state"] - per_state * fresh.trials,
        state_trial_bytes=per_state,
        checkpoint_bytes=fresh.sizes["own"] / fresh.results,
        driver_bytes=float(base),
        memory_trial_bytes=_growth(again.notes.ends),
        memory_result_bytes=_growth(bare.notes.steady()),
        memory_searcher_bytes=random.resident_per_trial,
    )


def _results(
    function: Callable[[dict[str, Any]], None],
    reports: int,
    *,
    scheduler: GapScheduler | None = None,
    gap: dict[str, Any] | None = None,
    tensorboard: bool = False,
) -> Ran:
    """Run a few trials with many reports each."""
    return run(
        function,
        count=_REPORTING,
        concurrent=_REPORTING,
        config={"reports": reports} | ({} if gap is None else {"gap": gap}),
        scheduler=scheduler,
        search=None if scheduler is None else GapSearch("random"),
        tensorboard=tensorboard,
    )


def _changing() -> GapScheduler:
    return GapScheduler(rule=trials.Alternating())


def _starts(count: int, *, reuse_actors: bool) -> Ran:
    """Run many trials with few reports each."""
    return run(
        trials.saving,
        count=count,
        concurrent=_AT_ONCE,
        config={"reports": _SHORT, "checkpoint": not reuse_actors},
        scheduler=_changing(),
        search=GapSearch("random"),
        reuse_actors=reuse_actors,
    )


def _per_result(ran: Ran) -> float:
    return per_event([each.cpu for each in ran.notes.steady()])


def _start(ran: Ran, result: float) -> float:
    """Return what a trial costs the driver beside its results and its suggestion."""
    return max(0.0, mean_per_event([each.cpu for each in _after_first(ran)]) - _SHORT * result)


def _delay(ran: Ran) -> float:
    """Return the time on the clock that a place stands idle between two trials.

    These trials themselves take next to none.
    """
    return _AT_ONCE * mean_per_event([each.wall for each in _after_first(ran)])


def _after_first(ran: Ran) -> list[Moment]:
    return ran.notes.ends[_AT_ONCE - 1 :]


def _growth(moments: list[Moment]) -> float:
    """Return how much memory grows per event, once what is allocated once has been."""
    settled = moments[len(moments) // 4 :]
    return max(0.0, mean_per_event([each.resident for each in settled]))


def _line_bytes(ran: Ran) -> float:
    # Each table begins with a line of names.
    table = ran.sizes["table"] - _head(ran) * ran.trials
    return (ran.sizes["results"] + table) / ran.results


def _state_per_trial(few: Ran, many: Ran) -> float:
    return (many.sizes["state"] - few.sizes["state"]) / (many.trials - few.trials)


def _head(ran: Ran) -> float:
    return ran.heads / ran.trials


def _saving(ran: Ran, searched: Searched, copies: int = 2000) -> float:
    """Return the seconds per trial to write the states of trials, as Ray does, and a searcher's."""
    states = [ran.trial_data[place % len(ran.trial_data)] for place in range(copies)]
    taken = []
    with TemporaryDirectory() as folder:
        for _ in range(3):
            began = time.thread_time()
            with Path(folder, "state").open("w") as file:
                json.dump({"trial_data": states}, file)
            taken.append(time.thread_time() - began)
    return median(taken) / copies + searched.saving_per_trial


def _load() -> float:
    """Return the machine's load: how many processes would run, if they could."""
    return round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else 0.0


def _about() -> dict[str, Any]:
    cores = os.cpu_count() or 0
    return {
        "gap_tune": version("gap-tune"),
        "ray": version("ray"),
        "optuna": version("optuna"),
        "torch": version("torch"),
        "python": platform.python_version(),
        "cores": cores,
        "machine": f"{cores} cores, {platform.system()} on {platform.machine()}",
        "date": datetime.now(UTC).date().isoformat(),
    }
