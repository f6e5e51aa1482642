"""ReplayedTask: trials as they really ran, as a task that trains nothing."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Any

from ray.tune.search import Searcher

from gap_tune.errors import InvalidValueError, StateError
from gap_tune.rules import Decision
from gap_tune.simulation.replay.recorded_search import RecordedSearch
from gap_tune.simulation.task import Report
from gap_tune.tune import keys


class NotRecordedError(StateError):
    """A replayed trial was asked for what the real one never did."""


@dataclass(frozen=True)
class Recording:
    """A trial as it really ran.

    Attributes:
        config: Its configuration.
        reports: What it reported, and how long it had trained for each.
        ended: How its training ended: empty where that was its end; else why no more is known.
        began: When it began, in seconds since the first trial did.
    """

    config: Mapping[str, Any]
    reports: tuple[Report, ...]
    ended: str = ""
    began: float = 0.0

    @property
    def seconds(self) -> float:
        """How long it trained."""
        return sum(report.seconds for report in self.reports)


class ReplayedTask:
    """The trials of a finished experiment, as a task of ``simulate``.

    A configuration trains as the recorded trial with that configuration did: it makes the same
    reports after the same seconds. What was not recorded is not made up: a trial that goes on where
    the real one was stopped, that gets another momentum than the real one got, or that has another
    configuration than any real one, fails with ``NotRecordedError``.

    Args:
        name: What tables call it.
        recordings: The trials, in the order in which they were suggested.
        metric: The key of results to compare trials by.
        mode: "min" or "max".

    Attributes:
        unknown: What trials were asked for that is not recorded, in words, in the order in which
            they were asked.

    Raises:
        InvalidValueError: When there is no trial, none has reported, or the mode is unknown.

    >>> reports = (Report({"loss": 2.0}, 5.0),)
    >>> trial = Recording({"lr": 0.1}, reports, "it was stopped after 1 report")
    >>> training = ReplayedTask("one", [trial], "loss", "min").begin({"lr": 0.1})
    >>> training.advance().metrics
    {'loss': 2.0}
    >>> training.advance()
    Traceback (most recent call last):
    ...
    gap_tune.simulation.replay.replayed_task.NotRecordedError: what {'lr': 0.1} would have \
reported next is not recorded: it was stopped after 1 report.
    """

    def __init__(self, name: str, recordings: Sequence[Recording], metric: str, mode: str) -> None:
        self.name, self.metric = name, metric
        self.mode = keys.check_objective_mode(mode)
        self.recordings = tuple(recordings)
        self.unknown: list[str] = []
        self.reports = max((len(each.reports) for each in self.recordings), default=0)
        if not self.reports:
            raise InvalidValueError("an experiment must have trials that report, but got none.")
        self._by_config: dict[str, list[Recording]] = defaultdict(list)
        for each in self.recordings:
            self._by_config[_spelled(each.config)].append(each)
        self._begun: dict[str, int] = defaultdict(int)

    @property
    def at_once(self) -> int:
        """How many trials ran at once, at most."""
        moments = [(each.began, 1) for each in self.recordings]
        moments += [(each.began + each.seconds, -1) for each in self.recordings]
        return max(1, *accumulate(change for _, change in sorted(moments)))

    @property
    def tuned(self) -> bool:
        """Whether a ``GapScheduler`` decided momentum in any of the trials."""
        return any(_is_tuned(each.config) for each in self.recordings)

    def searcher(self) -> Searcher:
        """Return a searcher that suggests the recorded configurations, in their order."""
        return RecordedSearch([each.config for each in self.recordings])

    def begin(self, config: Mapping[str, Any]) -> ReplayedTraining:
        """Return the training of the recorded trial with a configuration, before its first step.

        Of several with the same one, each is taken in turn.

        Raises:
            NotRecordedError: When no recorded trial has that configuration.
        """
        name = _spelled(config)
        if name not in self._by_config:
            raise _unknown(
                self.unknown,
                f"configurations must be among the {len(self.recordings)} that were recorded, but "
                f"got {dict(config)}.",
            )
        same = self._by_config[name]
        place = self._begun[name] % len(same)
        self._begun[name] += 1
        return ReplayedTraining(same[place], self.unknown)


@dataclass
class ReplayedTraining:
    """A recorded trial, so far.

    Attributes:
        recording: The trial.
        unknown: Where to say what is asked for and not recorded.
        made: How many of its reports it has made.
        sent: The momentum that the scheduler has sent since the latest of them.
    """

    recording: Recording
    unknown: list[str] = field(default_factory=list)
    made: int = 0
    sent: float | None = None

    @property
    def done(self) -> bool:
        """Whether all is reported that the real trial reported, to its end."""
        return not self.recording.ended and self.made >= len(self.recording.reports)

    def advance(self) -> Report:
        """Return the next of the recorded reports.

        Raises:
            NotRecordedError: When the real trial did not come that far, or not with this momentum.
        """
        recorded = self.recording
        if self.made >= len(recorded.reports):
            raise _unknown(
                self.unknown,
                f"what {dict(recorded.config)} would have reported next is not recorded: "
                f"{recorded.ended}.",
            )
        report = recorded.reports[self.made]
        self._check_momentum(report)
        self.made, self.sent = self.made + 1, None
        return report

    def follow(self, decision: Decision) -> None:
        """Take a momentum; the real trial must have taken the same."""
        self.sent = decision.momentum

    def change(self, config: Mapping[str, Any]) -> None:
        """Go on with other hyperparameters, which no recorded trial did.

        Raises:
            NotRecordedError: Unless they are the same.
        """
        if _spelled(config) != _spelled(self.recording.config):
            raise _unknown(
                self.unknown,
                f"a recorded trial must keep its configuration, but got {dict(config)}.",
            )

    def copy(self) -> ReplayedTraining:
        """Return a copy that advances by itself."""
        return replace(self)

    def _check_momentum(self, report: Report) -> None:
        if not self.made or not _is_tuned(self.recording.config):
            return
        before = self.recording.reports[self.made - 1].metrics.get(keys.MOMENTUM)
        asked = before if self.sent is None else self.sent
        trained = report.metrics.get(keys.MOMENTUM)
        if asked != trained:
            raise _unknown(
                self.unknown,
                f"what {dict(self.recording.config)} would have reported next with momentum "
                f"{asked} is not recorded: it went on with {trained}.",
            )


def _unknown(unknown: list[str], why: str) -> NotRecordedError:
    unknown.append(why)
    return NotRecordedError(why)


def _is_tuned(config: Mapping[str, Any]) -> bool:
    # What GapSearch has marked for a GapScheduler nobody tunes where there is none.
    return keys.asks_for_tuning(config) and keys.section(config).get(keys.SCHEDULED, True) is True


def _spelled(config: Mapping[str, Any]) -> str:
    """Return a configuration as text: equal ones are the same, as Ray's loggers write them."""
    return json.dumps(config, sort_keys=True, default=_plain)


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else str(value)
