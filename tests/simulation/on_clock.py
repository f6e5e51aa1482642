"""The same studies on the virtual clock: by modelled times, or in the order of a real run."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import BasicVariantGenerator, ConcurrencyLimiter

from gap_tune.simulation import Cluster, Restart, Simulated, simulate
from gap_tune.simulation import driver as driving
from gap_tune.simulation.clock import Clock, Message
from gap_tune.simulation.process import Process
from tests.simulation.calls import Call, Calls, RecordingScheduler, RecordingSearch
from tests.simulation.studies import Study

# What a process was asked, and the id of its trial.
_Asked = tuple[str, str]


def run_on_clock(study: Study, calls: Calls, **times: Any) -> Simulated:
    """Run a study on the virtual clock, with a machine like that of ``run_on_ray``.

    Args:
        study: The study.
        calls: Where to note what it asks of its parts.
        **times: How long everything takes, as of ``Cluster``.
    """
    study.seed()
    search = study.search()
    if not isinstance(search, BasicVariantGenerator):
        search = RecordingSearch(search, calls)
        if study.at_once is not None:
            # As Ray does with max_concurrent_trials.
            search = ConcurrencyLimiter(search, max_concurrent=study.at_once)
    return simulate(
        study.task,
        search=search,
        scheduler=RecordingScheduler(study.scheduler(), calls),
        trials=study.trials,
        cluster=Cluster(
            trials_per_node=study.together,
            reuse_actors=True,
            restart=Restart(checkpoint_every=1, max_failures=study.failures, num_to_keep=None),
            **times,
        ),
        space=study.space,
    )


def run_in_order_of(real: Calls, study: Study, monkeypatch: pytest.MonkeyPatch) -> Calls:
    """Run a study on a clock on which everything happens in the order of a real run.

    Returns:
        What it asked of its parts.
    """
    calls = Calls(lambda: 0.0)
    script = deque(_handled(real))
    asked: list[_Asked] = []
    monkeypatch.setattr(driving, "Clock", lambda seed: _Scripted(seed, script, asked, calls))
    monkeypatch.setattr(driving, "Process", lambda *args: _Telling(asked, *args))
    run_on_clock(study, calls)
    assert not script, f"the simulated study ends before {list(script)[:5]}"
    return calls


def _handled(real: Calls) -> Iterator[tuple[str, int]]:
    """Yield what the driver of a real run has handled: of which trial, a process or its answer."""
    told: dict[int, str] = {}
    for call in real:
        # Such a trial completes when its last checkpoint has arrived, others by their function's
        # own end, about which Ray asks no scheduler.
        stopped = told.get(call.trial) == TrialScheduler.STOP
        if call.what == "start":
            yield "begin", call.trial
        elif call.what == "save":
            yield "save", call.trial
        elif call.what in ("scheduler.on_trial_result", "scheduler.on_trial_error"):
            told[call.trial] = call.answer
            yield "train", call.trial
        elif call.what.startswith("scheduler.on_trial_complete") and not stopped:
            yield "train", call.trial


class _Telling(Process):
    """A process that tells what it is asked."""

    def __init__(self, asked: list[_Asked], *args: Any) -> None:
        super().__init__(*args)
        self._asked = asked

    def begin(self, config: Mapping[str, Any]) -> None:
        super().begin(config)
        self._asked.append(("begin", self.trial_id))

    def train(self) -> tuple[dict[str, Any], float]:
        self._asked.append(("train", self.trial_id))
        result, _ = super().train()
        return result, 0.0

    def save(self) -> Any:
        self._asked.append(("save", self.trial_id))
        return super().save()


class _Scripted(Clock):
    """A clock whose driver handles what waits in the order of a script.

    Args:
        seed: As of the clock.
        script: What processes were asked, with the trial's number, in the order in which the
            answers were handled.
        asked: What they have been asked now.
        calls: Knows the numbers of trials.
    """

    def __init__(
        self, seed: int, script: deque[tuple[str, int]], asked: list[_Asked], calls: Calls
    ) -> None:
        super().__init__(seed)
        self._script, self._asked, self._calls = script, asked, calls
        # Answers that the script orders, and others, which are handled at once.
        self._ordered: list[tuple[_Asked, Message]] = []
        self._others: deque[Message] = deque()

    def send(self, at: float, message: Message) -> Message:
        message.arrived = at
        if self._asked:
            self._ordered.append((self._asked.pop(), message))
        else:
            self._others.append(message)
        return message

    def plan(self, at: float, act: Any, *, awaited: bool = True) -> None:
        act(at)

    def next_message(self) -> Message | None:
        while self._others:
            message = self._others.popleft()
            if not message.dropped:
                return message
        self._ordered = [each for each in self._ordered if not each[1].dropped]
        if not self._ordered:
            return None
        waiting = {
            (kind, self._calls.numbers[trial_id]): place
            for place, ((kind, trial_id), _) in enumerate(self._ordered)
        }
        assert self._script, f"the real study had ended, but {list(waiting)} wait"
        wanted = self._script.popleft()
        assert wanted in waiting, f"next was {wanted}, but {list(waiting)} wait"
        return self._ordered.pop(waiting[wanted])[1]


def differences(real: Calls, simulated: Calls) -> list[tuple[Call | None, Call | None]]:
    """Return the calls in which two runs differ, starts, checkpoints and times left out.

    Compared are, each in its order: all results with their answers; all suggestions; and all calls
    about each trial.
    """
    ours, theirs = _streams(real), _streams(simulated)
    found = []
    for name in ours.keys() | theirs.keys():
        left, right = ours[name], theirs[name]
        pairs = [(_at(left, i), _at(right, i)) for i in range(max(len(left), len(right)))]
        found += [(a, b) for a, b in pairs if a is None or b is None or _content(a) != _content(b)]
    return found


def _streams(calls: Calls) -> dict[str, list[Call]]:
    streams: dict[str, list[Call]] = defaultdict(list)
    for call in calls:
        if call.what in ("start", "save"):
            continue
        kind = call.what.partition(".")[2]
        if kind == "on_trial_result":
            streams["results"].append(call)
        elif kind in ("suggest", "on_trial_add"):
            streams["suggestions"].append(call)
        if call.trial >= 0:
            streams[f"trial {call.trial}"].append(call)
    return streams


def _at(calls: list[Call], place: int) -> Call | None:
    return calls[place] if place < len(calls) else None


def _content(call: Call) -> tuple[Any, ...]:
    return call.what, call.trial, call.report, call.answer, dict(call.metrics)
