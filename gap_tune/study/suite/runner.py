"""Runner: what does the runs of a suite."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from gap_tune.study.suite.running import Line
from gap_tune.study.suite.suite import Job

Done = Callable[[Line], None]


class Runner(Protocol):
    """Does runs, here or elsewhere; every runner gives the same lines, but for times."""

    def run(self, jobs: Sequence[Job], done: Done) -> None:
        """Do the runs; returns when all are done.

        A kill loses the runs in progress and no other: what was handed to ``done`` is done.

        Args:
            jobs: The runs to do.
            done: Is called in this process with the line of each run as it ends. What it raises
                ends the others.

        Raises:
            StateError: When a run was cut off from outside, or could not even start.
        """
