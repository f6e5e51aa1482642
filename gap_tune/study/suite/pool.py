"""PoolRunner: a pool of processes that do runs, one core each."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

import torch

from gap_tune.errors import StateError, check_count
from gap_tune.study.suite.runner import Done
from gap_tune.study.suite.running import Line, run
from gap_tune.study.suite.suite import Job


@dataclass(frozen=True)
class PoolRunner:
    """Does runs in processes of this machine: no cluster, and nothing to wait for.

    Attributes:
        cpus: Processes, one core each.
        does: Does a run there and returns its line; a function of a module.

    Raises:
        InvalidValueError: When ``cpus`` is no positive integer.
    """

    cpus: int
    does: Callable[[Job], Line] = run

    def __post_init__(self) -> None:
        check_count("cpus", self.cpus)

    def run(self, jobs: Sequence[Job], done: Done) -> None:
        """Do the runs; arguments as of ``Runner.run``.

        Raises:
            StateError: When a process was killed.
            Exception: When a run could not even start.
        """
        # Spawned, not forked: torch's threads do not survive a fork.
        executor = ProcessPoolExecutor(
            self.cpus,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=prepare_process,
        )
        try:
            for ended in as_completed([executor.submit(self.does, job) for job in jobs]):
                done(ended.result())
        except BrokenProcessPool:
            raise StateError(
                "the runs' processes must live until all is done, but one was killed, perhaps for "
                "want of memory: the same command goes on where it was."
            ) from None
        finally:
            executor.shutdown(wait=True, cancel_futures=True)


def prepare_process() -> None:
    """Make a pool's new process leave cores and interrupts to others, and end with its parent."""
    # More threads than a core would take those of the neighbour.
    torch.set_num_threads(1)
    # An interrupt at the terminal reaches all processes; the parent ends the others in order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process with its parent: one that is killed tells its pool nothing."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)
