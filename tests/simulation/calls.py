"""What a study asks of its searcher and its scheduler, in order: the oracle of a simulated one.

A study on Ray and a simulated one record the same way, so that their calls can be compared one by
one. Trials are numbered in the order in which the scheduler is told of them, since their ids are
drawn at random.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ray.tune import Callback
from ray.tune.result import TRAINING_ITERATION
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

# What Ray and a study put into a result that depends on when and where it was made.
_OWN = ("time", "date", "pid", "hostname", "node_ip", "checkpoint_dir_name", "experiment_tag")


@dataclass(frozen=True)
class Call:
    """One call of a study's parts.

    Attributes:
        what: Whose and which: "scheduler.on_trial_result".
        trial: The trial's number, from 0; -1 where it has none yet.
        report: The number of the result, from 1; 0 without one.
        answer: What was answered: an action, a configuration as JSON; empty where nothing is.
        at: When, in seconds on the study's clock.
        metrics: What the trial reported, where the call passes a result on.
    """

    what: str
    trial: int
    report: int
    answer: str
    at: float
    metrics: Mapping[str, Any]

    def __str__(self) -> str:
        report = f" report {self.report}" if self.report else ""
        answer = f" -> {self.answer}" if self.answer else ""
        return f"{self.at:8.3f} {self.what} trial {self.trial}{report}{answer}"


class Calls(list[Call]):
    """A list of calls that a study's copies of its parts share."""

    def __init__(self, clock: Any = time.perf_counter) -> None:
        super().__init__()
        self.clock = clock
        self.numbers: dict[str, int] = {}

    def __deepcopy__(self, memo: Any) -> Calls:
        return self

    def __reduce__(self) -> Any:
        # Of what Ray saves nobody asks how it came about.
        return Calls, ()

    def note(
        self, what: str, trial_id: str, result: Mapping[str, Any] | None = None, answer: str = ""
    ) -> None:
        """Add a call."""
        result = result or {}
        metrics = {k: v for k, v in result.items() if not _is_rays(k)}
        number = self.numbers.get(trial_id, -1)
        report = int(result.get(TRAINING_ITERATION, 0))
        if result.get("done"):
            what += " (done)"
        self.append(Call(what, number, report, answer, self.clock(), metrics))

    def of(self, *names: str) -> list[Call]:
        """Return the calls of these names."""
        return [call for call in self if call.what in names]

    def order(self, *without: str) -> list[tuple[str, int, int, str]]:
        """Return the calls without their times, to be compared."""
        return [(c.what, c.trial, c.report, c.answer) for c in self if c.what not in without]


def _is_rays(key: str) -> bool:
    return key.startswith(("config/", *_OWN)) or key in ("trial_id", "timestamp", "done")


class RecordingScheduler(TrialScheduler):
    """Forwards everything to a scheduler of any kind, and notes it."""

    def __init__(self, scheduler: TrialScheduler, calls: Calls) -> None:
        super().__init__()
        self.inner, self.calls = scheduler, calls

    @property
    def supports_buffered_results(self) -> bool:
        return bool(self.inner.supports_buffered_results)

    @property
    def metric(self) -> str | None:
        metric: str | None = self.inner.metric
        return metric

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        return bool(self.inner.set_search_properties(metric, mode, **spec))

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        numbers = self.calls.numbers
        number = numbers.setdefault(trial.trial_id, len(numbers))
        self.inner.on_trial_add(tune_controller, trial)
        config = json.dumps(trial.config, sort_keys=True, default=repr)
        self.calls.note("scheduler.on_trial_add", trial.trial_id, answer=config)
        assert numbers[trial.trial_id] == number

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        action: str = self.inner.on_trial_result(tune_controller, trial, result)
        self.calls.note("scheduler.on_trial_result", trial.trial_id, result, action)
        return action

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        self.calls.note("scheduler.on_trial_error", trial.trial_id)
        self.inner.on_trial_error(tune_controller, trial)

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        self.calls.note("scheduler.on_trial_complete", trial.trial_id, result)
        self.inner.on_trial_complete(tune_controller, trial, result)

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        self.calls.note("scheduler.on_trial_remove", trial.trial_id)
        self.inner.on_trial_remove(tune_controller, trial)

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        return self.inner.choose_trial_to_run(tune_controller)

    def debug_string(self) -> str:
        return str(self.inner.debug_string())


class RecordingSearch(Searcher):
    """Forwards everything to a searcher, and notes it."""

    def __init__(self, searcher: Searcher, calls: Calls) -> None:
        # Ray looks for wrapped searchers, and their limits, under this name.
        self.searcher, self.calls = searcher, calls
        super().__init__(metric=searcher.metric, mode=searcher.mode)

    def set_search_properties(
        self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any
    ) -> bool:
        return bool(self.searcher.set_search_properties(metric, mode, config, **spec))

    def suggest(self, trial_id: str) -> Any:
        suggested = self.searcher.suggest(trial_id)
        if suggested is not None:
            answer = json.dumps(suggested, sort_keys=True, default=repr)
            self.calls.note("search.suggest", trial_id, answer=answer)
        return suggested

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        self.calls.note("search.on_trial_result", trial_id, result)
        self.searcher.on_trial_result(trial_id, result)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        answer = "error" if error else ""
        self.calls.note("search.on_trial_complete", trial_id, result, answer)
        self.searcher.on_trial_complete(trial_id, result=result, error=error)

    def set_max_concurrency(self, max_concurrent: int) -> bool:
        return bool(self.searcher.set_max_concurrency(max_concurrent))

    def get_state(self) -> dict[str, Any]:
        return {}

    def set_state(self, state: dict[str, Any]) -> None:
        pass

    def save(self, checkpoint_path: str) -> None:
        self.searcher.save(checkpoint_path)

    def restore(self, checkpoint_path: str) -> None:
        self.searcher.restore(checkpoint_path)


class RecordingCallback(Callback):
    """Notes when trials start, and when a checkpoint of theirs has arrived."""

    def __init__(self, calls: Calls) -> None:
        self.calls = calls

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.calls.note("start", trial.trial_id)

    def on_checkpoint(
        self, iteration: int, trials: list[Any], trial: Any, checkpoint: Any, **info: Any
    ) -> None:
        self.calls.note("save", trial.trial_id)
