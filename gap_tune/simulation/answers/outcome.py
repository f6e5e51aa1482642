"""Outcome: what a user of one study had, after every trial and at every moment of its time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Course:
    """What one trial of a study reported.

    Attributes:
        times: When its reports came, in seconds of the study.
        validation: What trials are compared by, lower better, report by report.
        test: The loss on test data, report by report.
        failed: Whether it ended with an error, such as a loss that is not finite.
        stopped: Whether the scheduler ended it early.
        momentum: The momentum that it started with.
    """

    times: Floats
    validation: Floats
    test: Floats
    failed: bool = False
    stopped: bool = False
    momentum: float = np.nan


@dataclass(frozen=True, eq=False)
class Outcome:
    """One study's, small enough to keep thousands of them.

    The user keeps the trial whose last report has the lowest validation loss, and gets its test
    loss. A trial that failed is no choice.

    Attributes:
        after_trials: What that is after the first 1, 2, ... trials have ended; NaN where none is to
            be had.
        moments: When it changes, in seconds of the study.
        at_moments: What it is from then on, by all reports until then, those of running trials
            among them.
        seconds: How long the study took.
        reports: How many reports each trial made: what it cost.
        momenta: The momentum that each trial started with.
        stopped: Which trials the scheduler ended early.

    >>> first = Course(np.array([1.0, 2.0]), np.array([0.5, 0.4]), np.array([0.6, 0.5]))
    >>> second = Course(np.array([1.5]), np.array([0.3]), np.array([0.7]))
    >>> found = Outcome.of([first, second], seconds=2.0)
    >>> found.after_trials.tolist(), found.moments.tolist(), found.at_moments.tolist()
    ([0.5, 0.7], [1.0, 1.5], [0.6, 0.7])
    """

    after_trials: Floats
    moments: Floats
    at_moments: Floats
    seconds: float
    reports: NDArray[np.int64]
    momenta: Floats
    stopped: NDArray[np.bool_]

    @classmethod
    def of(cls, courses: Sequence[Course], seconds: float) -> Outcome:
        """Return the outcome of a study's trials, in the order in which they were started.

        Args:
            courses: The trials.
            seconds: How long the study took.
        """
        validation, test = last_losses(courses)
        return cls(
            _best_of_first(validation, test),
            *_best_so_far(courses),
            seconds,
            np.array([len(course.times) for course in courses], dtype=np.int64),
            np.array([course.momentum for course in courses], dtype=float),
            np.array([course.stopped for course in courses], dtype=bool),
        )

    def at(self, times: Floats) -> Floats:
        """Return what the user has at some moments; NaN before there is anything."""
        place = np.searchsorted(self.moments, times, side="right")
        return np.concatenate([[np.nan], self.at_moments])[place]


def last_losses(courses: Sequence[Course]) -> tuple[Floats, Floats]:
    """Return validation and test losses of the last reports; infinite and NaN where failed."""
    validation = np.full(len(courses), np.inf)
    test = np.full(len(courses), np.nan)
    for place, course in enumerate(courses):
        if len(course.times) and not course.failed and np.isfinite(course.validation[-1]):
            validation[place], test[place] = course.validation[-1], course.test[-1]
    return validation, test


def _best_of_first(validation: Floats, test: Floats) -> Floats:
    """Return the test loss of the validation-best of the first 1, 2, ...; of equals, the first."""
    best = np.minimum.accumulate(validation)
    is_new = np.concatenate([[True], best[1:] < best[:-1]])
    place = np.maximum.accumulate(np.where(is_new, np.arange(len(best)), 0))
    found: Floats = np.where(np.isfinite(best), test[place], np.nan)
    return found


def _best_so_far(courses: Sequence[Course]) -> tuple[Floats, Floats]:
    """Return when what is best by all latest reports changes, and its test loss from then on."""
    whose = np.repeat(np.arange(len(courses)), [len(course.times) for course in courses])
    if not len(whose):
        return np.empty(0), np.empty(0)
    times, validation, test = (
        np.concatenate([getattr(course, name) for course in courses])
        for name in ("times", "validation", "test")
    )
    validation = np.where(np.isfinite(validation), validation, np.inf)
    latest, losses = np.full(len(courses), np.inf), np.full(len(courses), np.nan)
    moments: list[float] = []
    values: list[float] = []
    for place in np.argsort(times, kind="stable"):
        latest[whose[place]], losses[whose[place]] = validation[place], test[place]
        best = latest.argmin()
        value = losses[best] if np.isfinite(latest[best]) else np.nan
        if moments and times[place] == moments[-1]:
            values[-1] = value
        elif not values or value != values[-1]:
            moments.append(times[place])
            values.append(value)
    return np.array(moments), np.array(values)
